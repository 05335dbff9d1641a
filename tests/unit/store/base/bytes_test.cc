// SPDX-License-Identifier: Apache-2.0
#include "store/base/bytes.h"

#include <limits>

#include <gtest/gtest.h>

namespace cfsgate {
namespace {

using namespace std::string_literals;

struct Fields {
    std::uint8_t u8 = 0;
    std::uint16_t u16 = 0;
    std::uint32_t u32 = 0;
    std::uint64_t u64 = 0;
    std::string_view text;
    std::string_view sized;
};

Fields take_all(ByteReader& in) {
    Fields fields;
    fields.u8 = in.take<std::uint8_t>();
    fields.u16 = in.take<std::uint16_t>();
    fields.u32 = in.take<std::uint32_t>();
    fields.u64 = in.take<std::uint64_t>();
    fields.text = in.take_c_string(4);
    fields.sized = in.take_bytes(in.take<std::uint32_t>());
    return fields;
}

std::string sample() {
    ByteWriter out;
    out.put(std::uint8_t{0xfe});
    out.put(std::uint16_t{0xfedc});
    out.put(std::uint32_t{0xfedcba98});
    out.put(std::uint64_t{0xfedcba9876543210});
    out.put_c_string("abc");
    out.put_sized("\0x"s);
    return out.take();
}

TEST(ByteWriterTest, FieldsAreLittleEndianAndPacked) {
    EXPECT_EQ(sample(),
              "\xfe"
              "\xdc\xfe"
              "\x98\xba\xdc\xfe"
              "\x10\x32\x54\x76\x98\xba\xdc\xfe"
              "abc\0"
              "\x02\0\0\0\0x"s);
}

TEST(ByteWriterTest, TakeAndClearLeaveItEmpty) {
    ByteWriter out;
    out.put_bytes("x");
    EXPECT_EQ(out.bytes(), "x");
    EXPECT_EQ(out.take(), "x");
    EXPECT_EQ(out.bytes(), "");
    out.put_bytes("y");
    out.clear();
    EXPECT_EQ(out.bytes(), "");
}

TEST(ByteReaderTest, ReadsWhatTheWriterWrote) {
    const auto bytes = sample();
    ByteReader in(bytes);
    const auto fields = take_all(in);
    EXPECT_TRUE(in.finish("sample"));
    EXPECT_EQ(fields.u8, 0xfe);
    EXPECT_EQ(fields.u16, 0xfedc);
    EXPECT_EQ(fields.u32, 0xfedcba98);
    EXPECT_EQ(fields.u64, 0xfedcba9876543210);
    EXPECT_EQ(fields.text, "abc");
    EXPECT_EQ(fields.sized, "\0x"s);
}

TEST(ByteReaderTest, EveryPrefixFails) {
    const auto bytes = sample();
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto prefix = bytes.substr(0, size);
        ByteReader in(prefix);
        take_all(in);
        const auto status = in.finish("sample");
        ASSERT_FALSE(status) << size;
        EXPECT_EQ(status.error().code, Errno::BadMessage);
        EXPECT_EQ(status.error().detail, "sample: cut short");
    }
}

TEST(ByteReaderTest, BytesLeftOverFail) {
    ByteReader in("ab");
    in.take<std::uint8_t>();
    const auto status = in.finish("sample");
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().detail, "sample: bytes left over");
}

TEST(ByteReaderTest, FailureIsSticky) {
    ByteReader in("abc");
    EXPECT_EQ(in.take<std::uint32_t>(), 0U);
    EXPECT_TRUE(in.failed());
    EXPECT_EQ(in.take<std::uint8_t>(), 0U);
    EXPECT_EQ(in.take_c_string(1), "");
    EXPECT_EQ(in.take_rest(), "");
    EXPECT_EQ(in.remaining(), 0U);
    EXPECT_FALSE(in.finish("sample"));
}

TEST(ByteReaderTest, TheLargestLengthFails) {
    ByteReader in("abc");
    EXPECT_EQ(in.take_bytes(std::numeric_limits<std::size_t>::max()), "");
    EXPECT_TRUE(in.failed());
}

TEST(ByteReaderTest, CStringNeedsItsTerminator) {
    ByteReader in("abcd");
    EXPECT_EQ(in.take_c_string(2), "");
    EXPECT_TRUE(in.failed());
    EXPECT_EQ(in.take_rest(), "");
}

TEST(ByteReaderTest, CStringEndsAtItsFirstTerminator) {
    const auto bytes = "a\0b\0"s;
    ByteReader in(bytes);
    EXPECT_EQ(in.take_c_string(4), "a");
    EXPECT_TRUE(in.finish("sample"));
}

TEST(ByteReaderTest, CStringOfNoBytesIsEmpty) {
    ByteReader in("");
    EXPECT_EQ(in.take_c_string(0), "");
    EXPECT_TRUE(in.finish("sample"));
}

TEST(ByteReaderTest, TakeRestTakesTheRest) {
    ByteReader in("abc");
    in.take<std::uint8_t>();
    EXPECT_EQ(in.remaining(), 2U);
    EXPECT_EQ(in.take_rest(), "bc");
    EXPECT_TRUE(in.finish("sample"));
}

}  // namespace
}  // namespace cfsgate
