// SPDX-License-Identifier: Apache-2.0
#include "store/history/removal_guard.h"

#include "tests/unit/store/history/history_fixture.h"

namespace cfsgate::store {
namespace {

using test::take;

class GuardTest : public HistoryTest {
protected:
    void make(int count, const std::string& directory_path = "d") {
        if (!test::exists_in(*store, directory_path)) apply(MakeDirectory{directory_path});
        for (int i = 0; i < count; ++i) {
            put(directory_path + "/" + std::to_string(i), "content " + std::to_string(i));
        }
    }
    void remove(int first, int last, const std::string& directory_path = "d") {
        for (int i = first; i < last; ++i) {
            apply(Delete{directory_path + "/" + std::to_string(i)});
        }
    }
    /// Waits for the snapshot, which is another thread's.
    RemovalBurst burst() const {
        for (int i = 0; i < 2000; ++i) {
            const auto found = store->last_removal_burst();
            if (found && !found->snapshot.empty()) return *found;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        ADD_FAILURE() << "no snapshot within ten seconds";
        return {};
    }
};

TEST_F(GuardTest, AHundredEntriesInSeconds) {
    make(400);
    directory.now += 3600;
    const Listing before = now();
    remove(0, 99);
    EXPECT_FALSE(store->last_removal_burst());
    remove(99, 100);
    const RemovalBurst found = burst();
    EXPECT_EQ(found.path, "d");
    EXPECT_EQ(found.time, directory.now);
    EXPECT_EQ(at(found.snapshot), before);
    remove(100, 300);
    EXPECT_EQ(store->last_removal_burst()->removed, 300U) << "the same burst goes on";
    EXPECT_EQ(directory.files("named.guard-").size(), 1U);
}

TEST_F(GuardTest, MoreThanAQuarterOfASmallTree) {
    make(47);
    directory.now += 3600;
    const Listing before = now();
    remove(0, 12);
    EXPECT_FALSE(store->last_removal_burst()) << "12 of 48";
    remove(12, 13);
    EXPECT_EQ(at(burst().snapshot), before);
}

TEST_F(GuardTest, ATreeOfFewEntriesIsNotGuarded) {
    make(38);
    directory.now += 3600;
    remove(0, 38);
    EXPECT_FALSE(store->last_removal_burst());
}

TEST_F(GuardTest, SlowRemovalsAreNone) {
    make(400);
    directory.now += 3600;
    for (int i = 0; i < 150; ++i) {
        remove(i, i + 1);
        if (i % 50 == 49) directory.now += 10;
    }
    EXPECT_FALSE(store->last_removal_burst());
}

TEST_F(GuardTest, WhatComesAndGoesIsNoLoss) {
    make(60);
    directory.now += 3600;
    for (int i = 0; i < 500; ++i) {
        apply(CreateFile{"temporary"});
        apply(Delete{"temporary"});
        apply(CreateFile{"replacement"});
        apply(Rename{"replacement", "d/0"});
    }
    apply(MakeDirectory{"priv"});
    apply(MakeDirectory{"priv/lock"});
    for (int i = 0; i < 200; ++i) {
        apply(MakeDirectory{"priv/lock/x"});
        apply(Delete{"priv/lock/x"});
    }
    EXPECT_FALSE(store->last_removal_burst());
}

/// All in the same second: what was made a moment ago can be lost as well.
TEST_F(GuardTest, ManyNewEntriesThatGoAreALoss) {
    make(150);
    const Listing before = now();
    remove(0, 150);
    EXPECT_EQ(at(burst().snapshot), before);
}

TEST_F(GuardTest, TheNewestFourAreKeptAndNamedOnesWithThem) {
    take(store->create_snapshot("mine"));
    std::vector<std::string> names;
    for (int round = 0; round < 6; ++round) {
        make(120);
        directory.now += 3600;
        remove(0, 120);
        names.push_back(burst().snapshot);
        ASSERT_EQ(std::count(names.begin(), names.end(), names.back()), 1);
        directory.now += 3600;
    }
    EXPECT_EQ(directory.files("named.guard-").size(), 4U);
    EXPECT_EQ(directory.files("named.mine.").size(), 1U);
    EXPECT_EQ(history().locate(names[1]).error().code, Errno::NotFound);
    EXPECT_TRUE(history().locate(names[2]));
}

TEST_F(GuardTest, ATakeoverCounts) {
    make(150);
    const Listing before = now();
    test::StoreDirectory other;
    other.options.boot_id = system_boot_id;
    const auto leader = other.open();
    for (int i = 0; i < 400; ++i) test::apply_alone(*leader, SetMtime{"f", 1});
    test::apply_alone(*leader, CreateFile{"f"});
    Takeover takeover;
    for (std::uint64_t inode = 2; inode < 400; ++inode) {
        takeover.removed.emplace_back(inode);
    }
    std::erase(takeover.removed, test::inode_of(*leader, "f").number);
    takeover.index = take(leader->encoded_index());
    takeover.from = "node 2";
    take(
        take(leader->read())->for_each([&](const Inode& inode, std::string_view content) -> Status {
            takeover.entries.push_back({inode, std::string(content)});
            return {};
        }));
    take(store->take_over(takeover));
    const RemovalBurst found = burst();
    EXPECT_GE(found.removed, 149U);
    EXPECT_EQ(at(found.snapshot), before);
}

TEST_F(GuardTest, OffMeansOff) {
    directory.options.guard.entries = 0;
    restart();
    make(150);
    remove(0, 150);
    EXPECT_FALSE(store->last_removal_burst());
}

}  // namespace
}  // namespace cfsgate::store
