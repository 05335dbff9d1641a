// SPDX-License-Identifier: Apache-2.0
#include "store/model/digest.h"

#include <thread>

#include <gtest/gtest.h>

#include "tests/support/vectors.h"

namespace cfsgate {
namespace {

// FIPS 180-2, appendix B.
constexpr const char* kEmpty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr const char* kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

std::string tree_checksum(const std::vector<Entry>& entries) {
    Sha256 sum;
    for (const Entry& entry : entries) add_to_tree_checksum(sum, entry.inode, entry.content);
    return to_hex(sum.finish());
}

class TreeDigestTest : public testing::TestWithParam<const char*> {
protected:
    const nlohmann::json tree_ = test::load_vectors(GetParam());
    const std::vector<Entry> entries_ = test::vector_entries(tree_);
};

TEST_P(TreeDigestTest, IndexDigests) {
    ASSERT_FALSE(entries_.empty());
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        EXPECT_EQ(to_hex(index_digest(entries_[i].inode, entries_[i].content)),
                  tree_["entries"][i]["index_digest"].get<std::string>())
            << entries_[i].inode.name;
    }
}

TEST_P(TreeDigestTest, EntryChecksums) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        EXPECT_EQ(to_hex(entry_checksum(entries_[i].inode, entries_[i].content)),
                  tree_["entries"][i]["entry_checksum"].get<std::string>())
            << entries_[i].inode.name;
    }
}

TEST_P(TreeDigestTest, TreeChecksum) {
    EXPECT_EQ(tree_checksum(entries_), tree_["verify_checksum"].get<std::string>());
}

INSTANTIATE_TEST_SUITE_P(Vectors, TreeDigestTest,
                         testing::Values("tree-basic.json", "tree-fresh.json"));

TEST(TreeChecksumTest, HundredFiles) {
    const auto expected = test::load_vectors("tree-100files.json");
    std::vector<Entry> entries(1);
    entries[0].inode.type = EntryType::Directory;
    entries[0].inode.version = Version(201);
    entries[0].inode.mtime = 1234;
    for (std::uint64_t i = 0; i < 100; ++i) {
        Entry entry;
        entry.inode.number = InodeNumber(2 + 2 * i);
        entry.inode.version = Version(3 + 2 * i);
        entry.inode.mtime = 1234;
        entry.inode.size = 32768;
        entry.inode.name = "testfile" + std::to_string(i);
        entry.content.assign(32768, '\0');
        entries.push_back(entry);
    }
    EXPECT_EQ(tree_checksum(entries), expected["verify_checksum"].get<std::string>());
}

Inode sample() {
    Inode inode;
    inode.number = InodeNumber(5);
    inode.parent = InodeNumber(4);
    inode.version = Version(9);
    inode.writer = NodeId(3);
    inode.mtime = 1700000000;
    inode.size = 3;
    inode.name = "name";
    return inode;
}

TEST(DigestTest, EveryFieldCounts) {
    const Inode inode = sample();
    const auto changed = [&](auto change) {
        Inode copy = inode;
        change(copy);
        return index_digest(copy, "abc") != index_digest(inode, "abc");
    };
    EXPECT_FALSE(changed([](Inode& i) { i.number = InodeNumber(6); }));
    EXPECT_TRUE(changed([](Inode& i) { i.parent = InodeNumber(1ULL << 63); }));
    EXPECT_TRUE(changed([](Inode& i) { i.version = Version(1ULL << 63); }));
    EXPECT_TRUE(changed([](Inode& i) { i.writer = NodeId(1U << 31); }));
    EXPECT_TRUE(changed([](Inode& i) { i.mtime = 1U << 31; }));
    EXPECT_TRUE(changed([](Inode& i) { i.size = 1U << 31; }));
    EXPECT_TRUE(changed([](Inode& i) { i.name = "namf"; }));
    EXPECT_NE(index_digest(inode, "abc"), index_digest(inode, "abd"));
    Inode other_number = inode;
    other_number.number = InodeNumber(1ULL << 63);
    EXPECT_NE(entry_checksum(other_number, "abc"), entry_checksum(inode, "abc"));
}

TEST(DigestTest, OnlyStoredBytesCount) {
    Inode inode = sample();
    inode.unbacked = true;
    EXPECT_EQ(index_digest(inode, "abc"), index_digest(inode, ""));
    inode = sample();
    inode.type = EntryType::Directory;
    EXPECT_EQ(index_digest(inode, "abc"), index_digest(inode, ""));
}

TEST(Sha256Test, KnownAnswers) {
    EXPECT_EQ(to_hex(Sha256::of("")), kEmpty);
    EXPECT_EQ(to_hex(Sha256::of("abc")), kAbc);
}

TEST(Sha256Test, StartsAnewAfterFinish) {
    Sha256 sum;
    sum.update("ab");
    sum.update("");
    sum.update("c");
    EXPECT_EQ(to_hex(sum.finish()), kAbc);
    EXPECT_EQ(to_hex(sum.finish()), kEmpty);
    sum.update("abc");
    EXPECT_EQ(to_hex(sum.finish()), kAbc);
}

TEST(Sha256Test, MovesWithItsState) {
    Sha256 first;
    first.update("ab");
    Sha256 second = std::move(first);
    second.update("c");
    EXPECT_EQ(to_hex(second.finish()), kAbc);
}

TEST(Sha256Test, ThreadsDoNotDisturbEachOther) {
    const auto work = [] {
        for (int i = 0; i < 2000; ++i) EXPECT_EQ(to_hex(Sha256::of("abc")), kAbc);
    };
    std::thread other(work);
    work();
    other.join();
}

}  // namespace
}  // namespace cfsgate
