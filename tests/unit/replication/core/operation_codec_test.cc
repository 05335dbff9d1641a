// SPDX-License-Identifier: Apache-2.0
#include "replication/core/operation_codec.h"

#include <gtest/gtest.h>

#include "replication/core/message.h"
#include "store/base/bytes.h"
#include "store/model/digest.h"
#include "tests/unit/replication/core/recorded_messages.h"

namespace cfsgate::replication {
namespace {

using test::to_hex;
using test::with_u32;

// Where the lengths of a file operation stand in its body.
constexpr std::size_t kDataSizeOffset = 0;
constexpr std::size_t kPathSizeOffset = 8;
constexpr std::size_t kTargetSizeOffset = 12;
constexpr std::size_t kFlagsOffset = 16;
constexpr std::size_t kFileHeaderBytes = 20;
constexpr std::size_t kChecksumBytes = 32;

/// What a recorded row or a decoded operation says, in one form.
struct Said {
    std::string path{};
    std::string target{};
    std::string data{};
    std::uint32_t offset = 0;
    bool truncate = false;

    friend bool operator==(const Said&, const Said&) = default;
};

struct Say {
    Said operator()(const CreateFile& op) const { return {.path = op.path}; }
    Said operator()(const MakeDirectory& op) const { return {.path = op.path}; }
    Said operator()(const Delete& op) const { return {.path = op.path}; }
    Said operator()(const Rename& op) const { return {.path = op.path, .target = op.target}; }
    Said operator()(const SetMtime& op) const { return {.path = op.path, .offset = op.mtime}; }
    Said operator()(const WriteFile& op) const {
        return {.path = op.path, .data = op.data, .offset = op.offset, .truncate = op.truncate};
    }
    Said operator()(const Unlock& op) const {
        return {.path = op.path, .data = cfsgate::to_hex(op.checksum)};
    }
    Said operator()(const UnlockRequest& op) const {
        return {.path = op.path, .data = cfsgate::to_hex(op.checksum)};
    }
    Said operator()(const Operation& op) const { return std::visit(*this, op); }
};

Said say(const GroupOperation& operation) { return std::visit(Say(), operation); }

NormalMessage frame_of(const test::RecordedMessage& recorded) {
    return std::get<NormalMessage>(decode_message(recorded.bytes, recorded.protocol).value());
}

void expect_refused(std::uint16_t subtype, std::string_view body) {
    const auto operation = decode_operation(subtype, body);
    ASSERT_FALSE(operation) << subtype << " " << to_hex(body.substr(0, 100));
    EXPECT_EQ(operation.error().code, Errno::BadMessage);
}

void expect_comes_back(const GroupOperation& operation) {
    const EncodedOperation encoded = encode_operation(operation);
    const auto decoded = decode_operation(encoded.subtype, encoded.body);
    ASSERT_TRUE(decoded) << decoded.error().detail;
    EXPECT_EQ(say(*decoded), say(operation));
    EXPECT_EQ(encode_operation(*decoded).subtype, encoded.subtype);
    EXPECT_EQ(encode_operation(*decoded).body, encoded.body);
}

Digest sample_checksum() {
    Digest digest{};
    for (std::size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<unsigned char>(i * 7);
    return digest;
}

/// One of each kind.
std::vector<GroupOperation> samples() {
    return {Operation(CreateFile{"d/f"}),
            Operation(WriteFile{"d/f", std::string("da\0ta", 5), 3, false}),
            Operation(WriteFile{"d/f", "", 4, true}),
            Operation(MakeDirectory{"d"}),
            Operation(Delete{"d/f"}),
            Operation(Rename{"d/f", "d/g"}),
            Operation(SetMtime{"d/f", 1600000000}),
            Operation(Unlock{"priv/lock/l", sample_checksum()}),
            UnlockRequest{"priv/lock/l", sample_checksum()}};
}

TEST(OperationCodecTest, RecordedOperationsDecodeToWhatWasCalled) {
    for (const auto& recorded : test::recorded_operations()) {
        const NormalMessage frame = frame_of(recorded);
        const auto operation = decode_operation(frame.subtype, frame.body);
        ASSERT_TRUE(operation) << recorded.row;
        if (!recorded.row.contains("path")) continue;
        const Said said = say(*operation);
        EXPECT_EQ(said.path, recorded.row["path"].get<std::string>());
        EXPECT_EQ(said.target,
                  recorded.row["to"].is_null() ? "" : recorded.row["to"].get<std::string>());
        EXPECT_EQ(said.data.size(), recorded.row["size"].get<std::size_t>());
        EXPECT_EQ(said.offset, recorded.row["offset"].get<std::uint32_t>());
        EXPECT_EQ(said.truncate, recorded.row["flags"].get<int>() == 1);
    }
}

TEST(OperationCodecTest, RecordedUnlocksNameTheLockAndItsChecksum) {
    const auto vectors = test::load_vectors("dcdb-normal-messages.json");
    for (const char* name :
         {"unlock_request_too_early", "unlock_request_expired", "unlock_sent_by_lowest_node"}) {
        const NormalMessage frame = frame_of(test::recorded(vectors.at(name)));
        const auto operation = decode_operation(frame.subtype, frame.body);
        ASSERT_TRUE(operation);
        EXPECT_EQ(say(*operation).path, "priv/lock/file-user_cfg");
        EXPECT_EQ(say(*operation).data, vectors["lock_entry"]["entry_checksum"]);
    }
}

TEST(OperationCodecTest, RecordedOperationsEncodeToTheByte) {
    auto all = test::recorded_operations();
    for (auto& message : test::recorded_rounds()) {
        if (test::is_normal(message)) all.push_back(std::move(message));
    }
    for (const auto& recorded : all) {
        const NormalMessage frame = frame_of(recorded);
        const auto operation = decode_operation(frame.subtype, frame.body);
        ASSERT_TRUE(operation) << recorded.row;
        const EncodedOperation encoded = encode_operation(*operation);
        EXPECT_EQ(encoded.subtype, frame.subtype);
        EXPECT_EQ(to_hex(encoded.body), to_hex(frame.body)) << recorded.row;
    }
}

TEST(OperationCodecTest, EachKindComesBack) {
    for (const GroupOperation& operation : samples()) expect_comes_back(operation);
}

TEST(OperationCodecTest, ExtremesComeBack) {
    const std::string long_path(70000, 'p');
    expect_comes_back(
        Operation(WriteFile{long_path, std::string(1 << 20, '\0'), UINT32_MAX, true}));
    expect_comes_back(Operation(Rename{long_path, long_path}));
    expect_comes_back(Operation(SetMtime{"f", UINT32_MAX}));
    expect_comes_back(Operation(CreateFile{""}));
    expect_comes_back(UnlockRequest{"", {}});
    expect_comes_back(Operation(WriteFile{"f", "", 0, false}));
}

TEST(OperationCodecTest, EveryPrefixIsABadMessage) {
    auto all = samples();
    for (const auto& recorded : test::recorded_operations()) {
        const NormalMessage frame = frame_of(recorded);
        all.push_back(decode_operation(frame.subtype, frame.body).value());
    }
    for (const GroupOperation& operation : all) {
        const EncodedOperation encoded = encode_operation(operation);
        for (std::size_t size = 0; size < encoded.body.size(); ++size) {
            expect_refused(encoded.subtype, std::string_view(encoded.body).substr(0, size));
        }
    }
}

TEST(OperationCodecTest, BytesLeftOverAreRefused) {
    for (const GroupOperation& operation : samples()) {
        const EncodedOperation encoded = encode_operation(operation);
        // A lock operation's path takes the rest, which must end in NUL.
        expect_refused(encoded.subtype, encoded.body + 'x');
    }
    const EncodedOperation create = encode_operation(Operation(CreateFile{"f"}));
    expect_refused(create.subtype, create.body + '\0');
}

TEST(OperationCodecTest, EachLengthAtItsMaximumIsRefused) {
    for (const GroupOperation& operation : samples()) {
        const EncodedOperation encoded = encode_operation(operation);
        if (encoded.subtype >= static_cast<std::uint16_t>(OperationCode::UnlockRequest)) continue;
        for (const std::size_t offset : {kDataSizeOffset, kPathSizeOffset, kTargetSizeOffset}) {
            for (const std::uint32_t size : {UINT32_MAX, UINT32_MAX - 1, std::uint32_t{1} << 31}) {
                expect_refused(encoded.subtype, with_u32(encoded.body, offset, size));
            }
        }
    }
}

// Lengths that agree with the body's only when their sum wraps around at 32 bits.
TEST(OperationCodecTest, LengthsAreNeverAddedUp) {
    std::string body = encode_operation(Operation(WriteFile{"f", "data", 0, false})).body;
    body = with_u32(body, kDataSizeOffset, UINT32_MAX);
    body = with_u32(body, kTargetSizeOffset, 5);
    expect_refused(1, body);
}

TEST(OperationCodecTest, StringsMustEndInNul) {
    std::string path = encode_operation(Operation(CreateFile{"abc"})).body;
    path[kFileHeaderBytes + 3] = 'x';
    expect_refused(static_cast<std::uint16_t>(OperationCode::Create), path);
    std::string target = encode_operation(Operation(Rename{"abc", "def"})).body;
    target.back() = 'x';
    expect_refused(static_cast<std::uint16_t>(OperationCode::Rename), target);
}

TEST(OperationCodecTest, AStringEndsAtItsFirstNul) {
    std::string body = encode_operation(Operation(CreateFile{"abcd"})).body;
    body[kFileHeaderBytes + 2] = '\0';
    const auto operation = decode_operation(5, body);
    ASSERT_TRUE(operation);
    EXPECT_EQ(say(*operation).path, "ab");
}

TEST(OperationCodecTest, AMissingPathIsTheEmptyOne) {
    const auto operation = decode_operation(5, std::string(kFileHeaderBytes, '\0'));
    ASSERT_TRUE(operation);
    EXPECT_EQ(say(*operation).path, "");
}

TEST(OperationCodecTest, ALockOperationNeedsAPath) {
    for (const std::uint16_t subtype : {std::uint16_t{7}, std::uint16_t{8}}) {
        expect_refused(subtype, std::string(kChecksumBytes, 'c'));
        EXPECT_TRUE(decode_operation(subtype, std::string(kChecksumBytes + 1, '\0')));
    }
}

TEST(OperationCodecTest, UnknownSubtypesAreRefused) {
    const std::string body = encode_operation(Operation(CreateFile{"f"})).body;
    for (const std::uint16_t subtype : {std::uint16_t{0}, std::uint16_t{9}, std::uint16_t{255},
                                        std::uint16_t{257}, std::uint16_t{65535}}) {
        expect_refused(subtype, body);
    }
}

// What peers do not check must not be checked here either: apply() decides, alike on all nodes.
TEST(OperationCodecTest, NoLimitIsCheckedAtDelivery) {
    expect_comes_back(Operation(WriteFile{"f", std::string((1 << 20) + 1, 'x'), 0, false}));
    expect_comes_back(Operation(CreateFile{std::string(5000, 'n')}));
    expect_comes_back(Operation(CreateFile{"/../a//b/"}));
    expect_comes_back(Operation(CreateFile{"not \xff utf-8 \n"}));
}

TEST(OperationCodecTest, FieldsThatAnOperationDoesNotUseAreNotLookedAt) {
    ByteWriter body;
    for (const std::uint32_t field : {3U, 77U, 2U, 2U, 1U}) body.put(field);
    body.put_bytes(std::string_view("f\0g\0xyz", 7));
    const auto operation =
        decode_operation(static_cast<std::uint16_t>(OperationCode::Delete), body.bytes());
    ASSERT_TRUE(operation);
    EXPECT_EQ(say(*operation), Said{.path = "f"});
}

TEST(OperationCodecTest, TheFirstFlagSaysTruncate) {
    const EncodedOperation encoded = encode_operation(Operation(WriteFile{"f", "x", 0, false}));
    const auto set = decode_operation(encoded.subtype, with_u32(encoded.body, kFlagsOffset, 1));
    ASSERT_TRUE(set);
    EXPECT_TRUE(say(*set).truncate);
    EXPECT_EQ(encode_operation(*set).body, with_u32(encoded.body, kFlagsOffset, 1));
}

}  // namespace
}  // namespace cfsgate::replication
