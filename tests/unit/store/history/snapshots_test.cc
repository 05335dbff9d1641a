// SPDX-License-Identifier: Apache-2.0
#include "store/history/snapshots.h"

#include "store/snapshot.h"
#include "tests/unit/store/history/history_fixture.h"

namespace cfsgate::store {
namespace {

using test::take;
using Names = std::vector<std::string>;

TEST(SnapshotNameTest, LettersDigitsAndTwoMarks) {
    for (const char* good : {"a", "before-upgrade_2", "1a"}) {
        EXPECT_TRUE(is_snapshot_name(good)) << good;
    }
    EXPECT_TRUE(is_snapshot_name(std::string(64, 'a')));
    EXPECT_FALSE(is_snapshot_name(std::string(65, 'a')));
    for (const char* bad : {"", "17", "1-2", "a.b", "a/b", "#a", "a b", "\xc3\xa9"}) {
        EXPECT_FALSE(is_snapshot_name(bad)) << bad;
    }
}

// --- Retention ---

class RetentionTest : public testing::Test {
protected:
    void snapshot(std::uint64_t journal, std::int64_t written = 1000) {
        SnapshotFile file;
        file.file = std::to_string(journal);
        file.journal = Sequence(journal);
        file.written = written;
        automatic.push_back(file);
    }
    RetentionPlan plan(bool from_empty = true) const {
        return plan_retention(automatic, segments, from_empty, policy);
    }

    std::vector<SnapshotFile> automatic;
    /// Ten records and 100 bytes each.
    std::vector<SegmentSpan> segments{{Sequence(1), 100},
                                      {Sequence(11), 100},
                                      {Sequence(21), 100},
                                      {Sequence(31), 100},
                                      {Sequence(41), 100}};
    RetentionPolicy policy{10000, 0, 0};
};

TEST_F(RetentionTest, NothingGoesWithinTheLimits) {
    for (const unsigned at : {10U, 20U, 30U, 40U}) snapshot(at);
    EXPECT_EQ(plan().drop, Names{});
    EXPECT_EQ(plan().prune_upto, Sequence(0));
    EXPECT_EQ(plan(false).prune_upto, Sequence(10)) << "nothing before it can be reached";
}

TEST_F(RetentionTest, TooMuchGoesFromSnapshotToSnapshot) {
    for (const unsigned at : {10U, 20U, 30U, 40U}) snapshot(at);
    policy.keep_bytes = 450;
    EXPECT_EQ(plan().drop, Names{}) << "the empty tree goes first";
    EXPECT_EQ(plan().prune_upto, Sequence(10));
    policy.keep_bytes = 400;
    EXPECT_EQ(plan().prune_upto, Sequence(10));
    policy.keep_bytes = 399;
    EXPECT_EQ(plan().drop, Names{"10"});
    EXPECT_EQ(plan().prune_upto, Sequence(20));
}

TEST_F(RetentionTest, TwoStayWhateverTheLimits) {
    for (const unsigned at : {10U, 20U, 30U, 40U}) snapshot(at);
    policy.keep_bytes = 0;
    EXPECT_EQ(plan().drop, (Names{"10", "20"}));
    EXPECT_EQ(plan().prune_upto, Sequence(30));
    automatic.erase(automatic.begin(), automatic.begin() + 3);
    EXPECT_EQ(plan().drop, Names{});
    EXPECT_EQ(plan().prune_upto, Sequence(0));
}

TEST_F(RetentionTest, OldGoesWhenAllBehindItIsOld) {
    snapshot(10, 100);
    snapshot(20, 200);
    snapshot(30, 300);
    snapshot(40, 400);
    policy.oldest_time = 200;
    EXPECT_EQ(plan().prune_upto, Sequence(10)) << "what led from 10 to 20 is young enough";
    EXPECT_EQ(plan().drop, Names{});
    policy.oldest_time = 201;
    EXPECT_EQ(plan().drop, Names{"10"});
    policy.oldest_time = 1000;
    EXPECT_EQ(plan().drop, (Names{"10", "20"}));
}

TEST_F(RetentionTest, SnapshotsThatAreTooNearGo) {
    for (const unsigned at : {10U, 12U, 14U, 30U, 31U, 32U}) snapshot(at);
    policy.spacing_bytes = 200;
    EXPECT_EQ(plan().drop, (Names{"10", "12"}));
    EXPECT_EQ(plan(false).drop, (Names{"12"}));
    policy.spacing_bytes = 201;
    EXPECT_EQ(plan().drop, (Names{"10", "12", "30"}));
}

// --- In a store ---

class SnapshotsTest : public HistoryTest {};

TEST_F(SnapshotsTest, NamedOnesAreKeptUntilDeleted) {
    begin_anew(4096, 4096, 8192);
    put("f", "then");
    const Version then = take(store->read())->head().version;
    take(store->create_snapshot("mine"));
    EXPECT_EQ(store->create_snapshot("mine").error().code, Errno::Exists);
    for (const char* bad : {"", "17", "a/b", "guard-mine"}) {
        EXPECT_EQ(store->create_snapshot(bad).error().code, Errno::Invalid) << bad;
    }
    for (int i = 0; i < 40; ++i) {
        put("f", std::string(1000, 'x'));
        take(store->write_snapshot());
    }
    EXPECT_EQ(history().tree_at(Sequence(1)).error().code, Errno::NotFound) << "pruned";
    const Listing mine{{"f", "file then 1700000000"}};
    EXPECT_EQ(at(std::string("mine")), mine);
    EXPECT_EQ(at(then), mine) << "its version is a position too";
    restart(true);
    EXPECT_EQ(at(std::string("mine")), mine);
    const auto automatic = directory.files("snapshot.");
    EXPECT_EQ(store->delete_snapshot(automatic.front()).error().code, Errno::Invalid);
    EXPECT_EQ(store->delete_snapshot("other").error().code, Errno::NotFound);
    take(store->delete_snapshot("mine"));
    EXPECT_TRUE(directory.files("named.").empty());
    EXPECT_EQ(history().locate(std::string("mine")).error().code, Errno::NotFound);
}

TEST_F(SnapshotsTest, ManyOnRequestDoNotPileUp) {
    for (int i = 0; i < 20; ++i) {
        put("f", std::to_string(i));
        take(store->write_snapshot());
    }
    EXPECT_LE(directory.files("snapshot.").size(), 3U);
    EXPECT_EQ(at(Version(5)).at("f"), "file 2 1700000000");
}

}  // namespace
}  // namespace cfsgate::store
