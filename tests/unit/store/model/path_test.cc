// SPDX-License-Identifier: Apache-2.0
#include "store/model/path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/vectors.h"

namespace cfsgate {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class PathRulesTest : public testing::Test {
protected:
    const nlohmann::json rows_ = test::load_vectors("path-rules.json").at("paths");

    template <class Check>
    void for_each_row(Check check) const {
        ASSERT_EQ(rows_.size(), 54U);
        for (const auto& row : rows_) {
            const auto path = row.at("path").get<std::string>();
            SCOPED_TRACE("path '" + path + "'");
            check(path, row);
        }
    }
};

TEST_F(PathRulesTest, Private) {
    for_each_row([](const std::string& path, const nlohmann::json& row) {
        EXPECT_EQ(is_private_path(path), row.at("private").get<bool>());
    });
}

TEST_F(PathRulesTest, BelowLockDirectory) {
    for_each_row([](const std::string& path, const nlohmann::json& row) {
        EXPECT_EQ(is_below_lock_directory(path), row.at("lockdir").get<bool>());
    });
}

TEST_F(PathRulesTest, DirectoryAndName) {
    for_each_row([](const std::string& path, const nlohmann::json& row) {
        EXPECT_EQ(split_path(path).directory, row.at("dirname").get<std::string>());
        EXPECT_EQ(split_path(path).name, row.at("basename").get<std::string>());
    });
}

TEST_F(PathRulesTest, Guest) {
    for_each_row([](const std::string& path, const nlohmann::json& row) {
        const auto guest = parse_guest_path(path);
        const auto& expected = row.at("vm");
        ASSERT_EQ(guest.has_value(), !expected.is_null());
        if (!guest) return;
        EXPECT_EQ(guest->node, expected.at("node").get<std::string>());
        EXPECT_EQ(to_string(guest->type), expected.at("type").get<std::string>());
        EXPECT_EQ(guest->vmid, expected.at("vmid").get<std::uint32_t>());
    });
}

TEST(PathTest, DoubledSlashesDoNotLeadPastThePrivateCheck) {
    EXPECT_TRUE(is_private_path("nodes//a/priv"));
    EXPECT_TRUE(is_private_path("nodes///a//priv//key"));
    EXPECT_TRUE(is_private_path("//nodes//a/priv/key"));
    EXPECT_FALSE(is_private_path("nodes//a/privy"));
    EXPECT_FALSE(is_private_path("nodes//a//b/priv"));
}

TEST(PathTest, NodeNamedPrivIsNotPrivateItself) {
    EXPECT_FALSE(is_private_path("nodes/priv"));
    EXPECT_FALSE(is_private_path("nodes/priv/config"));
    EXPECT_TRUE(is_private_path("nodes/priv/priv"));
}

TEST(PathTest, OnlyTheDirectoryNodesHoldsNodes) {
    EXPECT_FALSE(is_private_path("node/a/priv"));
    EXPECT_FALSE(is_private_path("x/a/priv/key"));
    EXPECT_FALSE(parse_guest_path("x/a/lxc/100.conf"));
}

TEST(PathTest, OnlyDirectChildrenOfTheLockDirectoryAreLocks) {
    EXPECT_TRUE(is_lock_path("priv/lock/x"));
    EXPECT_TRUE(is_lock_path("priv/lock/x/"));
    EXPECT_FALSE(is_lock_path("priv/lock"));
    EXPECT_FALSE(is_lock_path("priv/lock/"));
    EXPECT_FALSE(is_lock_path("priv/lock/x/y"));
    EXPECT_FALSE(is_lock_path("priv/locks/x"));
    EXPECT_FALSE(is_lock_path(""));
}

TEST(PathTest, SplitOfAbsolutePaths) {
    EXPECT_EQ(split_path("/x").directory, "/");
    EXPECT_EQ(split_path("///x//").directory, "/");
    EXPECT_EQ(split_path("///x//").name, "x");
    EXPECT_EQ(split_path("a//b").directory, "a");
}

TEST(PathTest, Components) {
    EXPECT_THAT(path_components(""), IsEmpty());
    EXPECT_THAT(path_components("."), IsEmpty());
    EXPECT_THAT(path_components("/"), IsEmpty());
    EXPECT_THAT(path_components("//"), IsEmpty());
    EXPECT_THAT(path_components("a"), ElementsAre("a"));
    EXPECT_THAT(path_components("//a//b/c/"), ElementsAre("a", "b", "c"));
    // Inside a path a dot is a name like others.
    EXPECT_THAT(path_components("a/./.."), ElementsAre("a", ".", ".."));
}

TEST(PathTest, Join) {
    EXPECT_EQ(join_path("", "b"), "b");
    EXPECT_EQ(join_path("a", "b"), "a/b");
    EXPECT_EQ(join_path("a/b", "c"), "a/b/c");
}

TEST(PathTest, GuestDirectories) {
    EXPECT_EQ(guest_directory(GuestType::Qemu), "qemu-server");
    EXPECT_EQ(guest_directory(GuestType::OpenVz), "openvz");
    EXPECT_EQ(guest_directory(GuestType::Lxc), "lxc");
}

TEST(PathTest, GuestPathTakesSlashesOnlyAsPeersDo) {
    EXPECT_FALSE(parse_guest_path("nodes//a/lxc/100.conf"));
    EXPECT_FALSE(parse_guest_path("nodes/a//lxc/100.conf"));
    EXPECT_TRUE(parse_guest_path("nodes/a/lxc///100.conf//"));
}

TEST(PathTest, GuestFileNames) {
    EXPECT_EQ(parse_guest_file_name("1.conf"), 1U);
    EXPECT_EQ(parse_guest_file_name("4294967295.conf"), 4294967295U);
    for (const char* name : {"", ".conf", "0.conf", "1.conf.conf", "-1.conf", "1a.conf", "100",
                             "4294967296.conf", "42949672950.conf"}) {
        EXPECT_FALSE(parse_guest_file_name(name)) << name;
    }
}

TEST(PathTest, NodeNames) {
    for (const char* name : {"a", "pve1", "A-b", "1", "a--b"}) {
        EXPECT_TRUE(is_valid_node_name(name)) << name;
    }
    for (const char* name : {"", "-", "-a", "a-", "a.b", "a_b", "a b", "\xc3\xa4"}) {
        EXPECT_FALSE(is_valid_node_name(name)) << name;
    }
}

TEST(PathTest, ActionScripts) {
    for (const char* name :
         {"vps.mount", "vps.umount", "101.start", "9.stop", "101.premount", "101.postumount"}) {
        EXPECT_TRUE(is_action_script_name(name)) << name;
    }
    for (const char* name :
         {"", "vps", ".mount", "vps.", "0.start", "0101.start", "a1.start", "101.conf",
          "101.start.x", "vps2.mount", "xvps.mount", "101a.stop", "vps.mounts"}) {
        EXPECT_FALSE(is_action_script_name(name)) << name;
    }
}

}  // namespace
}  // namespace cfsgate
