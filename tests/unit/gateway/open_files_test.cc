// SPDX-License-Identifier: Apache-2.0
#include "gateway/open_files.h"

#include <gtest/gtest.h>

#include "store/model/limits.h"
#include "tests/support/store_directory.h"

namespace cfsgate::gateway {
namespace {

using test::take;

constexpr InodeNumber kFile{5};

OpenFiles::Pinned pinned(const std::string& content) {
    OpenFiles::Pinned pinned;
    pinned.attributes.id = to_file_id(kFile);
    pinned.content = content;
    return pinned;
}
WriteFile write_of(std::uint32_t offset, const std::string& data) {
    return WriteFile{"", data, offset, false};
}

TEST(OpenFilesTest, ARemovedFileLivesWhileItIsOpen) {
    OpenFiles files;
    files.add(kFile);
    files.add(kFile);
    files.pin(kFile, pinned("content"));
    files.settle();
    EXPECT_EQ(take(files.read(kFile, 3, 100)), "tent");
    EXPECT_EQ(take(files.read(kFile, 7, 100)), "");
    EXPECT_EQ(take(files.read(kFile, UINT64_MAX, 100)), "");
    EXPECT_EQ(files.attributes(kFile)->size, 7U);
    EXPECT_EQ(files.totals().pinned_bytes, 7U);
    // As many others are removed as stay of those that nobody has open.
    for (std::uint64_t i = 0; i < 64; ++i) files.pin(InodeNumber(100 + i), pinned(""));
    files.settle();
    files.remove(kFile);
    EXPECT_TRUE(files.attributes(kFile));
    files.remove(kFile);
    EXPECT_FALSE(files.attributes(kFile));
    EXPECT_FALSE(files.read(kFile, 0, 1));
    EXPECT_EQ(files.totals().open, 0U);
    EXPECT_EQ(files.totals().pinned, 64U);
    EXPECT_EQ(files.totals().pinned_bytes, 0U);
}

TEST(OpenFilesTest, OfRemovedFilesThatNobodyHasOnlyTheLatestStay) {
    OpenFiles files;
    const InodeNumber held(1000);
    files.add(held);
    files.pin(held, pinned("held"));
    files.pin(kFile, pinned("content"));
    files.settle();
    EXPECT_TRUE(files.attributes(kFile)) << "somebody may be opening it right now";
    for (std::uint64_t i = 0; i < 500; ++i) {
        files.pin(InodeNumber(2000 + i), pinned(std::string(i % 2 == 0 ? 10 : 100000, 'x')));
        files.settle();
        EXPECT_LE(files.totals().pinned, 65U);
        EXPECT_LE(files.totals().pinned_bytes, (4U << 20) + 4);
    }
    EXPECT_FALSE(files.attributes(kFile));
    EXPECT_EQ(take(files.read(held, 0, 100)), "held") << "an open one is not among them";
    files.remove(held);
    EXPECT_FALSE(files.attributes(held));
}

TEST(OpenFilesTest, AHandleThatEndsBeforeTheRemovalIsPublishedTakesNothingAway) {
    OpenFiles files;
    files.add(kFile);
    files.pin(kFile, pinned("content"));
    files.remove(kFile);
    files.add(kFile);  // it is still there for everybody who looks it up
    files.settle();
    EXPECT_EQ(take(files.read(kFile, 0, 100)), "content");
}

TEST(OpenFilesTest, AnOpenThatFailedTakesNothingAway) {
    OpenFiles files;
    files.pin(kFile, pinned("content"));
    files.settle();
    files.add(kFile);
    files.remove(kFile);
    EXPECT_TRUE(files.attributes(kFile)) << "the second try needs it";
}

TEST(OpenFilesTest, WritesStayInIt) {
    OpenFiles files;
    files.add(kFile);
    files.pin(kFile, pinned("content"));
    EXPECT_EQ(take(files.write(kFile, write_of(9, "xy"), {})), 2U);
    EXPECT_EQ(take(files.read(kFile, 0, 100)), std::string("content\0\0xy", 11));
    EXPECT_EQ(files.totals().pinned_bytes, 11U);
    WriteMode truncate;
    truncate.truncate = true;
    EXPECT_EQ(take(files.write(kFile, write_of(0, "new"), truncate)), 3U);
    EXPECT_EQ(take(files.read(kFile, 0, 100)), "new");
    WriteMode append;
    append.append = true;
    EXPECT_EQ(take(files.write(kFile, write_of(0, "er"), append)), 2U);
    EXPECT_EQ(take(files.read(kFile, 0, 100)), "newer");
    const auto large = files.write(kFile, write_of(limits::kFileBytesMax, "x"), {});
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().code, Errno::FileTooBig);
    EXPECT_EQ(files.totals().pinned_bytes, 5U);
    const auto unknown = files.write(InodeNumber(6), write_of(0, "x"), {});
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, Errno::StaleHandle);
}

TEST(OpenFilesTest, WhatIsKeptIsBounded) {
    OpenFiles files;
    const std::string mebibyte(1 << 20, 'x');
    for (std::uint64_t i = 0; i < 300; ++i) {
        files.add(InodeNumber(i));
        files.pin(InodeNumber(i), pinned(mebibyte));
    }
    EXPECT_LE(files.totals().pinned_bytes, 256ULL << 20);
    EXPECT_FALSE(files.read(InodeNumber(299), 0, 1));
}

}  // namespace
}  // namespace cfsgate::gateway
