// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/stop_signals.h"

#include <unistd.h>

#include <csignal>
#include <future>

#include <gtest/gtest.h>

namespace cfsgate::gateway::daemon {
namespace {

using std::chrono::milliseconds;

class StopSignalsTest : public ::testing::Test {
protected:
    std::unique_ptr<StopSignals> start(milliseconds grace, milliseconds same_request) {
        StopSignals::Actions actions;
        actions.stop = [this](int signal) { stopped.set_value(signal); };
        actions.give_up = [this](const char* reason) {
            if (!given_up_once.exchange(true)) given_up.set_value(reason);
        };
        actions.grace = grace;
        actions.same_request = same_request;
        auto started = StopSignals::start(std::move(actions));
        EXPECT_TRUE(started);
        return std::move(*started);
    }

    std::promise<int> stopped;
    std::promise<std::string> given_up;
    std::atomic<bool> given_up_once{false};
};

constexpr milliseconds kLong{60000};

TEST_F(StopSignalsTest, ASignalAsksForTheEnd) {
    for (const int signal : {SIGHUP, SIGINT, SIGTERM}) {
        stopped = {};
        const auto signals = start(kLong, kLong);
        EXPECT_FALSE(signals->requested());
        ::kill(::getpid(), signal);
        EXPECT_EQ(stopped.get_future().get(), signal);
        EXPECT_TRUE(signals->requested());
        EXPECT_FALSE(signals->sleep(kLong)) << "returns at once";
    }
    EXPECT_FALSE(given_up_once) << "an end in time is not forced";
}

TEST_F(StopSignalsTest, AnEndThatTakesTooLongIsForced) {
    const auto signals = start(milliseconds(20), kLong);
    ::kill(::getpid(), SIGTERM);
    EXPECT_NE(given_up.get_future().get().find("too long"), std::string::npos);
}

TEST_F(StopSignalsTest, ASecondSignalForcesTheEnd) {
    const auto signals = start(kLong, milliseconds(0));
    ::kill(::getpid(), SIGTERM);
    stopped.get_future().get();
    ::kill(::getpid(), SIGTERM);
    EXPECT_NE(given_up.get_future().get().find("second"), std::string::npos);
}

TEST_F(StopSignalsTest, TheGraceTimeAlsoBoundsAnEndForOtherReasons) {
    const auto signals = start(milliseconds(20), kLong);
    signals->begin_end();
    given_up.get_future().get();
}

TEST_F(StopSignalsTest, SleepsWhenNobodyAsks) {
    const auto signals = start(kLong, kLong);
    EXPECT_TRUE(signals->sleep(milliseconds(1)));
}

}  // namespace
}  // namespace cfsgate::gateway::daemon
