// SPDX-License-Identifier: Apache-2.0
#include "store/base/crc32c.h"

#include <string>

#include <gtest/gtest.h>

namespace cfsgate {
namespace {

// RFC 3720, B.4.
TEST(Crc32cTest, HasTheValuesOfTheStandard) {
    EXPECT_EQ(Crc32c::of(""), 0U);
    EXPECT_EQ(Crc32c::of("123456789"), 0xE3069283U);
    EXPECT_EQ(Crc32c::of(std::string(32, '\0')), 0x8A9136AAU);
    EXPECT_EQ(Crc32c::of(std::string(32, '\xff')), 0x62A8AB43U);
}

TEST(Crc32cTest, PartsGiveTheSameAsTheWhole) {
    const std::string text = "The quick brown fox jumps over the lazy dog";
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        Crc32c crc;
        crc.add(std::string_view(text).substr(0, cut));
        crc.add(std::string_view(text).substr(cut));
        EXPECT_EQ(crc.value(), Crc32c::of(text)) << cut;
    }
}

}  // namespace
}  // namespace cfsgate
