// SPDX-License-Identifier: Apache-2.0
#include "clients/nfs_path.h"

#include <gtest/gtest.h>

#include "store/model/limits.h"

namespace cfsgate::clients {
namespace {

using Words = std::vector<std::string>;

TEST(SplitPath, GivesTheNamesAlone) {
    EXPECT_EQ(split_path("").value(), Words{});
    EXPECT_EQ(split_path("//./").value(), Words{});
    EXPECT_EQ(split_path("/nodes//pve1/./lxc/").value(), (Words{"nodes", "pve1", "lxc"}));
    EXPECT_EQ(split_path("...").value(), Words{"..."});
}

TEST(SplitPath, RefusesWhatLeadsUpOrIsTooLong) {
    EXPECT_EQ(split_path("a/../b").error().code, Errno::Invalid);
    EXPECT_EQ(split_path("..").error().code, Errno::Invalid);
    EXPECT_EQ(split_path(std::string(limits::kPathBytesMax + 1, 'a')).error().code,
              Errno::NameTooLong);
}

TEST(SplitLink, StaysInsideTheExport) {
    const auto relative = split_link("../nodes/pve1", "/etc/pve").value();
    EXPECT_FALSE(relative.absolute);
    EXPECT_EQ(relative.words, (Words{"..", "nodes", "pve1"}));
    const auto absolute = split_link("/etc/pve/nodes", "/etc/pve/").value();
    EXPECT_TRUE(absolute.absolute);
    EXPECT_EQ(absolute.words, Words{"nodes"});
    EXPECT_EQ(split_link("/etc/pve", "/etc/pve").value().words, Words{});
    EXPECT_EQ(split_link("/etc/pvex", "/etc/pve").error().code, Errno::NotFound);
    EXPECT_EQ(split_link("/etc/passwd", "/etc/pve").error().code, Errno::NotFound);
}

TEST(InsideExport, TakesWholePathsToo) {
    EXPECT_EQ(inside_export("/etc/pve/nodes/x", "/etc/pve"), "nodes/x");
    EXPECT_EQ(inside_export("/etc/pve", "/etc/pve"), "");
    EXPECT_EQ(inside_export("/etc/pve//", "/etc/pve/"), "");
    EXPECT_EQ(inside_export("/etc/pvex", "/etc/pve"), "/etc/pvex");
    EXPECT_EQ(inside_export("nodes/x", "/etc/pve"), "nodes/x");
    EXPECT_EQ(inside_export("/nodes/x", "/"), "nodes/x");
}

TEST(TemporaryPath, StandsBesideTheTarget) {
    EXPECT_EQ(temporary_path("nodes/pve1/100.conf", 0xabcU), "nodes/pve1/100.conf.tmp.00000abc");
    EXPECT_EQ(temporary_path("file", 1), "file.tmp.00000001");
    EXPECT_EQ(temporary_path("dir/file/", 1), "dir/file.tmp.00000001");
}

TEST(TemporaryPath, IsNoLongerThanANameMayBe) {
    const std::string name(limits::kNameBytesMax, 'n');
    const std::string path = temporary_path("dir/" + name, 7);
    EXPECT_EQ(path.size(), 4 + limits::kNameBytesMax);
    EXPECT_TRUE(path.ends_with(".tmp.00000007"));
}

}  // namespace
}  // namespace cfsgate::clients
