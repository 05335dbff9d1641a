// SPDX-License-Identifier: Apache-2.0
#include "gateway/deadlines.h"

#include <future>

#include <gtest/gtest.h>

namespace cfsgate::gateway {
namespace {

using std::chrono::milliseconds;

TEST(DeadlinesTest, AnAnswerInTimeIsHandedOnOnce) {
    Deadlines deadlines(std::chrono::minutes(10));
    int answers = 0;
    const auto guarded = deadlines.guard<int>([&](Result<int> result) {
        ++answers;
        EXPECT_EQ(*result, 7);
    });
    guarded(7);
    guarded(8);
    EXPECT_EQ(answers, 1);
    EXPECT_EQ(deadlines.expired(), 0U);
}

TEST(DeadlinesTest, NoAnswerIsTimedOutAndALateOneIsDropped) {
    Deadlines deadlines(milliseconds(20));
    for (int round = 0; round < 3; ++round) {  // the thread sleeps in between
        std::promise<Errno> answer;
        const auto start = std::chrono::steady_clock::now();
        const auto guarded = deadlines.guard<void>([&](Status status) {
            answer.set_value(status ? Errno::TryAgain : status.error().code);
        });
        EXPECT_EQ(answer.get_future().get(), Errno::TimedOut);
        EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(20));
        guarded({});
    }
    EXPECT_EQ(deadlines.expired(), 3U);
}

TEST(DeadlinesTest, AnsweredOnesDoNotHoldUpOthers) {
    Deadlines deadlines(milliseconds(30));
    std::vector<std::function<void(Result<int>)>> guarded;
    std::atomic<int> answered{0};
    std::promise<void> late;
    for (int i = 0; i < 1000; ++i) {
        guarded.push_back(deadlines.guard<int>([&](Result<int> result) {
            if (result)
                ++answered;
            else
                late.set_value();
        }));
        if (i != 500) guarded.back()(i);
    }
    late.get_future().wait();
    EXPECT_EQ(answered, 999);
    EXPECT_EQ(deadlines.expired(), 1U);
}

TEST(DeadlinesTest, TheEndAnswersWhoIsLeft) {
    std::function<void(Result<int>)> guarded;
    Errno code = Errno::TryAgain;
    {
        Deadlines deadlines(std::chrono::minutes(10));
        guarded = deadlines.guard<int>([&](Result<int> result) { code = result.error().code; });
    }
    EXPECT_EQ(code, Errno::TimedOut);
    guarded(1);
}

}  // namespace
}  // namespace cfsgate::gateway
