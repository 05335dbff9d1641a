// SPDX-License-Identifier: Apache-2.0
#include "clients/moment.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace cfsgate::clients {
namespace {

class MomentTest : public testing::Test {
protected:
    MomentTest() {
        ::setenv("TZ", "UTC-2", 1);  // two hours east
        ::tzset();
    }
    ~MomentTest() override {
        ::unsetenv("TZ");
        ::tzset();
    }
    static constexpr std::time_t kNow = 1700000000;  // 2023-11-14 22:13:20 UTC
};

TEST_F(MomentTest, AllForms) {
    EXPECT_EQ(parse_moment("2023-11-15 00:13:20", kNow), 1700000000U);
    EXPECT_EQ(parse_moment("2023-11-15T00:13:20", kNow), 1700000000U);
    EXPECT_EQ(parse_moment("2023-11-14T22:13:20Z", kNow), 1700000000U);
    EXPECT_EQ(parse_moment("2023-11-15 00:13", kNow), 1699999980U);
    EXPECT_EQ(parse_moment("2023-11-15", kNow), 1699999200U);
    EXPECT_EQ(parse_moment("2023-11-15Z", kNow), 1700006400U);
    EXPECT_EQ(parse_moment("00:13:20", kNow), 1700000000U);
    EXPECT_EQ(parse_moment("00:13", kNow), 1699999980U);
    EXPECT_EQ(parse_moment("@1234", kNow), 1234U);
    EXPECT_EQ(parse_moment("90s", kNow), 1699999910U);
    EXPECT_EQ(parse_moment("2m ago", kNow), 1699999880U);
    EXPECT_EQ(parse_moment("1h", kNow), 1699996400U);
    EXPECT_EQ(parse_moment("1d ago", kNow), 1699913600U);
}

TEST_F(MomentTest, WhatIsNone) {
    for (const char* text :
         {"", "@", "@-1", "@99999999999", "yesterday", "2023-02-31", "25:00", "12", "m", "-5m",
          "2023-11-15 00:13:20 x", "99999999999999999999d", "00:13Z", "60d60d", "1600-01-01"}) {
        EXPECT_FALSE(parse_moment(text, kNow)) << text;
    }
    EXPECT_FALSE(parse_moment("30000d", kNow)) << "before 1970";
}

TEST(PositionTest, TheLastAtSignCounts) {
    const auto expect = [](const char* operand, const char* path, const char* position) {
        const PathAt found = split_position(operand);
        EXPECT_EQ(found.path, path) << operand;
        EXPECT_EQ(found.position, position) << operand;
    };
    expect("a/b@17", "a/b", "17");
    expect("a/b@#17", "a/b", "#17");
    expect("a@b@lost.snapshot.5", "a@b", "lost.snapshot.5");
    expect("a@b/c", "a@b/c", "");
    expect("a", "a", "");
    expect("@17", "", "17");
}

}  // namespace
}  // namespace cfsgate::clients
