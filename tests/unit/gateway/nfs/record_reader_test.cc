// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/record_reader.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/gateway/nfs/xdr_words.h"

namespace cfsgate::gateway::nfs {
namespace {

using test::words;

constexpr std::uint32_t kLast = 0x80000000;

std::string fragment(std::string_view bytes, bool last) {
    return words({static_cast<std::uint32_t>(bytes.size()) | (last ? kLast : 0)}) +
           std::string(bytes);
}
std::string record(std::string_view bytes) { return fragment(bytes, true); }

/// The records of a stream that arrives in these pieces; "!" at the end if it was refused.
std::vector<std::string> read_pieces(const std::vector<std::string>& pieces,
                                     RecordLimits limits = {}) {
    RecordReader reader(limits);
    std::vector<std::string> records;
    for (const std::string& piece : pieces) {
        std::string_view input = piece;
        while (!input.empty()) {
            const auto next = reader.next(input);
            if (!next) {
                EXPECT_EQ(next.error().code, Errno::BadMessage);
                records.emplace_back("!");
                return records;
            }
            if (*next) records.emplace_back(**next);
        }
    }
    return records;
}

TEST(RecordReaderTest, EverySplitOfAStreamGivesTheSameRecords) {
    const std::string stream = record("first") + fragment("se", false) + fragment("", false) +
                               fragment("cond", true) + record("") + fragment("third", false) +
                               fragment("", true) + record("4");
    const std::vector<std::string> expected{"first", "second", "", "third", "4"};
    for (std::size_t a = 0; a <= stream.size(); ++a) {
        for (std::size_t b = a; b <= stream.size(); ++b) {
            EXPECT_EQ(read_pieces({stream.substr(0, a), stream.substr(a, b - a), stream.substr(b)}),
                      expected)
                << a << " " << b;
        }
    }
    std::vector<std::string> bytes;
    for (const char byte : stream) bytes.emplace_back(1, byte);
    EXPECT_EQ(read_pieces(bytes), expected);
}

TEST(RecordReaderTest, ARecordInOnePieceIsNotCopied) {
    const std::string stream = record("first") + record("second");
    std::string_view input = stream;
    RecordReader reader;
    const auto first = reader.next(input).value();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->data(), stream.data() + 4);
    const auto second = reader.next(input).value();
    ASSERT_TRUE(second);
    EXPECT_EQ(second->data(), stream.data() + 4 + 5 + 4);
    EXPECT_EQ(*second, "second");
    EXPECT_TRUE(input.empty());
    EXPECT_LE(reader.held_bytes(), std::string().capacity());
}

TEST(RecordReaderTest, SaysWhetherARecordHasBegun) {
    const std::string stream = fragment("ab", false) + fragment("c", true);
    RecordReader reader;
    EXPECT_FALSE(reader.partial());
    for (std::size_t i = 0; i < stream.size(); ++i) {
        std::string_view input = std::string_view(stream).substr(i, 1);
        const auto next = reader.next(input).value();
        const bool last = i + 1 == stream.size();
        EXPECT_EQ(next.has_value(), last) << i;
        EXPECT_EQ(reader.partial(), !last) << i;
    }
}

TEST(RecordReaderTest, ARecordMayBeAsLongAsTheLimitAndNoLonger) {
    const RecordLimits limits{.bytes = 10, .fragments = 100};
    const std::string ten = "0123456789";
    EXPECT_EQ(read_pieces({record(ten)}, limits), std::vector<std::string>{ten});
    EXPECT_EQ(read_pieces({record(ten + "x")}, limits), std::vector<std::string>{"!"});
    // All fragments together, also after another record.
    EXPECT_EQ(read_pieces(
                  {record("x") + fragment(ten.substr(0, 4), false) + fragment(ten.substr(4), true)},
                  limits),
              (std::vector<std::string>{"x", ten}));
    EXPECT_EQ(read_pieces({fragment(ten.substr(0, 4), false) + fragment("0123456", true)}, limits),
              std::vector<std::string>{"!"});
    EXPECT_EQ(read_pieces({fragment(ten, false) + fragment("", true)}, limits),
              std::vector<std::string>{ten});
}

TEST(RecordReaderTest, ALengthBeyondTheLimitIsRefusedBeforeItsBytesCome) {
    for (const std::uint32_t marker : {kLast | (16U << 20), 16U << 20, 0xffffffffU, 0x7fffffffU,
                                       kLast | ((1U << 20) + (64U << 10) + 1)}) {
        const std::string stream = words({marker});
        std::string_view input = stream;
        RecordReader reader;
        const auto next = reader.next(input);
        ASSERT_FALSE(next) << marker;
        EXPECT_EQ(next.error().code, Errno::BadMessage);
        EXPECT_LT(reader.held_bytes(), 100U);
    }
    const std::string stream = words({kLast | ((1U << 20) + (64U << 10))});
    std::string_view input = stream;
    EXPECT_TRUE(RecordReader().next(input).has_value());
}

TEST(RecordReaderTest, ARecordMayHaveAsManyFragmentsAsTheLimitAndNoMore) {
    const RecordLimits limits;
    std::string many;
    for (std::size_t i = 1; i < limits.fragments; ++i)
        many += fragment(i % 2 == 0 ? "x" : "", false);
    EXPECT_EQ(read_pieces({many + record("end") + many + record("end")}).size(), 2U);
    EXPECT_EQ(read_pieces({many + fragment("", false) + record("end")}),
              std::vector<std::string>{"!"});
    // Nothing but empty ones is no way to keep it busy for ever.
    std::string empty;
    for (std::size_t i = 0; i <= limits.fragments; ++i) empty += fragment("", false);
    EXPECT_EQ(read_pieces({empty}), std::vector<std::string>{"!"});
}

TEST(RecordReaderTest, ALargeRecordIsNotHeldForEver) {
    const std::string large(100000, 'x');
    const std::string stream = record(large);
    RecordReader reader;
    std::string_view input = std::string_view(stream).substr(0, 50000);
    EXPECT_FALSE(reader.next(input).value());
    EXPECT_GE(reader.held_bytes(), 49996U);
    input = std::string_view(stream).substr(50000);
    EXPECT_EQ(reader.next(input).value(), large);
    std::string_view nothing;
    EXPECT_FALSE(reader.next(nothing).value());
    EXPECT_LE(reader.held_bytes(), 4096U);
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
