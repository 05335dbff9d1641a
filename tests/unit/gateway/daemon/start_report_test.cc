// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/start_report.h"

#include <unistd.h>

#include <csignal>
#include <functional>

#include <gtest/gtest.h>

#include "gateway/daemon/options.h"

namespace cfsgate::gateway::daemon {
namespace {

/// What the parent would exit with when the child does `child`.
int parent_exit(const std::function<void(StartReport&)>& child) {
    auto background = fork_to_background("test");
    if (!background) return -1;
    if (background->parent_exit) return *background->parent_exit;
    child(background->report);
    ::_exit(0);
}

TEST(StartReport, ReadyEndsTheParentWithZero) {
    EXPECT_EQ(parent_exit([](StartReport& report) { report.ready("fine"); }), 0);
}

TEST(StartReport, AFailureIsPrintedByTheParent) {
    ::testing::internal::CaptureStderr();
    const int code = parent_exit([](StartReport& report) { report.failed("no such thing"); });
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "test: no such thing\n");
    EXPECT_EQ(code, kExitStartFailed);
}

TEST(StartReport, AChildThatDiesFailsTheStart) {
    ::testing::internal::CaptureStderr();
    const int code = parent_exit([](StartReport&) { ::raise(SIGKILL); });
    EXPECT_NE(::testing::internal::GetCapturedStderr().find("ended during its start"),
              std::string::npos);
    EXPECT_EQ(code, kExitStartFailed);
}

TEST(StartReport, ALongMessageIsCutNotLost) {
    ::testing::internal::CaptureStderr();
    parent_exit([](StartReport& report) { report.failed(std::string(1UL << 20, 'x')); });
    EXPECT_GT(::testing::internal::GetCapturedStderr().size(), 1000U);
}

}  // namespace
}  // namespace cfsgate::gateway::daemon
