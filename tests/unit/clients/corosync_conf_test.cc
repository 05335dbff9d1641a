// SPDX-License-Identifier: Apache-2.0
#include "clients/corosync_conf.h"

#include <gtest/gtest.h>

#include "store/base/files.h"

namespace cfsgate::clients {
namespace {

ConfSection parsed(std::string_view text) {
    auto conf = parse_corosync_conf(text);
    if (!conf) ADD_FAILURE() << conf.error().detail;
    return conf ? std::move(*conf) : ConfSection();
}

CorosyncSettings settings(std::string_view text) { return corosync_settings(parsed(text)); }

CorosyncSettings recorded(const std::string& name) {
    const auto text =
        read_small_file(std::string(CFSGATE_TEST_DATA "/vectors/corosync-conf/") + name);
    if (!text) ADD_FAILURE() << text.error().detail;
    return settings(text.value_or(""));
}

std::string nodes(std::size_t count, const std::string& totem = "") {
    std::string text = "totem {\n" + totem + "\n}\nnodelist {\n";
    for (std::size_t i = 0; i < count; ++i) text += "node {\n}\n";
    return text + "}\n";
}

TEST(CorosyncConf, ReadsWhatTheToolsWrite) {
    const CorosyncSettings one = recorded("create-default.conf");
    EXPECT_EQ(one.cluster_name, "testcl");
    EXPECT_EQ(one.config_version, 1U);
    EXPECT_EQ(one.node_names, std::vector<std::string>{"node1"});
    EXPECT_TRUE(one.encrypted);
    EXPECT_EQ(one.key_file, "/etc/corosync/authkey");

    const CorosyncSettings two = recorded("after-qdevice-setup.conf");
    EXPECT_EQ(two.config_version, 3U);
    EXPECT_EQ(two.node_names, (std::vector<std::string>{"node1", "node2"}));
    EXPECT_EQ(two.token_ms, 3000U);

    for (const char* const name :
         {"after-addnode.conf", "create-two-links.conf", "after-qdevice-remove-and-delnode.conf"}) {
        EXPECT_EQ(recorded(name).cluster_name, "testcl") << name;
    }
}

TEST(CorosyncConf, BracesMayStandAnywhereAndCommentsEndALine) {
    for (const char* const name : {"normalised-input.conf", "normalised.conf"}) {
        const CorosyncSettings found = recorded(name);
        EXPECT_EQ(found.config_version, 9U) << name;
        EXPECT_EQ(found.cluster_name, "x") << name;
        EXPECT_EQ(found.node_names.size(), 2U) << name;
        EXPECT_FALSE(found.encrypted) << name;
    }
    const ConfSection conf = parsed("# a {\na {\n  k: fe80::1 # c\n  b { x: 1 } }\n");
    EXPECT_EQ(conf.section("a").value("k"), "fe80::1");
    EXPECT_EQ(conf.section("a").section("b").number("x", 0), 1U);
    EXPECT_EQ(conf.section("c").value("k", "none"), "none");
}

TEST(CorosyncConf, SaysInWhichLineItIsWrong) {
    for (const char* const text :
         {"\na {\n", "a {\n}\n}\n", "\n\nword\n", "a {\n: x\n}", "a {\nb }"}) {
        const auto conf = parse_corosync_conf(text);
        ASSERT_FALSE(conf) << text;
        EXPECT_EQ(conf.error().code, Errno::Invalid);
        EXPECT_TRUE(conf.error().detail.starts_with("line ")) << conf.error().detail;
    }
    EXPECT_TRUE(parse_corosync_conf(""));
}

TEST(CorosyncConf, TheLastOfSeveralValuesCounts) {
    const ConfSection conf = parsed("k: 1\nk: 2\nbad: 3x\n");
    EXPECT_EQ(conf.number("k", 0), 2U);
    EXPECT_EQ(conf.number("bad", 7), 7U);
}

TEST(CorosyncConf, TheTokenGrowsWithTheThirdNode) {
    EXPECT_EQ(settings(nodes(2)).token_ms, 3000U);
    EXPECT_EQ(settings(nodes(2)).consensus_ms, 3600U);
    EXPECT_EQ(settings(nodes(3)).token_ms, 3650U);
    EXPECT_EQ(settings(nodes(8)).token_ms, 3000U + 6 * 650);
    EXPECT_EQ(settings(nodes(8, "token_coefficient: 125")).token_ms, 3750U);
    EXPECT_EQ(settings(nodes(8, "token_coefficient: 125")).consensus_ms, 4500U);
    EXPECT_EQ(settings(nodes(3, "token: 1000\nconsensus: 5000")).consensus_ms, 5000U);
}

TEST(CorosyncConf, EncryptionIsImpliedOrExplicitAndOnlyOfKnet) {
    EXPECT_FALSE(settings(nodes(1)).encrypted);
    EXPECT_TRUE(settings(nodes(1, "secauth: on")).encrypted);
    EXPECT_FALSE(
        settings(nodes(1, "secauth: on\ncrypto_cipher: none\ncrypto_hash: none")).encrypted);
    EXPECT_TRUE(settings(nodes(1, "crypto_cipher: aes256\ncrypto_hash: sha256")).encrypted);
    EXPECT_FALSE(settings(nodes(1, "secauth: on\ntransport: udpu")).encrypted);
    EXPECT_EQ(settings(nodes(1, "keyfile: /k")).key_file, "/k");
    EXPECT_TRUE(settings(nodes(1, "key: x")).key_in_text);
}

}  // namespace
}  // namespace cfsgate::clients
