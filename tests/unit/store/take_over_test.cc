// SPDX-License-Identifier: Apache-2.0
// A node takes over the tree of another one: over every kind of difference, refusal and restart.
#include "store/take_over.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "store/change_counters.h"
#include "store/journal.h"
#include "store/snapshot.h"
#include "tests/support/prng.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::store {
namespace {

using test::apply_alone;
using test::checksum_of;
using test::content_of;
using test::exists_in;
using test::inode_of;
using test::result_of;
using test::take;

using Entries = std::vector<Entry>;

Entry entry(std::uint64_t number, std::uint64_t parent, EntryType type, std::string name,
            std::string content = {}) {
    Entry entry;
    entry.inode.number = InodeNumber(number);
    entry.inode.parent = InodeNumber(parent);
    entry.inode.version = Version(number);
    entry.inode.writer = NodeId(1);
    entry.inode.mtime = 1700000000;
    entry.inode.size = static_cast<std::uint32_t>(content.size());
    entry.inode.type = type;
    entry.inode.name = std::move(name);
    entry.content = std::move(content);
    return entry;
}
Entry file(std::uint64_t number, std::uint64_t parent, std::string name, std::string content) {
    return entry(number, parent, EntryType::File, std::move(name), std::move(content));
}
Entry folder(std::uint64_t number, std::uint64_t parent, std::string name) {
    return entry(number, parent, EntryType::Directory, std::move(name));
}

/// As the messages of the group tell it: what differs, in no order that helps.
Takeover takeover_of(const Store& leader, const Store& ours) {
    Takeover takeover;
    takeover.from = "node 2";
    takeover.index = take(leader.encoded_index());
    const Index theirs = take(leader.index());
    std::map<InodeNumber, Digest> own;
    for (const IndexEntry& known : take(ours.index()).entries) own[known.inode] = known.digest;
    const auto view = take(leader.read());
    for (const IndexEntry& wanted : theirs.entries) {
        const auto known = own.find(wanted.inode);
        if (known == own.end() || known->second != wanted.digest) {
            takeover.entries.push_back(take(entry_as_stored(*view, wanted.inode)));
        }
        if (known != own.end()) own.erase(known);
    }
    for (const auto& gone : own) takeover.removed.push_back(gone.first);
    std::reverse(takeover.entries.begin(), takeover.entries.end());
    return takeover;
}

class TakeOverTest : public testing::Test {
protected:
    TakeOverTest() {
        for (test::StoreDirectory* each : {&directory, &other}) {
            each->options.boot_id = system_boot_id;
        }
    }

    static std::unique_ptr<Store> make(test::StoreDirectory& where, std::uint64_t version,
                                       const Entries& entries) {
        take(Store::create_from(where.options, {Version(version), NodeId(1), 1700000000}, entries,
                                null_logger()));
        return where.open();
    }
    void make_both(const Entries& ours, const Entries& theirs) {
        store = make(directory, 100, ours);
        leader = make(other, 200, theirs);
    }
    TakeoverReport take_over() { return take(store->take_over(takeover_of(*leader, *store))); }
    /// The tree is the leader's, and stays so whatever happens.
    void expect_taken_over() {
        EXPECT_EQ(checksum_of(*store), checksum_of(*leader));
        EXPECT_EQ(take(store->encoded_index()), take(leader->encoded_index()));
        EXPECT_EQ(take(store->read())->usage(), take(leader->read())->usage());
        for (const bool power_cut : {false, true}) {
            store.reset();
            EXPECT_EQ(directory.findings(), "");
            if (power_cut) directory.pretend_power_cut();
            store = directory.open();
            EXPECT_EQ(store->start_kind(), power_cut ? StartKind::Rebuilt : StartKind::Resumed);
            EXPECT_EQ(checksum_of(*store), checksum_of(*leader));
            EXPECT_EQ(take(store->encoded_index()), take(leader->encoded_index()));
        }
        EXPECT_EQ(result_of(*store, CreateFile{"new"}), 0) << "the work goes on";
    }
    /// Refused, and nothing has happened.
    void expect_refused(const Takeover& takeover, Errno code = Errno::BadMessage) {
        const std::string before = checksum_of(*store);
        const Sequence appended = store->journal_status().appended;
        const std::size_t snapshots = directory.files("snapshot.").size();
        const auto report = store->take_over(takeover);
        ASSERT_FALSE(report);
        EXPECT_EQ(report.error().code, code) << report.error().detail;
        EXPECT_EQ(checksum_of(*store), before);
        EXPECT_EQ(store->journal_status().appended, appended);
        EXPECT_EQ(directory.files("snapshot.").size(), snapshots);
        EXPECT_TRUE(directory.files("lost.").empty());
        EXPECT_FALSE(store->failure());
        EXPECT_TRUE(take(check_tree(*take(store->read()))).findings.empty());
    }
    Version names_version(std::string_view path) const {
        const auto view = take(store->read());
        return take(view->names_version(take(view->resolve(path))));
    }

    test::StoreDirectory directory;
    test::StoreDirectory other;
    std::unique_ptr<Store> store;
    std::unique_ptr<Store> leader;
};

// --- Every kind of difference ---

TEST_F(TakeOverTest, AFreshStoreTakesAWholeTree) {
    store = directory.open();
    leader = make(other, 50,
                  {folder(2, 0, "d"), file(3, 2, "small", "text"),
                   file(4, 2, "large", std::string(300000, 'x')), file(5, 0, "empty", ""),
                   folder(6, 2, std::string(600, 'n'))});
    const TakeoverReport report = take_over();
    EXPECT_EQ(report.sequence, Sequence(1));
    EXPECT_EQ(report.lost_total, 0U);
    EXPECT_TRUE(report.lost.empty());
    EXPECT_FALSE(report.snapshot);
    EXPECT_TRUE(directory.files("lost.").empty());
    EXPECT_EQ(report.changes.size(), 5U);
    for (const Change& change : report.changes) {
        EXPECT_EQ(change.kind, Change::Kind::Created);
        EXPECT_EQ(change.version, Version(50));
    }
    EXPECT_EQ(take(store->read())->head(), take(leader->read())->head());
    EXPECT_EQ(content_of(*store, "d/small"), "text");
    expect_taken_over();
}

TEST_F(TakeOverTest, NamesAreSwappedEntriesMoveAndKindsChange) {
    make_both({folder(2, 0, "a"), folder(3, 0, "b"), file(4, 0, "x", "4"), file(5, 0, "y", "5"),
               folder(6, 2, "in a"), file(7, 6, "deep", "7"), file(8, 0, "gone", "8"),
               folder(9, 0, "gone too"), file(10, 9, "with it", "10"), file(11, 0, "kind", "11"),
               folder(12, 0, "other kind"), file(13, 0, "stays", "13")},
              {folder(2, 0, "b"), folder(3, 0, "a"),             // names swapped
               file(4, 0, "y", "4"), file(5, 0, "x", "5"),       // the same of files
               folder(6, 3, "in a"), file(7, 0, "deep", "new"),  // moved; moved and written
               folder(11, 0, "kind"), file(12, 0, "other kind", "12"), file(13, 0, "stays", "13"),
               file(14, 11, "below what was a file", "14"), folder(15, 16, "inner"),
               folder(16, 0, "outer")});  // a parent with a higher number
    const TakeoverReport report = take_over();
    using Kind = Change::Kind;
    std::vector<std::pair<std::uint64_t, Kind>> changes;
    for (const Change& change : report.changes) {
        changes.emplace_back(change.inode.value(), change.kind);
    }
    EXPECT_EQ(changes, (std::vector<std::pair<std::uint64_t, Kind>>{
                           {2, Kind::Moved},
                           {3, Kind::Moved},
                           {4, Kind::Moved},
                           {5, Kind::Moved},
                           {6, Kind::Moved},
                           {7, Kind::Moved},
                           {7, Kind::Modified},
                           {8, Kind::Removed},
                           {9, Kind::Removed},
                           {10, Kind::Removed},
                           {11, Kind::Removed},
                           {11, Kind::Created},
                           {12, Kind::Removed},
                           {12, Kind::Created},
                           {14, Kind::Created},
                           {15, Kind::Created},
                           {16, Kind::Created},
                       }));
    EXPECT_EQ(report.lost_total, 11U);
    ASSERT_EQ(report.lost.size(), 11U);
    EXPECT_EQ(report.lost[5].path, "a/in a/deep");
    EXPECT_EQ(report.lost[5].what, "replaced");
    EXPECT_EQ(report.lost[8].path, "gone too/with it");
    EXPECT_EQ(report.lost[8].what, "removed");
    EXPECT_EQ(content_of(*store, "kind/below what was a file"), "14");
    EXPECT_EQ(content_of(*store, "x"), "5");
    EXPECT_EQ(names_version("outer/inner"), Version(200));
    EXPECT_EQ(names_version(""), Version(200));
    expect_taken_over();
}

/// `entry` as it is after a change.
Entry changed(Entry entry, std::uint64_t version) {
    entry.inode.version = Version(version);
    return entry;
}

TEST_F(TakeOverTest, WhoWasBehindHasNotDiverged) {
    make_both(
        {file(2, 0, "f", "old"), file(3, 0, "gone", ""), file(4, 0, "same", "")},
        {changed(file(2, 0, "f", "new"), 150), file(4, 0, "same", ""), file(120, 0, "later", "")});
    const TakeoverReport report = take_over();
    EXPECT_FALSE(report.diverged);
    EXPECT_EQ(report.lost_total, 2U);
    EXPECT_TRUE(report.snapshot) << "it is likely, and not certain";
}

TEST_F(TakeOverTest, AnotherEntryOfAVersionThatWeHadMeansDivergence) {
    make_both({file(2, 0, "f", ""), file(100, 0, "ours", "")},
              {file(2, 0, "f", ""), file(99, 0, "theirs", "")});
    EXPECT_TRUE(take_over().diverged);
}

TEST_F(TakeOverTest, AnotherEntryUnderTheNumberOfOursMeansDivergence) {
    Entry theirs = changed(file(100, 0, "theirs", "x"), 101);
    theirs.inode.writer = NodeId(2);
    make_both({file(100, 0, "ours", "")}, {theirs});
    EXPECT_TRUE(take_over().diverged);
}

TEST_F(TakeOverTest, WhatIsTheSameAlreadyIsNoChange) {
    make_both({file(2, 0, "f", "same"), file(3, 0, "g", "ours")},
              {file(2, 0, "f", "same"), file(3, 0, "g", "theirs")});
    Takeover takeover = takeover_of(*leader, *store);
    takeover.entries.push_back(file(2, 0, "f", "same"));
    takeover.removed.push_back(InodeNumber(77));  // nor is what is not there
    const TakeoverReport report = take(store->take_over(takeover));
    ASSERT_EQ(report.changes.size(), 1U);
    EXPECT_EQ(report.changes[0].inode, InodeNumber(3));
    EXPECT_EQ(report.lost_total, 1U);
    expect_taken_over();
}

TEST_F(TakeOverTest, TheSameTreeIsNoChangeAtAll) {
    make_both({file(2, 0, "f", "same")}, {file(2, 0, "f", "same")});
    take_over();  // the head alone
    const Sequence appended = store->journal_status().appended;
    const TakeoverReport report = take_over();
    EXPECT_EQ(report.sequence, appended);
    EXPECT_EQ(store->journal_status().appended, appended);
    expect_taken_over();
}

TEST_F(TakeOverTest, AnotherContentUnderTheSameVersionIsSeenInIndexAndChecksum) {
    store = make(directory, 9, {file(2, 0, "f", "ours")});
    leader = make(other, 9, {file(2, 0, "f", "them")});
    EXPECT_NE(take(store->encoded_index()), take(leader->encoded_index()));
    EXPECT_NE(checksum_of(*store), checksum_of(*leader));
    take_over();
    expect_taken_over();
}

TEST_F(TakeOverTest, ALengthWithoutBytesIsFoundOutByItsDigest) {
    Entry unbacked = file(2, 0, "unbacked", "");
    unbacked.inode.size = 3000;
    unbacked.inode.unbacked = true;
    make_both({}, {unbacked, file(3, 0, "zeros", std::string(3000, '\0'))});
    Takeover takeover = takeover_of(*leader, *store);
    for (Entry& sent : takeover.entries) {
        if (!sent.inode.unbacked) continue;
        EXPECT_EQ(sent.content, "");
        sent.inode.unbacked = false;  // an update has no such field, and carries zeros
        sent.content.assign(sent.inode.size, '\0');
    }
    take(store->take_over(takeover));
    EXPECT_TRUE(inode_of(*store, "unbacked").unbacked);
    EXPECT_FALSE(inode_of(*store, "zeros").unbacked);
    EXPECT_EQ(content_of(*store, "unbacked"), std::string(3000, '\0'));
    expect_taken_over();
}

TEST_F(TakeOverTest, RandomHistoriesFromOneTreeOn) {
    for (std::uint64_t seed = 1; seed <= 12 && !HasFailure(); ++seed) {
        SCOPED_TRACE(seed);
        test::Prng prng(seed);
        test::StoreDirectory mine;
        test::StoreDirectory theirs;
        const std::vector<std::string> names = {"a",   "b",     "c",     "a/a",   "a/b",
                                                "b/a", "a/a/a", "a/b/c", "b/a/c", "c/c"};
        const auto change = [&](Store& target, int count) {
            for (int i = 0; i < count; ++i) {
                const std::string& path = prng.pick(names);
                const std::size_t bytes = prng.one_in(4) ? 3000 : prng.below(20);
                switch (prng.below(6)) {
                    case 0: apply_alone(target, MakeDirectory{path}); break;
                    case 1: apply_alone(target, CreateFile{path}); break;
                    case 2: apply_alone(target, Delete{path}); break;
                    case 3: apply_alone(target, Rename{path, prng.pick(names)}); break;
                    case 4: apply_alone(target, SetMtime{path, 1700000000}); break;
                    default: apply_alone(target, WriteFile{path, std::string(bytes, 'x'), 0, true});
                }
            }
        };
        for (test::StoreDirectory* each : {&mine, &theirs}) {
            each->options.boot_id = system_boot_id;
        }
        change(*mine.open(), 60);
        for (const auto& item : std::filesystem::directory_iterator(mine.path())) {
            std::filesystem::copy(item.path(), theirs.file(item.path().filename().string()));
        }
        auto ours = mine.open();
        const auto best = theirs.open();
        for (int round = 0; round < 4; ++round) {
            change(*ours, 30);
            change(*best, 60);
            const std::uint64_t entries = take(ours->read())->usage().entries;
            const TakeoverReport report = take(ours->take_over(takeover_of(*best, *ours)));
            EXPECT_LE(report.lost_total, entries - 1);
            EXPECT_EQ(report.snapshot.has_value(), report.lost_total > 0);
            EXPECT_EQ(checksum_of(*ours), checksum_of(*best));
            EXPECT_EQ(take(ours->encoded_index()), take(best->encoded_index()));
            ours.reset();
            EXPECT_EQ(mine.findings(), "");
            if (prng.one_in(2)) mine.pretend_power_cut();
            ours = mine.open();
            EXPECT_EQ(checksum_of(*ours), checksum_of(*best));
        }
    }
}

// --- Refusals ---

TEST_F(TakeOverTest, AWrongResultIsRefusedAndNothingHappens) {
    make_both({folder(2, 0, "d"), file(3, 2, "f", "ours")},
              {folder(2, 0, "d"), file(3, 2, "f", "theirs"), file(4, 0, "g", "")});
    const Takeover good = takeover_of(*leader, *store);
    int observed = 0;
    store->observe_removals([&](const Inode&, std::string_view) { ++observed; });

    Takeover bad = good;
    bad.index.back() = static_cast<char>(bad.index.back() ^ 1);
    expect_refused(bad);
    bad = good;
    bad.index.pop_back();
    expect_refused(bad);
    bad = good;
    bad.index.clear();
    expect_refused(bad);
    bad = good;
    bad.entries.pop_back();
    expect_refused(bad);
    bad = good;
    bad.removed.push_back(InodeNumber(2));
    expect_refused(bad);
    bad = good;
    bad.removed.push_back(kRootInode);
    expect_refused(bad);
    EXPECT_EQ(observed, 0);

    take(store->take_over(good));
    EXPECT_EQ(observed, 1);
    store->observe_removals({});
    expect_taken_over();
}

/// What no store holds, but a peer may send: the index fits, and the result is no tree.
TEST_F(TakeOverTest, WhatIsNoTreeIsRefusedThoughItsIndexFits) {
    store = make(directory, 100, {folder(2, 0, "d"), file(3, 2, "f", "text")});
    const auto refused = [&](const Entries& entries, const std::vector<std::uint64_t>& removed) {
        Takeover takeover{{}, entries, {}, "node 2"};
        std::map<InodeNumber, Digest> digests;
        const Index own = take(store->index());
        for (const IndexEntry& known : own.entries) digests[known.inode] = known.digest;
        for (const std::uint64_t number : removed) {
            takeover.removed.emplace_back(number);
            digests.erase(InodeNumber(number));
        }
        for (const Entry& each : entries) {
            digests[each.inode.number] = index_digest(each.inode, each.content);
        }
        Index index{own.head, digests.rbegin()->first, {}};
        for (const auto& [number, digest] : digests) index.entries.push_back({number, digest});
        takeover.index = encode_index(index);
        expect_refused(takeover);
    };
    const auto refused_entry = [&](const Entry& each) {
        SCOPED_TRACE(each.inode.name);
        refused({each}, {});
    };
    refused_entry(file(9, 8, "no parent", ""));
    refused_entry(file(9, 3, "below a file", ""));
    refused_entry(file(9, 2, "f", "a name twice"));
    refused_entry(folder(2, 2, "its own parent"));
    refused_entry(file(2, 0, "d", "a file with a child"));
    refused_entry(file(9, 0, "", "no name"));
    refused_entry(file(9, 0, ".", ""));
    refused_entry(file(9, 0, "..", ""));
    refused_entry(file(9, 0, "a/b", ""));
    refused_entry(file(9, 0, std::string("a\0b", 3), ""));
    refused_entry(file(9, 0, std::string(1025, 'n'), ""));
    Entry odd = folder(9, 0, "with content");
    odd.content = "text";
    odd.inode.size = 4;
    refused_entry(odd);
    odd = file(9, 0, "size", "text");
    odd.inode.size = 5;
    refused_entry(odd);
    odd = file(9, 0, "type", "text");
    odd.inode.type = static_cast<EntryType>(5);
    refused_entry(odd);
    odd = folder(0, 0, "");
    odd.inode.type = EntryType::File;
    refused_entry(odd);
    refused_entry(folder(0, 0, "a named root"));
    refused({}, {2});  // and its child stays
    refused({folder(8, 9, "a circle"), folder(9, 8, "of two")}, {});
    refused({file(8, 0, "twin", ""), file(9, 0, "twin", "")}, {});
    // With all that refused, it is as good as before.
    EXPECT_EQ(content_of(*store, "d/f"), "text");
    EXPECT_EQ(result_of(*store, Delete{"d/f"}), 0);
    store.reset();
    EXPECT_EQ(directory.findings(), "");
}

TEST_F(TakeOverTest, AFullMapRefusesAndChangesNothing) {
    directory.options.map_bytes = 512ULL << 10;
    make_both({file(2, 0, "f", "ours")}, {file(2, 0, "f", std::string(1000000, 'x'))});
    expect_refused(takeover_of(*leader, *store), Errno::NoSpace);
    EXPECT_EQ(content_of(*store, "f"), "ours");
    EXPECT_EQ(result_of(*store, CreateFile{"g"}), 0);
}

// --- The end of the process, the machine, and the journal ---

/// A takeover whose record begins at `begin` of `segment`, and what was there before it.
struct Interrupted {
    std::string segment;
    std::string whole;  ///< the segment's bytes, with the record
    std::size_t begin = 0;
    std::string old_tree;
    std::string before, after;  ///< checksums
};

class InterruptedTakeOverTest : public TakeOverTest,
                                public testing::WithParamInterface<std::size_t> {
protected:
    Interrupted interrupt(std::size_t bytes) {
        Interrupted result;
        make_both({file(2, 0, "f", "ours"), file(3, 0, "g", "ours")},
                  {file(2, 0, "f", std::string(bytes, 'x'))});
        EXPECT_EQ(result_of(*store, CreateFile{"h"}), 0);
        result.before = checksum_of(*store);
        result.after = checksum_of(*leader);
        result.old_tree = test::read_file(directory.file("tree.mdb"));
        const StateFile state = take(read_state_file(directory.path()));
        const auto end = [&](std::uint64_t number) {
            return take(Journal::scan_segment(directory.path(), number, state.ids.store, nullptr))
                .end;
        };
        result.begin = end(1);
        take_over();
        store.reset();
        if (directory.files("journal.").size() > 1) result.begin = 64;  // the header
        result.segment = directory.file(directory.files("journal.").back());
        result.whole = test::read_file(result.segment);
        return result;
    }
    std::string restart(const Interrupted& made, bool power_cut) {
        test::write_file(directory.file("tree.mdb"), made.old_tree);
        if (power_cut) directory.pretend_power_cut();
        const auto opened = directory.try_open();
        EXPECT_TRUE(opened) << opened.error().detail;
        if (!opened) return {};
        EXPECT_TRUE(take(check_tree(*take((*opened)->read()))).findings.empty());
        return checksum_of(**opened);
    }
};

TEST_P(InterruptedTakeOverTest, TheNextStartFindsTheOldTreeOrTheNewOne) {
    const Interrupted made = interrupt(GetParam());
    EXPECT_EQ(made.segment.ends_with("2"), GetParam() > directory.options.segment_bytes);
    // Between the journal's write and the commit of the tree.
    EXPECT_EQ(restart(made, false), made.after);
    EXPECT_EQ(directory.findings(), "");
    EXPECT_EQ(restart(made, true), made.after);
    // While the record was written; or some of it only had reached the disk.
    const std::size_t end = made.whole.find_last_not_of('\0') + 1;
    for (const std::size_t keep :
         {made.begin, made.begin + 1, made.begin + 20, (made.begin + end) / 2, end - 1}) {
        SCOPED_TRACE(keep);
        std::string cut = made.whole;
        std::fill(cut.begin() + static_cast<std::ptrdiff_t>(keep), cut.end(), '\0');
        for (const bool power_cut : {false, true}) {
            test::write_file(made.segment, cut);
            EXPECT_EQ(restart(made, power_cut), made.before);
        }
    }
    test::write_file(made.segment, made.whole);
    EXPECT_EQ(restart(made, true), made.after);
}

INSTANTIATE_TEST_SUITE_P(ContentBytes, InterruptedTakeOverTest, testing::Values(200, 200000));

TEST_F(TakeOverTest, ChangesBeforeAndAfterItAreReplayedAroundIt) {
    store = directory.open();
    for (int i = 0; i < 20; ++i) {
        ASSERT_EQ(result_of(*store, CreateFile{"ours" + std::to_string(i)}), 0);
    }
    leader = make(other, 200, {folder(2, 0, "d")});
    take_over();
    ASSERT_EQ(result_of(*store, CreateFile{"d/after"}), 0);
    EXPECT_EQ(inode_of(*store, "d/after").number, InodeNumber(201));
    const std::string expected = checksum_of(*store);
    store.reset();
    // Without the snapshots, all of it comes from the journal.
    for (const auto& name : directory.files("snapshot.")) {
        std::filesystem::remove(directory.file(name));
    }
    EXPECT_EQ(directory.findings(), "");
    directory.pretend_power_cut();
    store = directory.open();
    EXPECT_EQ(checksum_of(*store), expected);
    EXPECT_EQ(names_version("d"), Version(201));
}

TEST_F(TakeOverTest, ARecordThatDoesNotGiveTheTreeOfThatTimeStopsTheStart) {
    TakeoverRecord record;
    record.head = {Version(7), NodeId(1), 5};
    record.entries.push_back(file(2, 0, "f", "text"));
    record.index = Sha256::of("something else");
    directory.open();
    {
        const StateFile state = take(read_state_file(directory.path()));
        JournalOptions options;
        options.directory = directory.path();
        options.store_id = state.ids.store;
        options.segment_bytes = 64 << 10;
        const auto journal = take(Journal::open(options, null_logger()));
        journal->add(encode_takeover_record(record));
        take(journal->write());
    }
    const auto opened = directory.try_open();
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Errno::Corrupt);
}

TEST_F(TakeOverTest, RecordsComeBackAndAnyPrefixIsRefused) {
    TakeoverRecord record;
    record.head = {Version(7), NodeId(3), 5};
    record.time = 1700000001;
    record.from = "node 2";
    record.index[5] = 77;
    record.removed = {InodeNumber(4), InodeNumber(UINT64_MAX)};
    record.entries = {folder(2, 0, "d"), file(3, 2, "f", std::string("te\0xt", 5))};
    record.entries[1].inode.unbacked = true;
    record.entries[1].content.clear();
    const std::string bytes = encode_takeover_record(record);
    EXPECT_TRUE(is_takeover_record(bytes));
    EXPECT_FALSE(decode_journal_record(bytes));
    const TakeoverRecord decoded = take(decode_takeover_record(bytes));
    EXPECT_EQ(decoded.head, record.head);
    EXPECT_EQ(decoded.time, record.time);
    EXPECT_EQ(decoded.from, record.from);
    EXPECT_EQ(decoded.index, record.index);
    EXPECT_EQ(decoded.removed, record.removed);
    EXPECT_EQ(decoded.entries, record.entries);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto cut = decode_takeover_record(std::string_view(bytes).substr(0, size));
        ASSERT_FALSE(cut) << size;
        EXPECT_EQ(cut.error().code, Errno::BadMessage);
    }
    EXPECT_FALSE(decode_takeover_record(bytes + "x"));
}

// --- What is lost can be found ---

TEST_F(TakeOverTest, TheTreeThatLostIsKept) {
    make_both({folder(2, 0, "d"), file(3, 2, "f", "ours")}, {folder(2, 0, "d")});
    const auto lost_tree = take(store->read());
    const TakeoverReport report = take_over();
    ASSERT_TRUE(report.snapshot);
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(result_of(*store, CreateFile{"f" + std::to_string(i)}), 0);
        take(store->write_snapshot());
    }
    Entries found;
    const auto header = read_snapshot_file(directory.file(*report.snapshot),
                                           [&](const Inode& inode, std::string_view content) {
                                               found.push_back({inode, std::string(content)});
                                               return Status();
                                           });
    ASSERT_TRUE(header) << header.error().detail;
    EXPECT_EQ(header->head.version, Version(100));
    EXPECT_EQ(found, (Entries{folder(2, 0, "d"), file(3, 2, "f", "ours")}));
}

TEST_F(TakeOverTest, TheNewestFourLostTreesAreKept) {
    make_both({}, {file(2, 0, "f", "")});
    std::vector<std::string> names;
    for (int i = 0; i < 6; ++i) {
        ASSERT_EQ(result_of(*store, CreateFile{"ours"}), 0);
        ASSERT_EQ(result_of(*leader, SetMtime{"f", 7}), 0);
        ASSERT_EQ(result_of(*leader, SetMtime{"f", 8}), 0);
        names.push_back(take_over().snapshot.value());
    }
    names.erase(names.begin(), names.begin() + 2);
    EXPECT_EQ(directory.files("lost."), names);
}

TEST_F(TakeOverTest, LongListsOfLostEntriesAreCut) {
    Entries ours;
    for (std::uint64_t i = 2; i < 1502; ++i) ours.push_back(file(i, 0, std::to_string(i), ""));
    make_both(ours, {});
    const TakeoverReport report = take_over();
    EXPECT_EQ(report.lost.size(), 1000U);
    EXPECT_EQ(report.lost_total, 1500U);
    expect_taken_over();
}

// --- What lives beside the tree ---

TEST_F(TakeOverTest, WhatVanishesOrLosesItsContentIsObserved) {
    make_both(
        {file(2, 0, "removed", "two"), file(3, 0, "written", std::string(3000, '3')),
         file(4, 0, "moved", "four"), file(5, 0, "touched", "five"), folder(6, 0, "d"),
         folder(7, 0, "removed d"), file(8, 0, "becomes a directory", "eight")},
        {file(3, 0, "written", "new"), file(4, 6, "moved", "four"), file(5, 0, "touched", "five"),
         folder(6, 0, "e"), folder(8, 0, "becomes a directory")});
    ASSERT_EQ(result_of(*leader, SetMtime{"touched", 99}), 0);
    std::map<std::uint64_t, std::string> observed;
    store->observe_removals([&](const Inode& inode, std::string_view content) {
        EXPECT_TRUE(exists_in(*store, inode.name)) << "already published";
        EXPECT_TRUE(observed.emplace(inode.number.value(), content).second);
    });
    take_over();
    EXPECT_EQ(observed, (std::map<std::uint64_t, std::string>{
                            {2, "two"}, {3, std::string(3000, '3')}, {7, ""}, {8, "eight"}}));
}

TEST_F(TakeOverTest, GuestsCountersAndNamesFollow) {
    const Entries ours = {folder(2, 0, "nodes"), folder(3, 2, "n1"), folder(4, 3, "lxc"),
                          file(5, 4, "100.conf", "")};
    Entries theirs = ours;
    theirs.push_back(folder(6, 2, "n2"));
    theirs.push_back(folder(7, 6, "lxc"));
    theirs[3] = file(5, 7, "100.conf", "");  // moved to the other node
    theirs.push_back(file(8, 4, "101.conf", ""));
    theirs.push_back(file(9, 7, "101.conf", ""));  // twice: the first one counts
    make_both(ours, theirs);
    const std::uint32_t list_version = store->guests().list().version;
    std::vector<std::uint32_t> counters;
    for (std::size_t i = 0; i < kObservedPaths.size(); ++i) {
        counters.push_back(store->change_counters().get(i));
    }
    take_over();
    const auto listing = store->guests().list();
    EXPECT_EQ(listing.version, list_version + 1);
    ASSERT_EQ(listing.guests.size(), 2U);
    EXPECT_EQ(listing.guests.at(100).node, "n2");
    EXPECT_EQ(listing.guests.at(101).node, "n1");
    for (std::size_t i = 0; i < kObservedPaths.size(); ++i) {
        EXPECT_EQ(store->change_counters().get(i), counters[i] + 1);
    }
    EXPECT_EQ(names_version("nodes/n1/lxc"), Version(200));
}

TEST_F(TakeOverTest, LocksThatAreTheSameKeepTheirTime) {
    const Entries common = {folder(2, 0, "priv"), folder(3, 2, "lock"), folder(4, 3, "same"),
                            folder(5, 3, "renewed"), folder(6, 3, "gone")};
    Entries theirs = {common[0], common[1], common[2], common[3], folder(7, 3, "new")};
    theirs[3].inode.mtime += 1;
    make_both(common, theirs);
    const auto expired = [&](const std::string& path, const Inode& inode) {
        return store->lock_leases().expired(path, entry_checksum(inode, {}));
    };
    directory.now += 100;
    take_over();
    directory.now += 100;
    EXPECT_TRUE(expired("priv/lock/same", theirs[2].inode));
    EXPECT_FALSE(expired("priv/lock/renewed", theirs[3].inode));
    EXPECT_FALSE(expired("priv/lock/new", theirs[4].inode));
    EXPECT_FALSE(expired("priv/lock/gone", common[4].inode)) << "it was still known";
    directory.now += 21;
    EXPECT_TRUE(expired("priv/lock/renewed", theirs[3].inode)) << "from the takeover on";
    EXPECT_TRUE(expired("priv/lock/new", theirs[4].inode));
}

}  // namespace
}  // namespace cfsgate::store
