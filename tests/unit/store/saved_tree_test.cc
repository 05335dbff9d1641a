// SPDX-License-Identifier: Apache-2.0
#include "store/saved_tree.h"

#include <gtest/gtest.h>

#include "store/model/limits.h"
#include "tests/support/prng.h"
#include "tests/support/store_directory.h"

namespace cfsgate::store {
namespace {

Entry entry(std::uint64_t number, std::uint64_t parent, const std::string& name,
            EntryType type = EntryType::File, const std::string& content = "") {
    Entry made;
    made.inode.number = InodeNumber(number);
    made.inode.parent = InodeNumber(parent);
    made.inode.version = Version(number);
    made.inode.name = name;
    made.inode.type = type;
    made.inode.size = static_cast<std::uint32_t>(content.size());
    made.content = content;
    return made;
}
Entry directory(std::uint64_t number, std::uint64_t parent, const std::string& name) {
    return entry(number, parent, name, EntryType::Directory);
}

/// "number name" of each entry.
std::string listing(const SavedTree& tree) {
    std::string text;
    for (const Entry& one : tree.entries) {
        text += std::to_string(one.inode.number.value()) + " " + one.inode.name + "\n";
    }
    return text;
}

class MendTest : public testing::Test {
protected:
    MendTest() {
        tree.head.version = Version(100);
        tree.entries = {
            directory(2, 0, "d"),           entry(3, 2, "f", EntryType::File, "content"),
            directory(4, 0, "nodes"),       directory(5, 4, "a"),
            directory(6, 5, "qemu-server"), entry(7, 6, "100.conf")};
    }
    SavedTree tree;
};

TEST_F(MendTest, ATreeThatIsWellStaysAsItIs) {
    const auto before = tree.entries;
    EXPECT_TRUE(mend_tree(tree).nothing());
    EXPECT_EQ(tree.entries, before);
    EXPECT_EQ(tree.head.version, Version(100));
}

TEST_F(MendTest, WhatHangsInNothingIsTakenOutWithAllBelowIt) {
    tree.entries.push_back(directory(10, 77, "orphan"));
    tree.entries.push_back(entry(11, 10, "below", EntryType::File, "kept"));
    tree.entries.push_back(entry(12, 3, "in-a-file"));
    const Mending done = mend_tree(tree);
    ASSERT_EQ(done.taken_out.size(), 3U);
    EXPECT_EQ(done.taken_out[0].path, "?/orphan");
    EXPECT_EQ(done.taken_out[0].why, "its parent 77 does not exist");
    EXPECT_EQ(done.taken_out[1].path, "?/orphan/below");
    EXPECT_EQ(done.taken_out[1].entry.content, "kept");
    EXPECT_EQ(done.taken_out[2].why, "its parent is a file");
    EXPECT_EQ(tree.entries.size(), 6U);
}

TEST_F(MendTest, ACircleIsTakenOut) {
    tree.entries.push_back(directory(10, 11, "x"));
    tree.entries.push_back(directory(11, 10, "y"));
    tree.entries.push_back(directory(12, 12, "self"));
    EXPECT_EQ(mend_tree(tree).taken_out.size(), 3U);
    EXPECT_EQ(tree.entries.size(), 6U);
}

TEST_F(MendTest, OfTwoWithOneNameTheNewerKeepsIt) {
    tree.entries.push_back(entry(10, 2, "f", EntryType::File, "newer"));
    const Mending done = mend_tree(tree);
    EXPECT_TRUE(done.taken_out.empty());
    ASSERT_EQ(done.changed.size(), 1U);
    EXPECT_EQ(done.changed[0].where, "d/f");
    EXPECT_EQ(find_entry(tree, InodeNumber(10))->inode.name, "f");
    EXPECT_EQ(find_entry(tree, InodeNumber(3))->inode.name, "f.duplicate-3");
    EXPECT_EQ(find_entry(tree, InodeNumber(3))->content, "content");
}

TEST_F(MendTest, OfThreeWithOneNameOneKeepsIt) {
    tree.entries.push_back(entry(10, 2, "f"));
    tree.entries.push_back(entry(11, 2, "f"));
    tree.entries.push_back(entry(12, 2, "f.duplicate-10"));
    mend_tree(tree);
    EXPECT_EQ(find_entry(tree, InodeNumber(11))->inode.name, "f");
    EXPECT_TRUE(mend_tree(tree).nothing()) << listing(tree);
}

TEST_F(MendTest, OfTwoConfigurationsOfAGuestTheNewerIsTheGuest) {
    tree.entries.push_back(directory(8, 5, "lxc"));
    tree.entries.push_back(entry(9, 8, "100.conf"));
    const Mending done = mend_tree(tree);
    ASSERT_EQ(done.changed.size(), 1U);
    EXPECT_NE(done.changed[0].what.find("guest 100"), std::string::npos);
    EXPECT_EQ(find_entry(tree, InodeNumber(7))->inode.name, "100.conf.duplicate-7");
    EXPECT_EQ(find_entry(tree, InodeNumber(9))->inode.name, "100.conf");
}

TEST_F(MendTest, NamesThatCannotBeAreReplaced) {
    std::uint64_t number = 10;
    for (const std::string& name :
         {std::string(), std::string("."), std::string(".."), std::string("a/b"),
          std::string("a\0b", 3), std::string(limits::kNameBytesStoredMax + 1, 'n')}) {
        tree.entries.push_back(entry(number++, 2, name));
    }
    EXPECT_EQ(mend_tree(tree).changed.size(), 6U);
    EXPECT_EQ(find_entry(tree, InodeNumber(10))->inode.name, "inode-10");
    EXPECT_TRUE(mend_tree(tree).nothing());
}

TEST_F(MendTest, ALongNameStaysPossibleAsADuplicate) {
    const std::string name(limits::kNameBytesStoredMax, 'n');
    tree.entries.push_back(entry(10, 2, name));
    tree.entries.push_back(entry(11, 2, name));
    mend_tree(tree);
    EXPECT_LE(find_entry(tree, InodeNumber(10))->inode.name.size(), limits::kNameBytesStoredMax);
    EXPECT_TRUE(mend_tree(tree).nothing());
}

TEST_F(MendTest, ContentThatCannotBeIsTakenOut) {
    tree.entries.push_back(
        entry(10, 2, "large", EntryType::File, std::string(limits::kFileBytesMax + 1, 'l')));
    tree.entries.push_back(entry(11, 2, "short", EntryType::File, "12345"));
    tree.entries.back().inode.size = 6;
    tree.entries.push_back(entry(12, 2, "dir", EntryType::Directory, "content"));
    tree.entries.push_back(entry(13, 2, "what", static_cast<EntryType>(5)));
    const Mending done = mend_tree(tree);
    EXPECT_EQ(done.taken_out.size(), 4U);
    EXPECT_EQ(find_entry(tree, InodeNumber(12))->inode.size, 0U);
    EXPECT_EQ(find_entry(tree, InodeNumber(10)), nullptr);
    EXPECT_EQ(find_entry(tree, InodeNumber(13)), nullptr);
}

TEST_F(MendTest, TheTreeIsAtLeastAsNewAsItsEntries) {
    tree.head.version = Version(6);
    tree.entries.back().inode.version = Version(9);
    EXPECT_EQ(mend_tree(tree).changed.size(), 1U);
    EXPECT_EQ(tree.head.version, Version(9));
}

/// The checker is somebody else's opinion: whatever the entries were, it must be content.
TEST(MendAnything, TheCheckerFindsNothingWrong) {
    const std::vector<std::string> names = {
        "nodes", "a", "b", "qemu-server", "lxc", "100.conf", "200.conf", "priv", "", ".", "x/y"};
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        test::Prng random(seed);
        SavedTree tree;
        tree.head.version = Version(random.below(30) + 1);
        for (std::uint64_t i = 0; i < 40; ++i) {
            const bool is_directory = random.below(3) != 0;
            Entry one = entry(random.below(40), random.below(40),
                              names[static_cast<std::size_t>(random.below(names.size()))],
                              is_directory ? EntryType::Directory : EntryType::File,
                              is_directory ? "" : std::string(random.below(3), 'c'));
            one.inode.version = Version(random.below(60));
            tree.entries.push_back(one);
        }
        const std::size_t before = tree.entries.size();
        const Mending done = mend_tree(tree);
        EXPECT_EQ(tree.entries.size() + done.taken_out.size(), before) << seed;
        EXPECT_TRUE(mend_tree(tree).nothing()) << seed;
        const test::StoreDirectory state;
        test::take(Store::create_from(state.options, tree.head, tree.entries, null_logger()));
        EXPECT_EQ(state.findings(), "") << seed;
    }
}

}  // namespace
}  // namespace cfsgate::store
