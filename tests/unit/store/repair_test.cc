// SPDX-License-Identifier: Apache-2.0
// Each kind of damage: what is kept, what is listed, and that the store is well afterwards.
#include "store/repair.h"

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/base/bytes.h"
#include "store/lmdb/environment.h"
#include "store/snapshot.h"
#include "store/store_files.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::store {
namespace {

using lmdb::Table;
using test::take;
using testing::AnyOf;
using testing::HasSubstr;

class RepairTest : public testing::Test {
protected:
    RepairTest() {
        state.options.boot_id = system_boot_id;
        const auto store = state.open();
        for (const Operation& operation : std::initializer_list<Operation>{
                 MakeDirectory{"d"}, CreateFile{"d/f"}, CreateFile{"large"}, MakeDirectory{"nodes"},
                 MakeDirectory{"nodes/a"}, MakeDirectory{"nodes/a/lxc"},
                 CreateFile{"nodes/a/lxc/100.conf"}}) {
            EXPECT_EQ(test::result_of(*store, operation), 0);
        }
        write(*store, "large", std::string(5000, 'x'));
        take(store->write_snapshot());
        for (int i = 0; i < 100; ++i) write(*store, "d/f", numbered(i));
        take(store->write_snapshot());
        for (int i = 100; i < 200; ++i) write(*store, "d/f", numbered(i));
        version = take(store->read())->head().version;
        last = store->journal_status().appended;
        take(store->close());
    }

    static std::string numbered(int i) {
        return std::to_string(i) + ":" + std::string(2000, static_cast<char>('a' + i % 26));
    }
    static void write(Store& store, const std::string& path, const std::string& content) {
        EXPECT_GT(test::result_of(store, WriteFile{path, content, 0, true}), 0);
    }
    std::string file(const std::string& name) const { return state.file(name); }
    /// Turns a byte of a file over.
    void flip(const std::string& name, std::size_t at) const {
        std::string bytes = test::read_file(file(name));
        ASSERT_LT(at, bytes.size());
        bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
        test::write_file(file(name), bytes);
    }
    /// Flips a byte in the middle of the journal record in which `text` stands.
    void damage_record(const std::string& text) const {
        for (const std::string& name : state.files("journal.")) {
            const std::size_t at = test::read_file(file(name)).find(text);
            if (at != std::string::npos) return flip(name, at);
        }
        FAIL() << text << " is in no segment";
    }
    void in_tables(const std::function<void(lmdb::Transaction&)>& change) const {
        const auto environment = take(lmdb::Environment::open({file("tree.mdb"), 64 << 20}));
        const auto txn = take(lmdb::Transaction::write(*environment));
        change(*txn);
        take(txn->commit());
        forget_sum();
    }
    /// As after a kill, or of a program that does not know of it.
    void forget_sum() const {
        StateFile known = take(read_state_file(state.path()));
        known.tree.reset();
        take(write_state_file(state.path(), known));
    }
    void in_use_by_another_boot() const {
        StateFile known = take(read_state_file(state.path()));
        known.word = StateFile::Word::InUse;
        known.boot_id = "an earlier boot";
        take(write_state_file(state.path(), known));
    }

    /// Repairs, checks the result with everybody else's eyes, and says what was found.
    std::string repaired(bool loses = false) {
        report = take(repair(state.path(), "20260131-000000"));
        EXPECT_TRUE(report.repaired);
        EXPECT_EQ(report.found.loses_something(), loses);
        EXPECT_EQ(state.findings(), "");
        EXPECT_TRUE(take(salvage(state.path())).is_well());
        EXPECT_TRUE(state.files("repair.").empty());
        EXPECT_EQ(state.files("damaged.").size(), 1U);
        std::string text;
        for (const std::string& line : describe(report.found)) text += line + "\n";
        return text;
    }
    /// What a file holds after the next start, which goes on as always.
    std::string content(const std::string& path) const {
        const auto store = state.open();
        EXPECT_EQ(store->start_kind(), StartKind::Clean);
        const std::string found =
            test::exists_in(*store, path) ? test::content_of(*store, path) : "(not there)";
        EXPECT_EQ(test::result_of(*store, CreateFile{"after-" + std::to_string(::rand())}), 0);
        take(store->close());
        EXPECT_EQ(state.findings(), "");
        return found;
    }
    std::string aside(const std::string& name) const {
        return state.file(report.aside + "/" + name);
    }

    test::StoreDirectory state;
    Version version;
    Sequence last;
    RepairReport report;
};

TEST_F(RepairTest, AGoodStoreStaysAsItIs) {
    const auto before = state.files("");
    report = take(repair(state.path(), "20260131-000000"));
    EXPECT_FALSE(report.repaired);
    EXPECT_TRUE(report.found.is_well()) << testing::PrintToString(describe(report.found));
    EXPECT_EQ(report.version, version);
    EXPECT_EQ(state.files(""), before);
}

TEST_F(RepairTest, AKilledDaemonsStoreIsWell) {
    {
        const auto store = state.open();
        write(*store, "d/f", "after the snapshot");
    }
    EXPECT_TRUE(take(salvage(state.path())).is_well());
    in_use_by_another_boot();
    const Salvage found = take(salvage(state.path()));
    EXPECT_TRUE(found.is_well()) << testing::PrintToString(describe(found));
    EXPECT_EQ(find_entry(found.tree, take(resolve(found.tree, "d/f")))->content,
              "after the snapshot");
}

TEST_F(RepairTest, ATreeOfGarbageIsRebuilt) {
    test::write_file(file("tree.mdb"), std::string(65536, '\xa5'));
    EXPECT_THAT(repaired(), HasSubstr("damaged: tree.mdb"));
    EXPECT_EQ(report.found.tree.head.version, version);
    EXPECT_EQ(test::read_file(aside("tree.mdb")), std::string(65536, '\xa5'));
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, AMissingTreeIsRebuilt) {
    std::filesystem::remove(file("tree.mdb"));
    EXPECT_THAT(repaired(), HasSubstr("tree.mdb: is missing"));
    EXPECT_EQ(content("d/f"), numbered(199));
}

/// Pages of all kinds, the first ones and some of the others: whatever LMDB makes of it, nothing is
/// lost.
TEST_F(RepairTest, ADamagedPageEndsNothing) {
    const std::string whole = test::read_file(file("tree.mdb"));
    const std::string state_text = test::read_file(file("state"));
    for (std::size_t page = 0; page * 4096 < whole.size(); page += page < 4 ? 1 : 7) {
        std::string bytes = whole;
        for (std::size_t at = 0; at < 4096; at += 3) {
            bytes[page * 4096 + at] = static_cast<char>(bytes[page * 4096 + at] ^ 0x5a);
        }
        test::write_file(file("tree.mdb"), bytes);
        test::write_file(file("state"), state_text);
        forget_sum();
        const Salvage found = take(salvage(state.path()));
        EXPECT_EQ(found.tree.head.version, version) << page;
        EXPECT_FALSE(found.loses_something()) << page;
        EXPECT_EQ(find_entry(found.tree, take(resolve(found.tree, "d/f")))->content, numbered(199));
    }
}

TEST_F(RepairTest, AFlippedBitInContentIsFoundByTheJournal) {
    forget_sum();
    const std::string bytes = test::read_file(file("tree.mdb"));
    // Every copy of it, as some lie in free pages.
    for (std::size_t at = bytes.find("xxxxxxxx"); at != std::string::npos;
         at = bytes.find("xxxxxxxx", at + 8)) {
        flip("tree.mdb", at);
    }
    EXPECT_THAT(repaired(), HasSubstr("(large) is not what the journal says"));
    EXPECT_EQ(content("large"), std::string(5000, 'x'));
}

TEST_F(RepairTest, AFlippedBitAnywhereIsFoundBySum) {
    flip("tree.mdb", test::read_file(file("tree.mdb")).size() - 1);
    EXPECT_THAT(repaired(), HasSubstr("tree.mdb: is not what it was"));
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, ADamagedRecordInTheMiddleCostsNothingWhereTheTreeIsWell) {
    damage_record(numbered(50).substr(0, 100));
    // Held by a newer snapshot, so no start would need it.
    EXPECT_TRUE(take(salvage(state.path())).is_well());
    damage_record(numbered(150).substr(0, 100));
    const std::string text = repaired();
    EXPECT_THAT(text, HasSubstr("cannot be read"));
    EXPECT_EQ(report.found.source, "tree.mdb");
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, ADamagedRecordInTheMiddleAfterAPowerCut) {
    state.pretend_power_cut();
    damage_record(numbered(150).substr(0, 100));
    const std::string text = repaired(true);
    EXPECT_THAT(text, HasSubstr("lost: the journal: records"));
    EXPECT_EQ(content("d/f"), numbered(149));
    // No number of the lost ones is given again.
    EXPECT_GT(report.version, version);
    EXPECT_FALSE(std::filesystem::is_empty(aside("")));
}

TEST_F(RepairTest, ADamagedRecordIsPassedByMeansOfANewerSnapshot) {
    state.pretend_power_cut();
    damage_record(numbered(50).substr(0, 100));
    const Salvage found = take(salvage(state.path()));
    EXPECT_EQ(found.tree.head.version, version);
    EXPECT_TRUE(found.is_well());
}

TEST_F(RepairTest, TheLastRecordAfterACleanStop) {
    damage_record(numbered(199).substr(0, 100));
    EXPECT_THAT(repaired(),
                HasSubstr("record 208 cannot be read, and was there after a clean stop"));
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, ASegmentWithADamagedHeader) {
    flip(state.files("journal.").back(), 20);
    EXPECT_THAT(repaired(), HasSubstr("the segment's header is damaged"));
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, AMissingSegment) {
    const auto segments = state.files("journal.");
    ASSERT_GE(segments.size(), 3U);
    std::filesystem::remove(file(segments[segments.size() - 2]));
    EXPECT_THAT(repaired(), HasSubstr("cannot be read"));
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, TheWholeJournalIsGone) {
    for (const std::string& name : state.files("journal.")) std::filesystem::remove(file(name));
    EXPECT_THAT(repaired(), HasSubstr("the journal: ends at record"));
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, TheWholeJournalIsGoneAfterAPowerCut) {
    const Version of_snapshot(1 + 8 + 100);
    for (const std::string& name : state.files("journal.")) std::filesystem::remove(file(name));
    state.pretend_power_cut();
    // Nothing tells any more that there was something.
    const Salvage found = take(salvage(state.path()));
    EXPECT_EQ(found.tree.head.version, of_snapshot);
}

TEST_F(RepairTest, ADamagedSnapshot) {
    const auto names = state.files("snapshot.");
    ASSERT_EQ(names.size(), 2U);
    flip(names[1], 300);
    EXPECT_THAT(repaired(), HasSubstr("checksum does not fit"));
    EXPECT_TRUE(std::filesystem::exists(aside(names[1])));
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, ADamagedSnapshotAfterAPowerCut) {
    state.pretend_power_cut();
    for (const std::string& name : state.files("snapshot.")) flip(name, 300);
    // The journal still has everything, from the empty tree on.
    EXPECT_THAT(repaired(), HasSubstr("damaged: snapshot."));
    EXPECT_EQ(report.found.source, "the empty tree and the journal");
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, AMissingStateFile) {
    const std::uint64_t id = take(read_state_file(state.path())).ids.store;
    std::filesystem::remove(file("state"));
    EXPECT_THAT(repaired(), HasSubstr("damaged: state: is missing"));
    EXPECT_EQ(take(read_state_file(state.path())).ids.store, id);
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, ADamagedStateFile) {
    test::write_file(file("state"), "nonsense\n");
    EXPECT_THAT(repaired(), HasSubstr("damaged: state: is no state file"));
    EXPECT_EQ(test::read_file(aside("state")), "nonsense\n");
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, WithoutAStateFileATreeAloneIsEnough) {
    for (const char* prefix : {"state", "journal.", "snapshot.", "spare."}) {
        for (const std::string& name : state.files(prefix)) std::filesystem::remove(file(name));
    }
    repaired();
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(RepairTest, NothingCanBeMadeOfNothing) {
    state.pretend_power_cut();
    for (const char* prefix : {"journal.", "snapshot."}) {
        for (const std::string& name : state.files(prefix)) std::filesystem::remove(file(name));
    }
    const auto before = state.files("");
    const auto refused = repair(state.path(), "t");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errno::Corrupt);
    EXPECT_THAT(refused.error().detail, HasSubstr("recover the node from a backup"));
    EXPECT_EQ(state.files(""), before);
}

TEST_F(RepairTest, WhereThereIsNoStoreNothingIsMade) {
    const test::TempDirectory empty;
    const auto refused = repair(empty.path(), "t");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errno::NotFound);
    EXPECT_TRUE(std::filesystem::is_empty(empty.path()));
}

// --- A tree that is inconsistent ---

class InconsistentTest : public RepairTest {
protected:
    /// No snapshot and no journal: only this tree is there.
    void leave_the_tree_alone() const {
        for (const char* prefix : {"journal.", "snapshot."}) {
            for (const std::string& name : state.files(prefix)) std::filesystem::remove(file(name));
        }
    }
    static std::string key(std::uint64_t inode) { return inode_key(InodeNumber(inode)); }
    static void put(lmdb::Transaction& txn, std::uint64_t number, std::uint64_t parent,
                    const std::string& name, const std::string& content = "") {
        ByteWriter out;
        out.put(parent);
        out.put(std::uint64_t{9});
        out.put(std::uint32_t{0});
        out.put(std::uint32_t{0});
        out.put(static_cast<std::uint32_t>(content.size()));
        out.put(std::uint8_t{8});
        out.put(std::uint8_t{1});
        out.put(static_cast<std::uint16_t>(name.size()));
        out.put_bytes(name);
        out.put_bytes(content);
        take(txn.put(Table::Inode, key(number), out.bytes()));
    }
};

TEST_F(InconsistentTest, TheJournalKnowsBetter) {
    in_tables([](auto& txn) { put(txn, 20, 77, "orphan"); });
    EXPECT_THAT(repaired(), HasSubstr("its parent 77 does not exist"));
    EXPECT_EQ(report.found.tree.head.version, version);
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(InconsistentTest, AnOrphanIsKeptOutsideOfTheTree) {
    leave_the_tree_alone();
    in_tables([](auto& txn) { put(txn, 20, 77, "orphan", "its content"); });
    EXPECT_THAT(repaired(true), HasSubstr("taken out: ?/orphan: its parent 77 does not exist"));
    EXPECT_EQ(test::read_file(aside("lost+found/inode-20.orphan")), "its content");
    EXPECT_THAT(test::read_file(aside("lost+found/list")), HasSubstr("?/orphan"));
    EXPECT_THAT(test::read_file(aside("report")), HasSubstr("taken out"));
    EXPECT_EQ(content("d/f"), numbered(199));
}

TEST_F(InconsistentTest, ANameTwiceIsKeptTwice) {
    leave_the_tree_alone();
    in_tables([](auto& txn) { put(txn, 20, 2, "f", "the other"); });
    const std::string text = repaired();
    EXPECT_THAT(text, HasSubstr("another entry has its name"));
    EXPECT_EQ(content("d/f"), numbered(199));
    EXPECT_EQ(content("d/f.duplicate-20"), "the other");
}

TEST_F(InconsistentTest, AGuestTwice) {
    leave_the_tree_alone();
    in_tables([](auto& txn) {
        put(txn, 20, 0, "nodes2");
        // Inode 2 was d; it becomes nodes/a/qemu-server, and f in it a guest's configuration.
        std::string record(take(txn.get(Table::Inode, key(2))).value());
        ByteWriter parent;
        parent.put(std::uint64_t{6});
        record.replace(0, 8, parent.bytes());
        record.replace(30, 3, std::string("\x0b\0qemu-server", 13));
        take(txn.put(Table::Inode, key(2), record));
        put(txn, 3, 2, "100.conf", "the other");
        take(txn.erase(Table::Content, key(3)));
    });
    EXPECT_THAT(repaired(), HasSubstr("guest 100 is configured twice"));
    const auto store = state.open();
    EXPECT_EQ(store->guests().list().guests.size(), 1U);
}

TEST_F(InconsistentTest, ListsOfNamesAreMadeAnew) {
    leave_the_tree_alone();
    in_tables([](auto& txn) {
        take(txn.erase(Table::Dirent, dirent_key(InodeNumber(2), "f")));
        take(txn.erase(Table::Child, child_key(InodeNumber(0), InodeNumber(4))));
    });
    repaired();
    EXPECT_EQ(content("d/f"), numbered(199));
    EXPECT_EQ(content("large"), std::string(5000, 'x'));
}

TEST_F(InconsistentTest, ARecordThatCannotBeReadIsListed) {
    leave_the_tree_alone();
    in_tables([](auto& txn) {
        take(txn.put(Table::Inode, key(3), "short"));
        take(txn.erase(Table::Content, key(4)));
    });
    const std::string text = repaired(true);
    EXPECT_THAT(text, HasSubstr("lost: tree.mdb: inode 3: "));
    EXPECT_THAT(text, HasSubstr("lost: tree.mdb: inode 4: "));
    EXPECT_EQ(content("d/f"), "(not there)");
    EXPECT_EQ(content("nodes/a/lxc/100.conf"), "");
}

// --- Interrupted ---

/// Wherever the exchange of files stops, no start comes between, and the next repair ends it.
TEST_F(RepairTest, WhereverItStopsTheNextOneGoesOn) {
    flip(state.files("snapshot.").back(), 300);
    test::write_file(file("tree.mdb"), std::string(65536, '\xa5'));
    const test::TempDirectory kept;
    constexpr auto kAll = std::filesystem::copy_options::recursive;
    std::filesystem::copy(state.path(), kept.path(), kAll);
    int steps = 1;
    for (int stop = 1; stop <= steps; ++stop) {
        std::filesystem::remove_all(state.path());
        std::filesystem::copy(kept.path(), state.path(), kAll);
        int at = 0;
        RepairOptions options;
        options.before_step = [&]() -> Status {
            return ++at == stop ? Status(fail(Errno::InputOutput, "stopped")) : Status();
        };
        const auto stopped = repair(state.path(), "20260131-000000", options);
        if (stop == 1) {
            // Nothing was touched yet.
            EXPECT_FALSE(repair_is_under_way(state.path()));
            EXPECT_EQ(state.files("repair.").size() + state.files("damaged.").size(), 0U);
        }
        if (stopped) break;
        steps = stop + 1;
        if (stop > 1) {
            EXPECT_TRUE(repair_is_under_way(state.path()));
            const auto refused = state.try_open();
            ASSERT_FALSE(refused) << stop;
            EXPECT_THAT(refused.error().detail, HasSubstr("run cfsgate repair again"));
        }
        const RepairReport done = take(repair(state.path(), "20260131-000001"));
        EXPECT_TRUE(done.repaired) << stop;
        EXPECT_FALSE(repair_is_under_way(state.path()));
        EXPECT_TRUE(state.files("repair.").empty());
        EXPECT_EQ(state.findings(), "") << stop;
        EXPECT_EQ(content("d/f"), numbered(199)) << stop;
    }
    EXPECT_GT(steps, 8);
}

TEST_F(RepairTest, AMarkerThatLeadsOutsideIsNone) {
    test::write_file(file("state"), "format 1\nrepair in repair./../../x damaged.x\n");
    EXPECT_FALSE(repair_is_under_way(state.path()));
}

}  // namespace
}  // namespace cfsgate::store
