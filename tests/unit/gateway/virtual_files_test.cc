// SPDX-License-Identifier: Apache-2.0
#include "gateway/virtual_files.h"

#include <gtest/gtest.h>

#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::gateway {
namespace {

using test::result_of;

class VirtualFilesTest : public testing::Test {
protected:
    VirtualFilesTest() {
        options.node_name = "node1";
        options.start_time = 1700000000;
    }
    static std::string expected(const std::string& name) {
        return test::read_file(test::data_path("vectors/virtual-files/" + name));
    }

    test::StoreDirectory directory;
    std::unique_ptr<store::Store> store = directory.open();
    ClusterLog log{"node1"};
    FileSystemOptions options;
    VirtualFiles files{*store, log, options};
};

TEST_F(VirtualFilesTest, LinksLeadToTheNode) {
    EXPECT_EQ(files.text(VirtualEntry::Local), "nodes/node1");
    EXPECT_EQ(files.text(VirtualEntry::QemuServer), "nodes/node1/qemu-server");
    EXPECT_EQ(files.text(VirtualEntry::OpenVz), "nodes/node1/openvz");
    EXPECT_EQ(files.text(VirtualEntry::Lxc), "nodes/node1/lxc");
}

TEST_F(VirtualFilesTest, TextsAfterAStart) {
    EXPECT_EQ(files.text(VirtualEntry::Version), expected("version-after-open.txt"));
    EXPECT_EQ(files.text(VirtualEntry::Members), expected("members-local-mode.txt"));
    EXPECT_EQ(files.text(VirtualEntry::VmList), expected("vmlist-empty.txt"));
    EXPECT_EQ(files.text(VirtualEntry::ClusterLog), expected("clusterlog-no-match.txt"));
    EXPECT_EQ(files.text(VirtualEntry::Rrd), "");
}

TEST_F(VirtualFilesTest, MembersOfACluster) {
    replication::ClusterStatus cluster;
    options.cluster = [&] { return cluster; };
    EXPECT_EQ(files.text(VirtualEntry::Members), expected("members-local-mode.txt"))
        << "the list of nodes is not known yet";
    cluster.info_version = 3;
    cluster.name = "testcl";
    cluster.config_version = 3;
    cluster.quorate = true;
    cluster.nodes = {{NodeId(1), "node1", 1, {"10.0.0.1"}, true, "10.0.0.1"},
                     {NodeId(2), "node2", 1, {"10.0.0.2"}, false, ""}};
    EXPECT_EQ(files.text(VirtualEntry::Members), expected("members-cluster.txt"));
    EXPECT_NE(files.text(VirtualEntry::Version).find("\"clinfo\": 3,\n"), std::string::npos);
    cluster.nodes[0].ip = "\", \"x\": \"";  // what a peer may say
    EXPECT_TRUE(nlohmann::json::accept(files.text(VirtualEntry::Members)));
}

TEST_F(VirtualFilesTest, TwoGuests) {
    for (const char* path :
         {"nodes", "nodes/node1", "nodes/node1/qemu-server", "nodes/node2", "nodes/node2/lxc"}) {
        ASSERT_EQ(result_of(*store, MakeDirectory{path}), 0);
    }
    ASSERT_EQ(result_of(*store, CreateFile{"nodes/node1/qemu-server/100.conf"}), 0);
    ASSERT_EQ(result_of(*store, CreateFile{"nodes/node2/lxc/101.conf"}), 0);
    ASSERT_EQ(result_of(*store, WriteFile{"nodes/node2/lxc/101.conf", "x", 0, false}), 1);
    EXPECT_EQ(files.text(VirtualEntry::VmList), expected("vmlist-two-guests.txt"));
    EXPECT_NE(files.text(VirtualEntry::Version).find("\"vmlist\": 3,\n"), std::string::npos);
}

TEST_F(VirtualFilesTest, CountersOfChanges) {
    ASSERT_EQ(result_of(*store, CreateFile{"user.cfg"}), 0);
    ASSERT_EQ(result_of(*store, WriteFile{"user.cfg", "x", 0, false}), 1);
    const std::string text = files.text(VirtualEntry::Version);
    EXPECT_NE(text.find("\"user.cfg\": 3,\n"), std::string::npos);
    EXPECT_NE(text.find("\"storage.cfg\": 1,\n"), std::string::npos);
    EXPECT_TRUE(nlohmann::json::accept(text));
}

TEST_F(VirtualFilesTest, DebugSaysWhatIsSet) {
    EXPECT_EQ(files.text(VirtualEntry::Debug), "0\n");
    bool enabled = true;
    options.debug_enabled = [&] { return enabled; };
    EXPECT_EQ(files.text(VirtualEntry::Debug), "1\n");
    enabled = false;
    EXPECT_EQ(files.text(VirtualEntry::Debug), "0\n");
}

}  // namespace
}  // namespace cfsgate::gateway
