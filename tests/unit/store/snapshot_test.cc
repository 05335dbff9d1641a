// SPDX-License-Identifier: Apache-2.0
#include "store/snapshot.h"

#include <gtest/gtest.h>

#include "store/lmdb/environment.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::store {
namespace {

using test::take;

class SnapshotTest : public testing::Test {
protected:
    SnapshotTest() {
        const auto vector = test::load_vectors("tree-basic.json");
        entries = test::vector_entries(vector);
        head = {entries[0].inode.version, entries[0].inode.writer, entries[0].inode.mtime};
        entries.erase(entries.begin());
        // Sizes around the inline border, an unbacked length, a long name.
        for (const std::uint32_t size : {1024U, 1025U, 1U << 20}) {
            add(std::to_string(size), size).content.assign(size, 's');
        }
        add("unbacked", 5000).inode.unbacked = true;
        add(std::string(1024, 'n'), 0);

        environment = take(lmdb::Environment::open({directory.file("tree.mdb"), 64 << 20, false}));
        auto tree =
            take(TreeWriter::make_new(take(lmdb::Transaction::write(*environment)), {7, 8}, head));
        for (const Entry& entry : entries) take(tree->add(entry.inode, entry.content));
        tree->set_journal(Sequence(1234));
        take(tree->commit());
    }
    Entry& add(const std::string& name, std::uint32_t size) {
        Entry entry;
        entry.inode.number = InodeNumber(entries.back().inode.number.value() + 1);
        entry.inode.version = Version(7);
        entry.inode.size = size;
        entry.inode.name = name;
        return entries.emplace_back(entry);
    }
    std::string write() const {
        const auto tree = take(TreeReader::make(take(lmdb::Transaction::read(*environment))));
        return take(write_snapshot_file(directory.path(), 7, *tree));
    }

    test::TempDirectory directory;
    TreeHead head;
    std::vector<Entry> entries;
    std::unique_ptr<lmdb::Environment> environment;
};

TEST_F(SnapshotTest, TheWholeTreeComesBack) {
    const std::string name = write();
    EXPECT_EQ(name, "snapshot.00000000000000001234");
    std::vector<Entry> read;
    const auto header = take(
        read_snapshot_file(directory.file(name), [&](const Inode& inode, std::string_view content) {
            read.push_back({inode, std::string(content)});
            return Status();
        }));
    EXPECT_EQ(read, entries);
    EXPECT_EQ(header.head, head);
    EXPECT_EQ(header.store_id, 7U);
    EXPECT_EQ(header.journal, Sequence(1234));
    EXPECT_EQ(header.entries, entries.size());
    EXPECT_EQ(take(snapshot_files(directory.path())), std::vector<std::string>{name});
}

TEST_F(SnapshotTest, DamageAnywhereIsFoundBeforeTheFirstEntry) {
    const std::string path = directory.file(write());
    const std::string whole = test::read_file(path);
    const auto refused = [&](const std::string& bytes) {
        test::write_file(path, bytes);
        const auto header = read_snapshot_file(path, [](const Inode&, std::string_view) {
            ADD_FAILURE() << "an entry of a damaged snapshot was handed out";
            return Status();
        });
        return !header && header.error().code == Errno::Corrupt &&
               header.error().detail.find(path) != std::string::npos;
    };
    for (std::size_t at = 0; at < whole.size(); at += at < 300 ? 1 : 50021) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
        EXPECT_TRUE(refused(damaged)) << at;
    }
    for (const std::size_t size : {0UL, 1UL, 31UL, 32UL, 100UL, whole.size() - 1}) {
        EXPECT_TRUE(refused(whole.substr(0, size))) << size;
    }
    EXPECT_TRUE(refused(whole + "x"));
}

TEST_F(SnapshotTest, TheNewestComesFirstAndLeftoversAreNone) {
    for (const char* name : {"snapshot.00000000000000000009", "snapshot.00000000000000000100",
                             "new.snapshot.00000000000000000500"}) {
        test::write_file(directory.file(name), "");
    }
    EXPECT_EQ(take(snapshot_files(directory.path())),
              (std::vector<std::string>{"snapshot.00000000000000000100",
                                        "snapshot.00000000000000000009"}));
}

TEST_F(SnapshotTest, TheSinksErrorIsHandedOn) {
    const auto header = read_snapshot_file(
        directory.file(write()),
        [](const Inode&, std::string_view) -> Status { return fail(Errno::NoSpace); });
    ASSERT_FALSE(header);
    EXPECT_EQ(header.error().code, Errno::NoSpace);
}

}  // namespace
}  // namespace cfsgate::store
