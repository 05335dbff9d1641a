// SPDX-License-Identifier: Apache-2.0
// Which entries are hashed again, and when. That the index is right: store_test.cc, at every step.
#include "store/digest_cache.h"

#include <gtest/gtest.h>

#include "store/model/digest.h"
#include "tests/support/store_directory.h"

namespace cfsgate::store {
namespace {

using test::take;

/// Three files, inodes 2 to 4, in a tree at journal record 1.
class DigestCacheTest : public testing::Test {
protected:
    DigestCacheTest() {
        auto tree = take(TreeWriter::make_new(take(lmdb::Transaction::write(*environment)), {1, 1},
                                              {Version(10), NodeId(1), 5}));
        for (const std::uint64_t number : {2U, 3U, 4U}) {
            take(tree->add(file(number, "old"), "old"));
        }
        tree->set_journal(Sequence(1));
        take(tree->commit());
    }

    static Inode file(std::uint64_t number, const std::string& content) {
        Inode inode;
        inode.number = InodeNumber(number);
        inode.version = Version(number);
        inode.size = static_cast<std::uint32_t>(content.size());
        inode.name = std::to_string(number);
        return inode;
    }
    /// Publishes another content, with or without telling the cache.
    void write(std::uint64_t number, const std::string& content, std::uint64_t record) const {
        auto tree = take(TreeWriter::make(take(lmdb::Transaction::write(*environment))));
        const Inode before = take(tree->inode(InodeNumber(number)));
        take(tree->replace_content(before, file(number, content), content));
        tree->set_journal(Sequence(record));
        take(tree->commit());
    }
    void mark(std::uint64_t number, std::uint64_t record) {
        cache.mark(Sequence(record), {InodeNumber(number)});
    }
    Digest digest(std::uint64_t number) {
        for (const IndexEntry& entry : take(cache.index()).entries) {
            if (entry.inode == InodeNumber(number)) return entry.digest;
        }
        return {};
    }
    static Digest digest_with(std::uint64_t number, const std::string& content) {
        return index_digest(file(number, content), content);
    }

    test::TempDirectory directory;
    std::unique_ptr<lmdb::Environment> environment =
        take(lmdb::Environment::open({directory.file("tree.mdb"), 16 << 20, false}));
    DigestCache cache{[this]() -> Result<std::unique_ptr<TreeReader>> {
        return TreeReader::make(CFSGATE_TRY(lmdb::Transaction::read(*environment)));
    }};
};

TEST_F(DigestCacheTest, OnlyWhatIsMarkedIsHashedAgain) {
    EXPECT_EQ(digest(2), digest_with(2, "old"));
    mark(2, 2);
    write(2, "new", 2);
    write(3, "unmarked", 3);
    EXPECT_EQ(digest(2), digest_with(2, "new"));
    EXPECT_EQ(digest(3), digest_with(3, "old")) << "everything was hashed";
}

TEST_F(DigestCacheTest, AMarkHoldsUntilItsRecordIsPublished) {
    digest(2);
    mark(2, 3);  // a commit under way
    mark(3, 2);
    write(3, "new", 2);
    EXPECT_EQ(digest(2), digest_with(2, "old"));
    write(2, "new", 3);
    EXPECT_EQ(digest(2), digest_with(2, "new"));
    EXPECT_EQ(digest(3), digest_with(3, "new"));
}

TEST_F(DigestCacheTest, AnInodeMarkedForAPublishedAndALaterRecordIsHashedForBoth) {
    digest(2);
    mark(2, 2);
    write(2, "second", 2);
    mark(2, 3);
    EXPECT_EQ(digest(2), digest_with(2, "second"));
    write(2, "third", 3);
    EXPECT_EQ(digest(2), digest_with(2, "third"));
}

TEST_F(DigestCacheTest, ARecordThatWasNeverPublishedLosesNothing) {
    digest(2);
    mark(2, 2);  // given up, and its number goes to another change
    mark(3, 2);
    write(3, "new", 2);
    EXPECT_EQ(digest(2), digest_with(2, "old"));
    EXPECT_EQ(digest(3), digest_with(3, "new"));
}

TEST_F(DigestCacheTest, TheChecksumIsKeptUntilAnythingIsPublished) {
    const Digest first = take(cache.tree_checksum());
    EXPECT_EQ(take(cache.tree_checksum()), first);
    write(2, "new", 2);
    EXPECT_NE(take(cache.tree_checksum()), first);
    write(2, "old", 3);
    EXPECT_EQ(take(cache.tree_checksum()), first);
}

TEST_F(DigestCacheTest, ATreeThatIsNotPublishedHasItsOwnIndex) {
    const Index published = take(cache.index());
    auto tree = take(TreeWriter::make(take(lmdb::Transaction::write(*environment))));
    take(tree->remove(file(3, "old")));
    take(tree->add(file(9, "nine"), "nine"));
    tree->set_head({Version(20), NodeId(2), 6});
    EXPECT_EQ(take(cache.index_of(*tree, {InodeNumber(3), InodeNumber(9)})),
              take(compute_index(*tree)));
    tree.reset();
    EXPECT_EQ(take(cache.index()), published);
    EXPECT_EQ(take(cache.encoded_index()), encode_index(published));
}

TEST_F(DigestCacheTest, ManyMarksAskToBeLookedAt) {
    std::vector<InodeNumber> many;
    for (std::uint64_t i = 2; i < 20000; ++i) many.emplace_back(i);
    cache.mark(Sequence(2), many);
    EXPECT_FALSE(cache.is_behind()) << "nobody has asked for an index";
    digest(2);
    cache.mark(Sequence(2), many);
    EXPECT_TRUE(cache.is_behind());
    write(2, "new", 2);
    EXPECT_EQ(digest(2), digest_with(2, "new"));
    EXPECT_FALSE(cache.is_behind());
}

}  // namespace
}  // namespace cfsgate::store
