// SPDX-License-Identifier: Apache-2.0
#include "store/history/history.h"

#include "store/model/index.h"
#include "store/snapshot.h"
#include "tests/support/prng.h"
#include "tests/unit/store/history/history_fixture.h"

namespace cfsgate::store {
namespace {

using test::take;

class HistoryReadTest : public HistoryTest {
protected:
    std::vector<std::string> find(const HistoryQuery& query) const {
        std::vector<std::string> found;
        for (const HistoryRecord& record : take(history().find(query))) {
            found.push_back(std::string(to_string(record.kind)) + " " + record.path +
                            (record.target.empty() ? "" : " " + record.target));
        }
        return found;
    }
};

using Lines = std::vector<std::string>;

TEST_F(HistoryReadTest, RecordsSayWhoWhenAndWhat) {
    apply(MakeDirectory{"d"}, 100);
    apply(CreateFile{"d/f"}, 101);
    apply(WriteFile{"d/f", "content", 3, true}, 102);
    apply(SetMtime{"d/f", 77}, 103);
    apply(Rename{"d/f", "g"}, 104);
    apply(Delete{"g"}, 105);
    const auto records = take(history().find({}));
    ASSERT_EQ(records.size(), 6U);
    EXPECT_EQ(find({}), (Lines{"delete g", "rename d/f g", "mtime d/f", "write d/f", "create d/f",
                               "mkdir d"}));
    const HistoryRecord& write = records[3];
    EXPECT_EQ(write.version, Version(4));
    EXPECT_EQ(write.sequence, Sequence(3));
    EXPECT_EQ(write.stamp.node, NodeId(3));
    EXPECT_EQ(write.stamp.time, 102U);
    EXPECT_EQ(write.offset, 3U);
    EXPECT_EQ(write.bytes, 7U);
    EXPECT_TRUE(write.truncate);
    EXPECT_EQ(records[2].mtime, 77U);
}

TEST_F(HistoryReadTest, APathIsTheEntryWhatIsBelowAndBothSidesOfARename) {
    for (const char* path : {"a", "a/b", "ab"}) apply(MakeDirectory{path});
    apply(CreateFile{"a/b/f"});
    apply(Rename{"a/b/f", "x"});
    apply(Rename{"x", "a/y"});
    EXPECT_EQ(find({.path = "a"}),
              (Lines{"rename x a/y", "rename a/b/f x", "create a/b/f", "mkdir a/b", "mkdir a"}));
    EXPECT_EQ(find({.path = "/a/b/"}), (Lines{"rename a/b/f x", "create a/b/f", "mkdir a/b"}));
    EXPECT_EQ(find({.path = "x"}), (Lines{"rename x a/y", "rename a/b/f x"}));
    EXPECT_EQ(find({.path = "none"}), Lines{});
}

TEST_F(HistoryReadTest, EitherOrderLimitsTimesAndPages) {
    begin_anew(4096, 1 << 20, 1 << 20);
    for (std::uint32_t i = 0; i < 300; ++i) apply(CreateFile{std::to_string(i)}, 1000 + i);
    ASSERT_GT(directory.files("journal.").size(), 3U);
    EXPECT_EQ(find({.most = 2}), (Lines{"create 299", "create 298"}));
    EXPECT_EQ(find({.oldest_first = true, .most = 2}), (Lines{"create 0", "create 1"}));
    EXPECT_EQ(find({.since = 1298}), (Lines{"create 299", "create 298"}));
    EXPECT_EQ(find({.until = 1001}), (Lines{"create 1", "create 0"}));
    for (const bool oldest_first : {false, true}) {
        HistoryQuery query{.oldest_first = oldest_first, .most = 7};
        std::vector<std::uint64_t> sequences;
        for (auto page = take(history().find(query)); !page.empty();
             page = take(history().find(query))) {
            for (const auto& record : page) sequences.push_back(record.sequence.value());
            query.from = page.back().sequence;
        }
        ASSERT_EQ(sequences.size(), 300U);
        for (std::uint64_t i = 0; i < 300; ++i) {
            EXPECT_EQ(sequences[i], oldest_first ? i + 1 : 300 - i);
        }
    }
}

TEST_F(HistoryReadTest, PositionsAreVersionsRecordsSnapshotsAndTimes) {
    EXPECT_EQ(std::get<Version>(take(parse_position("17"))), Version(17));
    EXPECT_EQ(std::get<Sequence>(take(parse_position("#17"))), Sequence(17));
    EXPECT_EQ(std::get<std::string>(take(parse_position("lost.snapshot.5"))), "lost.snapshot.5");
    for (const char* wrong : {"", "#", "#x", "99999999999999999999"}) {
        EXPECT_EQ(parse_position(wrong).error().code, Errno::Invalid) << wrong;
    }
    put("f", "one", 1000);
    take(store->create_snapshot("first"));
    put("f", "two", 2000);
    put("f", "three", 3000);
    EXPECT_EQ(at(Version(1)), Listing{});
    EXPECT_EQ(at(Version(3)), (Listing{{"f", "file one 1000"}}));
    EXPECT_EQ(at(Sequence(3)), (Listing{{"f", "file two 2000"}}));
    EXPECT_EQ(at(std::string("first")), (Listing{{"f", "file one 1000"}}));
    EXPECT_EQ(at(At{1000}), (Listing{{"f", "file one 1000"}}));
    EXPECT_EQ(at(At{2999}), (Listing{{"f", "file two 2000"}}));
    EXPECT_EQ(at(At{3000}), (Listing{{"f", "file three 3000"}}));
    EXPECT_EQ(at(At{UINT32_MAX}), now());
    const auto past = history();
    EXPECT_EQ(past.locate(At{999}).error().code, Errno::NotFound) << "the store began later";
    EXPECT_EQ(past.locate(Version(99)).error().code, Errno::NotFound);
    EXPECT_EQ(past.locate(std::string("second")).error().code, Errno::NotFound);
    EXPECT_EQ(past.tree_at(Sequence(99)).error().code, Errno::NotFound);
}

/// A clock that is ahead hides what was done after it; one that is behind hides nothing.
TEST_F(HistoryReadTest, ATimeIsBeforeTheFirstRecordThatIsLater) {
    put("a", "1", 1000);
    put("b", "2", 5000);
    put("c", "3", 2000);
    EXPECT_EQ(at(At{3000}), (Listing{{"a", "file 1 1000"}}));
    EXPECT_EQ(at(At{5000}), now());
}

TEST_F(HistoryReadTest, EveryStateComesBackFromSnapshotsAndJournal) {
    begin_anew(4096, 6000, 20000);
    test::Prng prng(5);
    std::map<std::uint64_t, Listing> states;
    for (std::uint32_t i = 0; i < 400; ++i) {
        const std::string path = "f" + std::to_string(prng.below(20));
        if (!test::exists_in(*store, path)) {
            apply(CreateFile{path}, 1000 + i);
        } else if (prng.one_in(4)) {
            apply(Delete{path}, 1000 + i);
        } else {
            apply(WriteFile{path, std::string(prng.below(300), 'x'), 0, true}, 1000 + i);
        }
        states[last().value()] = now();
        if (prng.one_in(40)) take(store->write_snapshot());
        if (prng.one_in(50)) restart(prng.one_in(2));
    }
    // The oldest that is kept can be told from the files: a snapshot, and all records behind it.
    const auto snapshots = take(history().snapshots());
    ASSERT_GE(snapshots.size(), 2U);
    const std::uint64_t oldest = snapshots.front().journal.value();
    EXPECT_GT(oldest, 1U) << "something was pruned";
    std::uint64_t reached = 0;
    for (const auto& [sequence, listing] : states) {
        if (sequence < oldest) continue;
        EXPECT_EQ(at(Sequence(sequence)), listing) << sequence;
        ++reached;
    }
    EXPECT_GT(reached, 50U);
    EXPECT_EQ(history().tree_at(Sequence(oldest - 1)).error().code, Errno::NotFound);
    EXPECT_TRUE(directory.files("past.").empty());
}

TEST_F(HistoryReadTest, ADamagedSnapshotIsNoObstacleWhereAnOlderOneIsThere) {
    put("f", "one");
    take(store->write_snapshot());
    put("f", "two");
    take(store->write_snapshot());
    test::write_file(directory.file(directory.files("snapshot.").back()), "damaged");
    EXPECT_EQ(at(last()), now());
}

TEST_F(HistoryReadTest, AStoreThatNobodyUsesHasTheSamePast) {
    put("f", "one");
    put("f", "two");
    const Listing before = at(Version(3));
    take(store->close());
    store.reset();
    EXPECT_EQ(at(Version(3)), before);
    EXPECT_EQ(take(history().find({})).size(), 3U);
    EXPECT_EQ(directory.findings(), "");
}

TEST_F(HistoryReadTest, LeftoversOfAnEndInTheMiddleGoAtTheStart) {
    std::filesystem::create_directory(directory.file("past.abcdef"));
    test::write_file(directory.file("past.abcdef/tree.mdb"), "secret");
    for (const char* name : {"new.snapshot.1", "new.named.x.snapshot.1", "new.journal.1"}) {
        test::write_file(directory.file(name), "secret");
    }
    restart();
    EXPECT_TRUE(holders("secret").empty());
    EXPECT_TRUE(directory.files("past.").empty());
    EXPECT_TRUE(directory.files("new.").empty());
}

TEST_F(HistoryReadTest, ATakeoverIsARecordAndTheLostTreeAPosition) {
    put("ours", "lost content");
    test::StoreDirectory other;
    other.options.boot_id = system_boot_id;
    const auto leader = other.open();
    for (int i = 0; i < 5; ++i) {
        test::apply_alone(*leader, CreateFile{"theirs" + std::to_string(i)}, {NodeId(2), 2000});
    }
    Takeover takeover;
    takeover.index = take(leader->encoded_index());
    takeover.from = "node 2";
    take(
        take(leader->read())->for_each([&](const Inode& inode, std::string_view content) -> Status {
            takeover.entries.push_back({inode, std::string(content)});
            return {};
        }));
    const TakeoverReport report = take(store->take_over(takeover));
    ASSERT_TRUE(report.snapshot);
    const auto records = take(history().find({.path = "anything", .most = 1}));
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].kind, HistoryRecord::Kind::Takeover);
    EXPECT_EQ(records[0].from, "node 2");
    EXPECT_EQ(records[0].put, 5U);
    EXPECT_EQ(at(*report.snapshot), (Listing{{"ours", "file lost content 1700000000"}}));
    EXPECT_EQ(at(report.sequence), now());
}

}  // namespace
}  // namespace cfsgate::store
