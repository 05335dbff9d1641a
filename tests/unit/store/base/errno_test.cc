// SPDX-License-Identifier: Apache-2.0
#include "store/base/errno.h"

#include <cerrno>
#include <set>

#include <gtest/gtest.h>

namespace cfsgate {
namespace {

constexpr Errno kLast = Errno::TryAgain;

TEST(ErrnoTest, EveryCodeMapsToPosixAndBack) {
    std::set<int> seen;
    for (int i = 0; i <= static_cast<int>(kLast); ++i) {
        const auto code = static_cast<Errno>(i);
        EXPECT_GT(to_posix(code), 0) << to_string(code);
        EXPECT_TRUE(seen.insert(to_posix(code)).second) << to_string(code);
        EXPECT_EQ(from_posix(to_posix(code)), code) << to_string(code);
    }
}

TEST(ErrnoTest, EveryPosixValueMapsToACode) {
    for (int posix = -1; posix < 4096; ++posix) {
        const auto code = from_posix(posix);
        EXPECT_LE(code, kLast);
        if (code != Errno::InputOutput) {
            EXPECT_EQ(to_posix(code), posix);
        }
    }
    EXPECT_EQ(from_posix(0), Errno::InputOutput);
    EXPECT_EQ(from_posix(EXDEV), Errno::InputOutput);
}

TEST(ErrnoTest, NamesAreThoseOfTheEnumerators) {
    EXPECT_EQ(to_string(Errno::NotPermitted), "NotPermitted");
    EXPECT_EQ(to_string(Errno::StaleHandle), "StaleHandle");
    EXPECT_EQ(to_string(Errno::TryAgain), "TryAgain");
    std::set<std::string_view> names;
    for (int i = 0; i <= static_cast<int>(kLast); ++i) names.insert(to_string(Errno{i}));
    EXPECT_EQ(names.size(), static_cast<std::size_t>(kLast) + 1);
    EXPECT_FALSE(names.contains(""));
}

TEST(ErrnoTest, CodesAreTheUsualOnes) {
    EXPECT_EQ(to_posix(Errno::NoAccess), EACCES);
    EXPECT_EQ(to_posix(Errno::NotEmpty), ENOTEMPTY);
    EXPECT_EQ(to_posix(Errno::Corrupt), EUCLEAN);
    EXPECT_EQ(to_posix(Errno::StaleHandle), ESTALE);
}

}  // namespace
}  // namespace cfsgate
