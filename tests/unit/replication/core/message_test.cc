// SPDX-License-Identifier: Apache-2.0
#include "replication/core/message.h"

#include <gtest/gtest.h>

#include "tests/unit/replication/core/recorded_messages.h"

namespace cfsgate::replication {
namespace {

using test::all_recorded;
using test::kNormalHeaderBytes;
using test::kSyncHeaderBytes;
using test::RecordedMessage;
using test::to_hex;
using test::with_u32;

constexpr std::size_t kProtocolOffset = 4;
constexpr std::size_t kBaseHeaderBytes = 16;

struct EncodeAny {
    std::uint32_t protocol;
    std::string operator()(const NormalMessage& message) const {
        return encode_message(message, protocol);
    }
    std::string operator()(const SyncMessage& message) const {
        return encode_message(message, protocol);
    }
    std::string operator()(OlderProtocol) const { return "older protocol"; }
    std::string operator()(NewerProtocol) const { return "newer protocol"; }
};

std::string encode_again(std::string_view bytes, std::uint32_t protocol) {
    const auto message = decode_message(bytes, protocol);
    return message ? std::visit(EncodeAny{protocol}, *message) : message.error().detail;
}

NormalMessage sample_normal() { return {5, 1700000100, 11, "body"}; }
SyncMessage sample_sync() {
    return {static_cast<std::uint16_t>(MessageType::State), 1700000100,
            Epoch{3, 1700000099, {NodeId(1), 1001}}, "state"};
}

template <class Expected>
bool is_a(const Result<Message>& message) {
    return message && std::holds_alternative<Expected>(*message);
}

TEST(MessageTest, RecordedMessagesDecodeAndEncodeToTheByte) {
    const auto messages = all_recorded();
    ASSERT_GT(messages.size(), 100U);
    for (const RecordedMessage& message : messages) {
        EXPECT_EQ(to_hex(encode_again(message.bytes, message.protocol)), to_hex(message.bytes))
            << message.row;
    }
}

TEST(MessageTest, RecordedOperationsHaveTheRecordedHeader) {
    for (const RecordedMessage& recorded : test::recorded_operations()) {
        const auto message = decode_message(recorded.bytes, recorded.protocol);
        ASSERT_TRUE(is_a<NormalMessage>(message)) << recorded.row;
        const auto& normal = std::get<NormalMessage>(*message);
        EXPECT_EQ(normal.time, recorded.row.at("header_time").get<std::uint32_t>());
        if (!recorded.row.contains("type")) continue;
        EXPECT_EQ(normal.subtype, recorded.row["type"].get<std::uint16_t>());
        EXPECT_EQ(normal.count, recorded.row["message_count"].get<std::uint64_t>());
    }
}

TEST(MessageTest, RecordedRoundsHaveTheRecordedTypeAndAnEpochOfTheLowestNode) {
    for (const RecordedMessage& recorded : test::recorded_rounds()) {
        if (test::is_normal(recorded)) continue;
        const auto message = decode_message(recorded.bytes, recorded.protocol);
        ASSERT_TRUE(is_a<SyncMessage>(message)) << recorded.row;
        const auto& sync = std::get<SyncMessage>(*message);
        EXPECT_EQ(sync.epoch.maker, (Member{NodeId(1), 1001})) << recorded.row;
        if (recorded.row.contains("type")) {
            EXPECT_EQ(sync.type, recorded.row["type"].get<std::uint16_t>());
        }
    }
}

TEST(MessageTest, RecordedStatusMessagesHaveTheRecordedLength) {
    for (const RecordedMessage& recorded : test::recorded_status_messages()) {
        EXPECT_EQ(recorded.bytes.size(), recorded.row.at("length").get<std::size_t>());
        const auto message = decode_message(recorded.bytes, 0);
        ASSERT_TRUE(message);
        if (const auto* normal = std::get_if<NormalMessage>(&*message)) {
            EXPECT_EQ(normal->subtype, recorded.row.at("subtype").get<std::uint16_t>());
        } else {
            EXPECT_EQ(std::get<SyncMessage>(*message).type,
                      recorded.row.at("type").get<std::uint16_t>());
        }
    }
}

// The frame has no length: behind its header every prefix is a message with a shorter body, which
// the body's own decoder refuses.
TEST(MessageTest, APrefixThatCutsTheHeaderIsABadMessageAndALongerOneIsAMessage) {
    for (const RecordedMessage& recorded : all_recorded()) {
        const std::size_t header =
            test::is_normal(recorded) ? kNormalHeaderBytes : kSyncHeaderBytes;
        const std::size_t most = std::min(recorded.bytes.size(), header + 300);
        for (std::size_t size = 0; size < most; ++size) {
            const std::string prefix = recorded.bytes.substr(0, size);
            if (size >= header) {
                ASSERT_EQ(encode_again(prefix, recorded.protocol), prefix) << recorded.row;
                continue;
            }
            const auto message = decode_message(prefix, recorded.protocol);
            ASSERT_FALSE(message) << size << recorded.row;
            EXPECT_EQ(message.error().code, Errno::BadMessage);
        }
    }
}

TEST(MessageTest, AnEmptyBodyIsAllowed) {
    NormalMessage normal = sample_normal();
    normal.body.clear();
    EXPECT_EQ(encode_message(normal, 1).size(), kNormalHeaderBytes);
    const auto message = decode_message(encode_message(normal, 1), 1);
    ASSERT_TRUE(is_a<NormalMessage>(message));
    EXPECT_EQ(std::get<NormalMessage>(*message), normal);
}

TEST(MessageTest, EveryFieldAtItsMaximumComesBack) {
    constexpr std::uint32_t kMax = UINT32_MAX;
    const NormalMessage normal{UINT16_MAX, kMax, UINT64_MAX, std::string(70000, '\xff')};
    const auto first = decode_message(encode_message(normal, 1), 1);
    ASSERT_TRUE(is_a<NormalMessage>(first));
    EXPECT_EQ(std::get<NormalMessage>(*first), normal);
    const SyncMessage sync{UINT16_MAX, kMax, Epoch{kMax, kMax, {NodeId(kMax), kMax}}, "x"};
    const auto second = decode_message(encode_message(sync, 1), 1);
    ASSERT_TRUE(is_a<SyncMessage>(second));
    EXPECT_EQ(std::get<SyncMessage>(*second), sync);
}

TEST(MessageTest, ATypeThatNobodyKnowsIsLeftToTheReceiver) {
    for (const std::uint16_t type : {std::uint16_t{7}, std::uint16_t{256}, std::uint16_t{65535}}) {
        SyncMessage sync = sample_sync();
        sync.type = type;
        const auto message = decode_message(encode_message(sync, 1), 1);
        ASSERT_TRUE(is_a<SyncMessage>(message));
        EXPECT_EQ(std::get<SyncMessage>(*message).type, type);
    }
}

TEST(MessageTest, TheProtocolVersionIsLookedAtBeforeTheRest) {
    const std::string cut = encode_message(sample_sync(), 1).substr(0, kBaseHeaderBytes);
    EXPECT_TRUE(is_a<NewerProtocol>(decode_message(with_u32(cut, kProtocolOffset, 2), 1)));
    EXPECT_TRUE(is_a<OlderProtocol>(decode_message(with_u32(cut, kProtocolOffset, 0), 1)));
    EXPECT_FALSE(decode_message(cut, 1));
    EXPECT_FALSE(decode_message(with_u32(cut, kProtocolOffset, 2).substr(0, 15), 1));
}

TEST(MessageTest, TheVersionOfTheOtherGroupIsAnotherVersion) {
    EXPECT_TRUE(is_a<OlderProtocol>(decode_message(encode_message(sample_normal(), 0), 1)));
    EXPECT_TRUE(is_a<NewerProtocol>(decode_message(encode_message(sample_normal(), 1), 0)));
    const std::string far =
        with_u32(encode_message(sample_normal(), 1), kProtocolOffset, UINT32_MAX);
    EXPECT_TRUE(is_a<NewerProtocol>(decode_message(far, 1)));
}

TEST(MessageTest, TheReservedFieldIsNotLookedAtAndSentAsZero) {
    const std::string bytes = encode_message(sample_normal(), 1);
    EXPECT_EQ(bytes.substr(12, 4), std::string(4, '\0'));
    const auto message = decode_message(with_u32(bytes, 12, UINT32_MAX), 1);
    ASSERT_TRUE(is_a<NormalMessage>(message));
    EXPECT_EQ(std::get<NormalMessage>(*message), sample_normal());
}

TEST(MessageTest, EachPartOfTheEpochCounts) {
    const Epoch epoch = sample_sync().epoch;
    const auto differs = [&](auto change) {
        Epoch other = epoch;
        change(other);
        return !(other == epoch);
    };
    EXPECT_TRUE(differs([](Epoch& e) { ++e.counter; }));
    EXPECT_TRUE(differs([](Epoch& e) { ++e.time; }));
    EXPECT_TRUE(differs([](Epoch& e) { e.maker.node = NodeId(2); }));
    EXPECT_TRUE(differs([](Epoch& e) { ++e.maker.pid; }));
}

}  // namespace
}  // namespace cfsgate::replication
