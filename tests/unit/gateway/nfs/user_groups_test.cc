// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/user_groups.h"

#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>

#include <gtest/gtest.h>

namespace cfsgate::gateway::nfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// A user database that counts, fails, and waits until it is let go.
class UserGroupsTest : public ::testing::Test {
protected:
    UserGroupsOptions options() {
        UserGroupsOptions options;
        options.look_up = [this](uid_t uid) -> Result<Groups> {
            ++lookups;
            while (held) std::this_thread::yield();
            if (uid == kBroken) return fail(Errno::InputOutput);
            return Groups{uid, {uid + 1}};
        };
        options.clock = [this] { return std::chrono::steady_clock::time_point(seconds(now)); };
        options.valid_for = seconds(60);
        return options;
    }

    /// Waits for the answer.
    static GroupsPtr ask(UserGroups& users, uid_t uid) {
        std::promise<GroupsPtr> answer;
        EXPECT_TRUE(users.request(uid, [&](const GroupsPtr& groups) { answer.set_value(groups); }));
        return answer.get_future().get();
    }

    static constexpr uid_t kBroken = 13;
    std::atomic<int> lookups{0};
    std::atomic<bool> held{false};
    std::atomic<long> now{1000};
};

TEST_F(UserGroupsTest, AnAnswerIsKeptForAWhile) {
    UserGroups users(options());
    EXPECT_EQ(users.find(5), nullptr);
    EXPECT_EQ(*ask(users, 5), (Groups{5, {6}}));
    now = 1060;
    ASSERT_NE(users.find(5), nullptr);
    EXPECT_EQ(*users.find(5), (Groups{5, {6}}));
    now = 1061;
    EXPECT_EQ(users.find(5), nullptr);
    EXPECT_NE(ask(users, 5), nullptr);
    EXPECT_NE(users.find(5), nullptr);
    EXPECT_EQ(lookups, 2);
}

TEST_F(UserGroupsTest, AFailureIsNotKept) {
    UserGroups users(options());
    EXPECT_EQ(ask(users, kBroken), nullptr);
    EXPECT_EQ(users.find(kBroken), nullptr);
    EXPECT_EQ(ask(users, kBroken), nullptr);
    EXPECT_EQ(lookups, 2);
}

TEST_F(UserGroupsTest, ThoseWhoAskTogetherShareOneLookUp) {
    UserGroups users(options());
    held = true;
    std::atomic<int> answers{0};
    for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(users.request(5, [&](const GroupsPtr& groups) {
            EXPECT_NE(groups, nullptr);
            ++answers;
        }));
    }
    held = false;
    ask(users, 6);
    EXPECT_EQ(answers, 10);
    EXPECT_EQ(lookups, 2);
}

TEST_F(UserGroupsTest, AskingIsBounded) {
    UserGroupsOptions few = options();
    few.waiting_max = 2;
    UserGroups users(few);
    held = true;
    std::promise<void> last;
    EXPECT_TRUE(users.request(1, [](const GroupsPtr&) {}));
    EXPECT_TRUE(users.request(1, [&](const GroupsPtr&) { last.set_value(); }));
    for (const uid_t uid : {1U, 2U}) {
        const Status status = users.request(uid, [](const GroupsPtr&) { ADD_FAILURE(); });
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error().code, Errno::TryAgain);
    }
    held = false;
    last.get_future().get();
    EXPECT_NE(ask(users, 2), nullptr) << "there is room again";
}

TEST_F(UserGroupsTest, MemoryIsBoundedAndTheOldestGoes) {
    UserGroupsOptions few = options();
    few.users_max = 3;
    UserGroups users(few);
    for (const uid_t uid : {1U, 2U, 3U, 1U, 4U}) {
        ++now;
        ask(users, uid);
    }
    EXPECT_NE(users.find(1), nullptr) << "was asked for again";
    EXPECT_EQ(users.find(2), nullptr);
    EXPECT_NE(users.find(3), nullptr);
    EXPECT_NE(users.find(4), nullptr);
}

TEST_F(UserGroupsTest, StopEndsWhatWaitsAndTakesNoMore) {
    UserGroups users(options());
    held = true;
    EXPECT_TRUE(users.request(1, [](const GroupsPtr&) { ADD_FAILURE(); }));
    EXPECT_TRUE(users.request(2, [](const GroupsPtr&) { ADD_FAILURE(); }));
    while (lookups == 0) std::this_thread::yield();
    std::thread stopper([&] { users.stop(); });
    while (users.request(3, [](const GroupsPtr&) {})) std::this_thread::yield();
    held = false;
    stopper.join();
    EXPECT_EQ(lookups, 1);

    UserGroups idle(options());
    idle.stop();
    EXPECT_FALSE(idle.request(4, [](const GroupsPtr&) {}));
}

TEST_F(UserGroupsTest, StopDoesNotWaitForADatabaseThatHangs) {
    // What the stuck thread touches lives until it has seen the end.
    struct Database {
        std::promise<void> entered;
        std::promise<void> release;
        std::promise<void> left;
    };
    const auto database = std::make_shared<Database>();
    UserGroupsOptions stuck = options();
    stuck.clock = std::chrono::steady_clock::now;
    stuck.stop_max = milliseconds(10);
    stuck.look_up = [database](uid_t) -> Result<Groups> {
        database->entered.set_value();
        database->release.get_future().wait();
        database->left.set_value();
        return Groups{};
    };
    auto users = std::make_unique<UserGroups>(stuck);
    EXPECT_TRUE(users->request(1, [](const GroupsPtr&) { ADD_FAILURE(); }));
    database->entered.get_future().wait();
    users.reset();
    database->release.set_value();
    database->left.get_future().wait();
}

TEST(SystemGroupsTest, TheSystemsDatabaseAnswers) {
    const Result<Groups> root = system_groups(0);
    ASSERT_TRUE(root);
    EXPECT_EQ(root->primary, 0U);
    EXPECT_TRUE(root->has(0));
    const Result<Groups> unknown = system_groups(4'000'000'000U);
    ASSERT_TRUE(unknown);
    EXPECT_EQ(*unknown, Groups{});
    EXPECT_FALSE(unknown->has(0));
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
