// SPDX-License-Identifier: Apache-2.0
#include "store/base/mount_table.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "tests/support/temp_directory.h"

namespace cfsgate {
namespace {

TEST(MountTable, ReadsTheFieldsOfALine) {
    const MountTable table = parse_mount_table(
        "36 35 98:0 /sub /mnt rw,noatime master:1 shared:2 - ext4 /dev/root rw,errors=continue\n"
        "90 27 0:57 / /etc/pve rw,nosuid,nodev,relatime - fuse /dev/fuse rw,user_id=0\n");

    ASSERT_EQ(table.size(), 2U);
    EXPECT_EQ(table[0].mount_point, "/mnt");
    EXPECT_EQ(table[0].type, "ext4");
    EXPECT_EQ(table[0].source, "/dev/root");
    EXPECT_EQ(table[0].device_major, 98U);
    EXPECT_FALSE(table[0].is_fuse());
    EXPECT_EQ(table[1].device_minor, 57U);
    EXPECT_TRUE(table[1].is_fuse());
}

TEST(MountTable, UnescapesBlanksTabsNewlinesAndBackslashes) {
    const MountTable table =
        parse_mount_table(R"(90 27 0:57 / /a\040b\011c\012d\134e rw - fuse.x\040y so\040urce rw)"
                          "\n");

    ASSERT_EQ(table.size(), 1U);
    EXPECT_EQ(table[0].mount_point, "/a b\tc\nd\\e");
    EXPECT_EQ(table[0].type, "fuse.x y");
    EXPECT_EQ(table[0].source, "so urce");
}

TEST(MountTable, KeepsABackslashThatEscapesNothing) {
    const MountTable table = parse_mount_table(
        "90 27 0:57 / /a\\04 rw - fuse s rw\n90 27 0:57 / /b\\089 rw - fuse s rw");
    ASSERT_EQ(table.size(), 2U);
    EXPECT_EQ(table[0].mount_point, "/a\\04");
    EXPECT_EQ(table[1].mount_point, "/b\\089");
}

TEST(MountTable, LeavesOutLinesThatDoNotFollowTheForm) {
    for (const char* line :
         {"", "\n\n", "- - -", "1 2 3", "1 2 0:57 / /m rw fuse s rw", "1 2 057 / /m rw - fuse s rw",
          "1 2 x:57 / /m rw - fuse s rw", "1 2 0: / /m rw - fuse s rw", "1 2 0:57 / /m rw - fuse",
          "1 2 0:99999999999 / /m rw - fuse s rw", "1 - 0:57 / /m rw"}) {
        EXPECT_TRUE(parse_mount_table(line).empty()) << line;
    }
}

MountEntry entry_of_type(const char* type) {
    MountEntry entry;
    entry.type = type;
    return entry;
}

TEST(MountTable, TheControlFileSystemAndBlockDevicesAreNoFuseMounts) {
    EXPECT_FALSE(entry_of_type("fusectl").is_fuse());
    EXPECT_FALSE(entry_of_type("fuseblk").is_fuse());
    EXPECT_TRUE(entry_of_type("fuse.sshfs").is_fuse());
}

TEST(MountTable, FindsTheUppermostOfStackedMounts) {
    const MountTable table = parse_mount_table(
        "1 2 0:5 / /m rw - tmpfs a rw\n3 2 0:6 / /m rw - fuse b rw\n4 2 0:7 / /mm rw - fuse c rw");
    ASSERT_NE(find_mount(table, "/m"), nullptr);
    EXPECT_EQ(find_mount(table, "/m")->source, "b");
    EXPECT_EQ(find_mount(table, "/other"), nullptr);
}

TEST(MountTable, TheRunningSystemHasARoot) {
    const auto table = read_mount_table();
    ASSERT_TRUE(table);
    EXPECT_NE(find_mount(*table, "/"), nullptr);
}

TEST(MountTable, AMountPointIsNamedAsTheKernelNamesIt) {
    const test::TempDirectory directory;
    std::filesystem::create_directory(directory.file("real"));
    std::filesystem::create_directory_symlink(directory.file("real"), directory.file("link"));
    const auto real = std::filesystem::canonical(directory.file("real")).string();

    EXPECT_EQ(to_mount_point(directory.file("link/m")).value(), real + "/m");
    EXPECT_EQ(to_mount_point(directory.file("link/./x/../m/")).value(), real + "/m");
    EXPECT_EQ(to_mount_point(directory.file("none/m")).error().code, Errno::NotFound);
    EXPECT_EQ(to_mount_point("/").error().code, Errno::Invalid);
}

}  // namespace
}  // namespace cfsgate
