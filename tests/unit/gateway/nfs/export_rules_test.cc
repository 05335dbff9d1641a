// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/export_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cfsgate::gateway::nfs {
namespace {

using testing::HasSubstr;
using Paths = std::vector<std::string>;

ExportRule rule(std::string_view text) { return parse_export_rule(text).value(); }

std::string error_of(std::string_view text) {
    const auto parsed = parse_export_rule(text);
    if (parsed) return "none";
    EXPECT_EQ(parsed.error().code, Errno::Invalid);
    return parsed.error().detail;
}

TEST(ExportRulesTest, ARuleThatSaysNothingGivesLittle) {
    const ExportRule bare = rule("192.0.2.0/24");
    EXPECT_EQ(bare.network, Network::parse("192.0.2.0/24").value());
    EXPECT_EQ(bare.squash, Squash::Root);
    EXPECT_FALSE(bare.high_ports);
    EXPECT_TRUE(bare.restriction.read_only);
    EXPECT_EQ(bare.restriction.private_paths, Paths());
}

TEST(ExportRulesTest, OptionsComeInAnyOrder) {
    const ExportRule full =
        rule("  2001:db8::/32\tprivate=priv/acme/,/nodes/n1//priv,priv insecure  squash=none rw ");
    EXPECT_EQ(full.squash, Squash::None);
    EXPECT_TRUE(full.high_ports);
    EXPECT_FALSE(full.restriction.read_only);
    EXPECT_EQ(full.restriction.private_paths, (Paths{"priv/acme", "nodes/n1/priv", "priv"}));
    EXPECT_EQ(rule("10.0.0.1 squash=all").squash, Squash::All);
    EXPECT_EQ(rule("10.0.0.1 squash=root").squash, Squash::Root);
    EXPECT_TRUE(rule("10.0.0.1 ro").restriction.read_only);
}

TEST(ExportRulesTest, WhatIsWrongIsNamed) {
    EXPECT_THAT(error_of(""), HasSubstr("begins with an address"));
    EXPECT_THAT(error_of(" \t"), HasSubstr("begins with an address"));
    EXPECT_THAT(error_of("rw 10.0.0.0/8"), HasSubstr("\"rw\" is no IP address"));
    EXPECT_THAT(error_of("10.0.0.1/8"), HasSubstr("bits behind"));
    EXPECT_THAT(error_of("10.0.0.0/8 RW"), HasSubstr("unknown option \"RW\""));
    EXPECT_THAT(error_of("10.0.0.0/8 ro,insecure"), HasSubstr("unknown option \"ro,insecure\""));
    EXPECT_THAT(error_of("10.0.0.0/8 insecure=1"), HasSubstr("unknown option"));
    EXPECT_THAT(error_of("10.0.0.0/8 =root"), HasSubstr("unknown option"));
    EXPECT_THAT(error_of("10.0.0.0/8 squash"), HasSubstr("squash is root, all or none"));
    EXPECT_THAT(error_of("10.0.0.0/8 squash=no"), HasSubstr("not \"no\""));
    EXPECT_THAT(error_of("10.0.0.0/8 private="), HasSubstr("names no subtree"));
    EXPECT_THAT(error_of("10.0.0.0/8 private=priv,,priv"), HasSubstr("\"\" is no private subtree"));
    EXPECT_THAT(error_of("10.0.0.0/8 private=nodes"), HasSubstr("\"nodes\" is no private subtree"));
    EXPECT_THAT(error_of("10.0.0.0/8 private=private"), HasSubstr("is no private subtree"));
    EXPECT_THAT(error_of("10.0.0.0/8 private=priv/../nodes"), HasSubstr("is no plain path"));
    EXPECT_THAT(error_of("10.0.0.0/8 private=./priv"), HasSubstr("is no plain path"));
}

TEST(ExportRulesTest, NothingIsSaidTwice) {
    for (const char* text :
         {"10.0.0.0/8 ro rw", "10.0.0.0/8 ro ro", "10.0.0.0/8 insecure insecure",
          "10.0.0.0/8 squash=none rw squash=root", "10.0.0.0/8 private=priv private=priv"}) {
        EXPECT_THAT(error_of(text), HasSubstr("says again")) << text;
    }
}

TEST(ExportRulesTest, NoRuleIsForThisHost) {
    for (const char* text :
         {"127.0.0.1", "127.0.0.0/8", "127.1.0.0/16 rw", "::1", "::ffff:127.0.0.1"}) {
        EXPECT_THAT(error_of(text), HasSubstr("this host itself")) << text;
    }
    EXPECT_TRUE(parse_export_rule("0.0.0.0/0"));
    EXPECT_TRUE(parse_export_rule("::/0"));
}

TEST(ExportRulesTest, TheSmallestNetworkWinsAndThenTheFirst) {
    const ExportRules rules({rule("10.0.0.0/8 rw"), rule("10.1.0.0/16 squash=all"),
                             rule("10.1.0.0/16 squash=none"), rule("0.0.0.0/0 insecure"),
                             rule("2001:db8::/32")});
    const auto found = [&](const char* address) -> std::string {
        const ExportRule* hit = rules.find(IpAddress::parse(address).value());
        return hit == nullptr ? "none" : hit->network.to_string();
    };
    EXPECT_EQ(found("10.2.0.1"), "10.0.0.0/8");
    EXPECT_EQ(found("10.1.0.1"), "10.1.0.0/16");
    EXPECT_EQ(rules.find(IpAddress::parse("10.1.0.1").value())->squash, Squash::All);
    EXPECT_EQ(found("192.0.2.1"), "0.0.0.0/0");
    EXPECT_EQ(found("2001:db8::5"), "2001:db8::/32");
    EXPECT_EQ(found("2001:db9::5"), "none");
    EXPECT_EQ(ExportRules().find(IpAddress()), nullptr);
    EXPECT_TRUE(ExportRules().empty());
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
