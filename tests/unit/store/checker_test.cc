// SPDX-License-Identifier: Apache-2.0
// Each invariant of the tree broken by hand, in the tables: the finding names what and where.
#include "store/checker.h"

#include <gtest/gtest.h>

#include "store/base/bytes.h"
#include "store/lmdb/environment.h"
#include "store/tree_tables.h"
#include "tests/support/store_directory.h"

namespace cfsgate::store {
namespace {

using lmdb::Table;
using test::take;

class CheckerTest : public testing::Test {
protected:
    CheckerTest() {
        directory.options.boot_id = system_boot_id;
        const auto store = directory.open();
        // 2 d, 3 d/f, 4 g (large), 5 nodes, 6 nodes/a, 7 .../lxc, 8 .../100.conf
        for (const Operation& operation : std::initializer_list<Operation>{
                 MakeDirectory{"d"}, CreateFile{"d/f"}, CreateFile{"g"}, MakeDirectory{"nodes"},
                 MakeDirectory{"nodes/a"}, MakeDirectory{"nodes/a/lxc"},
                 CreateFile{"nodes/a/lxc/100.conf"}}) {
            EXPECT_EQ(test::result_of(*store, operation), 0);
        }
        EXPECT_EQ(test::result_of(*store, WriteFile{"g", std::string(5000, 'x'), 0, false}), 5000);
        take(store->close());
        environment = take(lmdb::Environment::open({directory.file("tree.mdb"), 64 << 20, false}));
    }

    /// Changes the tables, then says what the checker finds.
    std::string after(const std::function<void(lmdb::Transaction&)>& breakage) {
        {
            const auto txn = take(lmdb::Transaction::write(*environment));
            breakage(*txn);
            take(txn->commit());
        }
        environment.reset();
        return directory.findings();
    }
    static std::string get(const lmdb::Transaction& txn, Table table, const std::string& key) {
        return std::string(take(txn.get(table, key)).value());
    }
    /// An inode's record with the bytes at `at` replaced by a number.
    template <class T>
    static void patch(lmdb::Transaction& txn, std::uint64_t inode, std::size_t at, T value) {
        std::string record = get(txn, Table::Inode, inode_key(InodeNumber(inode)));
        ByteWriter out;
        out.put(value);
        record.replace(at, sizeof value, out.bytes());
        take(txn.put(Table::Inode, inode_key(InodeNumber(inode)), record));
    }
    // Offsets in the record: parent, version, writer, mtime, size, type.
    static constexpr std::size_t kParent = 0;
    static constexpr std::size_t kVersion = 8;
    static constexpr std::size_t kSize = 24;
    static constexpr std::size_t kType = 28;

    static std::string key(std::uint64_t inode) { return inode_key(InodeNumber(inode)); }
    static void add(lmdb::Transaction& txn, std::uint64_t number, std::uint64_t parent,
                    const std::string& name) {
        ByteWriter out;
        out.put(parent);
        out.put(std::uint64_t{9});
        out.put(std::uint32_t{0});
        out.put(std::uint32_t{0});
        out.put(std::uint32_t{0});
        out.put(std::uint8_t{8});
        out.put(std::uint8_t{1});
        out.put(static_cast<std::uint16_t>(name.size()));
        out.put_bytes(name);
        take(txn.put(Table::Inode, key(number), out.bytes()));
        take(txn.put(Table::Dirent, dirent_key(InodeNumber(parent), name), key(number)));
        take(txn.put(Table::Child, child_key(InodeNumber(parent), InodeNumber(number)),
                     std::string("\x08") + name));
    }

    test::StoreDirectory directory;
    std::unique_ptr<lmdb::Environment> environment;
};

#define EXPECT_FINDING(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(CheckerTest, AGoodStoreHasNone) {
    EXPECT_EQ(after([](lmdb::Transaction&) {}), "");
    const auto report = take(check_directory(directory.path()));
    EXPECT_EQ(report.state, "clean");
    EXPECT_EQ(report.entries, 8U);
    EXPECT_EQ(report.content_bytes, 5000U);
    EXPECT_EQ(report.version, 9U);
    EXPECT_EQ(report.journal_records, 8U);
    EXPECT_EQ(report.tree_checksum, test::checksum_of(*directory.open()));
}

TEST_F(CheckerTest, AnEntryNewerThanTheTree) {
    const auto text = after([](auto& txn) { patch(txn, 3, kVersion, std::uint64_t{10}); });
    EXPECT_FINDING(text, "inode 3 (d/f): is newer than the tree");
}

TEST_F(CheckerTest, ANumberAboveTheVersion) {
    const auto text = after([](auto& txn) { add(txn, 50, 0, "late"); });
    EXPECT_FINDING(text, "inode 50 (late): has a number above the tree's version");
    EXPECT_FINDING(text, "counts 8 entries, holds 9");
}

TEST_F(CheckerTest, AMissingParent) {
    const auto text = after([](auto& txn) { patch(txn, 3, kParent, std::uint64_t{77}); });
    EXPECT_FINDING(text, "its parent 77 does not exist");
    EXPECT_FINDING(text, "its directory does not list it");
    EXPECT_FINDING(text, "directory 2: lists f, which is not so");
}

TEST_F(CheckerTest, AFileAsParent) {
    const auto text = after([](auto& txn) { patch(txn, 3, kParent, std::uint64_t{4}); });
    EXPECT_FINDING(text, "its parent is a file");
}

TEST_F(CheckerTest, ACircleOfParents) {
    const auto text = after([](auto& txn) { patch(txn, 5, kParent, std::uint64_t{6}); });
    EXPECT_FINDING(text, "cannot be reached from the root");
}

TEST_F(CheckerTest, ADirectoryWithContent) {
    const auto text = after([](auto& txn) { patch(txn, 4, kType, std::uint8_t{4}); });
    EXPECT_FINDING(text, "inode 4 (g): is a directory with content");
}

TEST_F(CheckerTest, ContentThatIsMissing) {
    EXPECT_FINDING(after([](auto& txn) { take(txn.erase(Table::Content, key(4))); }),
                   "inode 4: content is missing");
}

TEST_F(CheckerTest, ContentOfAnotherSize) {
    EXPECT_FINDING(after([](auto& txn) { take(txn.put(Table::Content, key(4), "short")); }),
                   "inode 4: content and size disagree");
}

TEST_F(CheckerTest, ContentThatBelongsToNobody) {
    EXPECT_FINDING(after([](auto& txn) { take(txn.put(Table::Content, key(99), "orphan")); }),
                   "has 2 records of content, needs 1");
}

TEST_F(CheckerTest, InlineContentOfAnotherSize) {
    EXPECT_FINDING(after([](auto& txn) { patch(txn, 3, kSize, std::uint32_t{3}); }),
                   "inode 3: content and size disagree");
}

TEST_F(CheckerTest, ATypeThatIsNone) {
    EXPECT_FINDING(after([](auto& txn) { patch(txn, 3, kType, std::uint8_t{5}); }),
                   "inode 3: unknown type");
}

TEST_F(CheckerTest, ARecordCutShort) {
    EXPECT_FINDING(after([](auto& txn) { take(txn.put(Table::Inode, key(3), "short")); }),
                   "inode 3: record cut short");
}

TEST_F(CheckerTest, NamesThatCannotBe) {
    const std::vector<std::string> names = {".", "..", "a/b", std::string("a\0b", 3),
                                            std::string(1025, 'n')};
    const auto text = after([&](auto& txn) {
        for (std::size_t i = 0; i < names.size(); ++i) add(txn, 20 + i, 0, names[i]);
    });
    std::size_t found = 0;
    for (std::size_t at = 0; (at = text.find("has a name that cannot be", at)) != text.npos; ++at) {
        ++found;
    }
    EXPECT_EQ(found, names.size()) << text;
}

TEST_F(CheckerTest, ANameThatLeadsNowhere) {
    const auto text =
        after([](auto& txn) { take(txn.erase(Table::Dirent, dirent_key(InodeNumber(2), "f"))); });
    EXPECT_FINDING(text, "inode 3 (d/f): its directory does not list it");
}

TEST_F(CheckerTest, ANameTooMany) {
    const auto text = after([](auto& txn) {
        take(txn.put(Table::Dirent, dirent_key(InodeNumber(2), "ghost"), key(3)));
    });
    EXPECT_FINDING(text, "has 8 records of names, needs 7");
}

TEST_F(CheckerTest, AChildThatIsNotListed) {
    const auto text = after([](auto& txn) {
        take(txn.erase(Table::Child, child_key(InodeNumber(2), InodeNumber(3))));
    });
    EXPECT_FINDING(text, "directories list 6 entries, there are 7");
}

TEST_F(CheckerTest, AChildOfAnotherType) {
    const auto text = after([](auto& txn) {
        take(txn.put(Table::Child, child_key(InodeNumber(2), InodeNumber(3)),
                     "\x04"
                     "f"));
    });
    EXPECT_FINDING(text, "directory 2: lists f, which is not so");
}

TEST_F(CheckerTest, AGuestTwice) {
    const auto text = after([](auto& txn) {
        take(txn.erase(Table::Inode, key(3)));
        take(txn.erase(Table::Dirent, dirent_key(InodeNumber(2), "f")));
        take(txn.erase(Table::Child, child_key(InodeNumber(2), InodeNumber(3))));
        // d becomes nodes/a/qemu-server
        add(txn, 9, 2, "100.conf");
        std::string record = get(txn, Table::Inode, key(2));
        ByteWriter out;
        out.put(std::uint64_t{6});
        record.replace(0, 8, out.bytes());
        record.replace(30, 3, std::string("\x0b\0qemu-server", 13));
        take(txn.put(Table::Inode, key(2), record));
        take(txn.put(Table::Dirent, dirent_key(InodeNumber(6), "qemu-server"), key(2)));
        take(txn.put(Table::Child, child_key(InodeNumber(6), InodeNumber(2)), "\x04qemu-server"));
    });
    EXPECT_FINDING(text, "guest 100 is configured twice");
}

TEST_F(CheckerTest, WrongTotals) {
    const auto text = after([](auto& txn) {
        std::string head = get(txn, Table::Meta, "head");
        head[16] = 3;   // entries
        head[24] = 17;  // content bytes
        head[25] = 0;
        take(txn.put(Table::Meta, "head", head));
    });
    EXPECT_FINDING(text, "counts 3 entries, holds 8");
    EXPECT_FINDING(text, "counts 17 bytes, holds 5000");
}

TEST_F(CheckerTest, ATreeBehindTheJournalAfterACleanStop) {
    const auto text = after([](auto& txn) {
        std::string head = get(txn, Table::Meta, "head");
        head[32] = 7;  // journal position
        take(txn.put(Table::Meta, "head", head));
    });
    EXPECT_FINDING(text, "is behind the journal after a clean stop");
}

TEST_F(CheckerTest, AMissingHead) {
    EXPECT_FINDING(after([](auto& txn) { take(txn.erase(Table::Meta, "head")); }),
                   "the tree's head record is missing");
}

TEST_F(CheckerTest, ItChangesNothing) {
    environment.reset();
    const auto names = directory.files("");
    take(check_directory(directory.path()));
    EXPECT_EQ(directory.files(""), names);
    EXPECT_EQ(directory.open()->start_kind(), StartKind::Clean);
}

TEST_F(CheckerTest, WithoutAStore) {
    const test::TempDirectory empty;
    const auto report = check_directory(empty.path());
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, Errno::NotFound);
}

}  // namespace
}  // namespace cfsgate::store
