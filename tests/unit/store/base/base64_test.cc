// SPDX-License-Identifier: Apache-2.0
#include "store/base/base64.h"

#include <gtest/gtest.h>

namespace cfsgate {
namespace {

TEST(Base64, EncodesTheVectorsOfRfc4648) {
    EXPECT_EQ(encode_base64(""), "");
    EXPECT_EQ(encode_base64("f"), "Zg==");
    EXPECT_EQ(encode_base64("fo"), "Zm8=");
    EXPECT_EQ(encode_base64("foo"), "Zm9v");
    EXPECT_EQ(encode_base64("foob"), "Zm9vYg==");
    EXPECT_EQ(encode_base64("fooba"), "Zm9vYmE=");
    EXPECT_EQ(encode_base64("foobar"), "Zm9vYmFy");
}

TEST(Base64, DecodesWhatItEncodedForEveryByteAndLength) {
    std::string bytes;
    for (int i = 0; i < 600; ++i) {
        const auto decoded = decode_base64(encode_base64(bytes));
        ASSERT_TRUE(decoded) << decoded.error().detail;
        ASSERT_EQ(*decoded, bytes);
        bytes += static_cast<char>(i * 7);
    }
}

TEST(Base64, RefusesWhatEncodingNeverWrites) {
    for (const char* text : {"Z", "Zg", "Zg=", "Zm9v\n", "Z===", "====", "Zg==Zg==", "Zm 9",
                             "Zh==", "Zm9=", "Zm-_", "=m9v"}) {
        const auto decoded = decode_base64(text);
        ASSERT_FALSE(decoded) << text;
        EXPECT_EQ(decoded.error().code, Errno::BadMessage) << text;
    }
}

}  // namespace
}  // namespace cfsgate
