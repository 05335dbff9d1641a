// SPDX-License-Identifier: Apache-2.0
#include "store/base/result.h"

#include <cerrno>
#include <memory>

#include <gtest/gtest.h>

namespace cfsgate {
namespace {

Result<int> number(bool good) {
    if (!good) return fail(Errno::NotFound, "no number");
    return 7;
}

Result<std::string> text_of_number(bool good, bool& went_on) {
    const auto value = CFSGATE_TRY(number(good));
    went_on = true;
    return std::to_string(value);
}

Status check_number(bool good) {
    CFSGATE_TRY(text_of_number(good, good));
    return {};
}

Status check_status(const Status& status) {
    CFSGATE_TRY(status);
    return {};
}

Result<std::unique_ptr<int>> owner() { return std::make_unique<int>(7); }

Result<int> take_owner() {
    const std::unique_ptr<int> value = CFSGATE_TRY(owner());
    return *value;
}

TEST(ResultTest, TryYieldsTheValue) {
    bool went_on = false;
    const auto text = text_of_number(true, went_on);
    ASSERT_TRUE(text);
    EXPECT_EQ(*text, "7");
    EXPECT_TRUE(went_on);
}

TEST(ResultTest, TryHandsTheErrorOn) {
    bool went_on = false;
    const auto text = text_of_number(false, went_on);
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code, Errno::NotFound);
    EXPECT_EQ(text.error().detail, "no number");
    EXPECT_FALSE(went_on);
}

TEST(ResultTest, TryWorksBetweenDifferentTypes) {
    EXPECT_TRUE(check_number(true));
    const auto status = check_number(false);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().detail, "no number");
}

TEST(ResultTest, TryWorksWithoutAValue) {
    EXPECT_TRUE(check_status({}));
    EXPECT_EQ(check_status(fail(Errno::Busy)).error().code, Errno::Busy);
}

TEST(ResultTest, TryMovesTheValue) { EXPECT_EQ(*take_owner(), 7); }

TEST(ResultTest, PosixFailureHoldsCodeAndText) {
    const Status status = fail_posix(ENOENT, "open x");
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Errno::NotFound);
    EXPECT_EQ(status.error().detail, "open x: No such file or directory");
}

}  // namespace
}  // namespace cfsgate
