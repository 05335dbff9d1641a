// SPDX-License-Identifier: Apache-2.0
#include "clients/doctor_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cfsgate::clients {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using Addresses = std::vector<std::string>;

CorosyncSettings settings_of(std::uint64_t token, std::uint64_t consensus) {
    CorosyncSettings settings;
    settings.token_ms = token;
    settings.consensus_ms = consensus;
    settings.encrypted = true;
    settings.key_file = "/k";
    settings.node_names = {"node1", "node2"};
    return settings;
}

TEST(DoctorChecks, ANameMustHaveAnAddressThatOthersReach) {
    EXPECT_EQ(check_node_name("n", Addresses{"10.0.0.1"}).level, Level::Ok);
    EXPECT_EQ(check_node_name("n", Addresses{"127.0.1.1"}).level, Level::Problem);
    EXPECT_EQ(check_node_name("n", Addresses{"::1", "127.0.0.1"}).level, Level::Problem);
    EXPECT_EQ(check_node_name("n", Addresses{"127.0.1.1", "10.0.0.1"}).level, Level::Warning);
    EXPECT_EQ(check_node_name("n", fail(Errno::NotFound, "unknown")).level, Level::Problem);
}

TEST(DoctorChecks, ThisNodeMustBeInTheNodeList) {
    EXPECT_EQ(check_node_list("node2", settings_of(1, 1)).level, Level::Ok);
    EXPECT_EQ(check_node_list("node3", settings_of(1, 1)).level, Level::Problem);
}

TEST(DoctorChecks, TimeoutsAreComparedWithTheWatchdog) {
    EXPECT_EQ(check_timeouts(settings_of(13'636, 16'364)).level, Level::Ok);  // 30 s
    EXPECT_EQ(check_timeouts(settings_of(13'637, 16'364)).level, Level::Warning);
    EXPECT_EQ(check_timeouts(settings_of(27'000, 33'000)).level, Level::Problem);
}

TEST(DoctorChecks, TheCopiesOfCorosyncConfMustBeTheSame) {
    const std::string old_text = "totem {\nconfig_version: 1\n}\n";
    const std::string new_text = "totem {\nconfig_version: 2\n}\n";
    EXPECT_EQ(check_conf_copies("f", old_text, old_text).level, Level::Ok);
    EXPECT_EQ(check_conf_copies("f", old_text, std::nullopt).level, Level::NotChecked);
    const Finding newer = check_conf_copies("f", new_text, old_text);
    EXPECT_EQ(newer.level, Level::Problem);
    EXPECT_THAT(newer.text, HasSubstr("version 2 in f, 1 in the tree"));
    EXPECT_EQ(check_conf_copies("f", old_text, new_text).level, Level::Problem);
    EXPECT_EQ(check_conf_copies("f", old_text + "\n", old_text).level, Level::Problem);
}

TEST(DoctorChecks, TheKeyIsThereLongEnoughAndForRootAlone) {
    const CorosyncSettings settings = settings_of(1, 1);
    EXPECT_EQ(check_key(settings, KeyFile{0400, 0, 128, "ab12"}).level, Level::Ok);
    EXPECT_THAT(check_key(settings, KeyFile{0400, 0, 128, "ab12"}).text, HasSubstr("ab12"));
    EXPECT_EQ(check_key(settings, KeyFile{0440, 0, 128, ""}).level, Level::Warning);
    EXPECT_THAT(check_key(settings, KeyFile{0640, 0, 128, ""}).text, HasSubstr("mode 0640"));
    EXPECT_EQ(check_key(settings, KeyFile{0400, 5, 128, ""}).level, Level::Warning);
    EXPECT_EQ(check_key(settings, KeyFile{0400, 0, 127, ""}).level, Level::Problem);
    EXPECT_EQ(check_key(settings, fail(Errno::NotFound, "/k")).level, Level::Problem);
    CorosyncSettings open = settings;
    open.encrypted = false;
    EXPECT_EQ(check_key(open, fail(Errno::NotFound, "/k")).level, Level::Warning);
}

TEST(DoctorChecks, ADiskThatIsAlmostFull) {
    constexpr std::uint64_t kMebibyte = 1ULL << 20;
    EXPECT_EQ(check_space("d", 256 * kMebibyte).level, Level::Ok);
    EXPECT_EQ(check_space("d", 256 * kMebibyte - 1).level, Level::Warning);
    EXPECT_EQ(check_space("d", 32 * kMebibyte - 1).level, Level::Problem);
    EXPECT_EQ(check_space("d", fail(Errno::NotFound, "d")).level, Level::NotChecked);
}

TEST(DoctorChecks, CorosyncIsFoundByItsSocket) {
    const std::string head = "0000: 00000002 00000000 00010000 0001 01 123 ";
    EXPECT_TRUE(corosync_listens(head + "@cpg\n"));
    EXPECT_TRUE(corosync_listens(head + "@cpg@@@@@@\n"));
    EXPECT_TRUE(corosync_listens(head + "/run/cpg\n" + head + "@x\n"));
    EXPECT_TRUE(corosync_listens(head + "@cpg"));
    EXPECT_FALSE(corosync_listens(head + "@cpgx\n" + head + "/run/mycpg\n"));
    EXPECT_FALSE(corosync_listens(""));
    const json lost = {{"cluster", {{"configuration", {{"mode", "not connected"}}}}}};
    EXPECT_EQ(check_corosync(true, lost).level, Level::Problem);
    EXPECT_EQ(check_corosync(true, json()).level, Level::Ok);
    EXPECT_EQ(check_corosync(false, json()).level, Level::Problem);
}

TEST(DoctorChecks, AClockThatIsLateOrThatNobodyKeeps) {
    EXPECT_EQ(check_clock({true, 1000, 1005, "f"}).level, Level::Ok);
    EXPECT_EQ(check_clock({true, 1000, 1006, "f"}).level, Level::Warning);
    EXPECT_EQ(check_clock({false, 1000, 0, ""}).level, Level::Warning);
}

TEST(DoctorChecks, WhatTheDaemonSaysOfTheCluster) {
    json status = json::parse(R"({"store": {"failure": null}, "cluster": {
        "quorate": true, "nodes": [{"name": "a", "online": true}],
        "configuration": {"mode": "synced", "last_leave": null}, "status": {},
        "last_verification": null}})");
    for (const auto check : {check_quorum, check_members, check_groups, check_protocol,
                             check_verification, check_store}) {
        EXPECT_EQ(check(status).level, Level::Ok) << check(status).check;
    }
    json& cluster = status["cluster"];
    cluster["quorate"] = false;
    cluster["nodes"][0]["online"] = false;
    cluster["configuration"] = {{"mode", "left"},
                                {"last_leave", "a member speaks a newer protocol"}};
    cluster["last_verification"] = {{"equal", false}};
    status["store"]["failure"] = "a flush failed";
    for (const auto check :
         {check_quorum, check_groups, check_protocol, check_verification, check_store}) {
        EXPECT_EQ(check(status).level, Level::Problem) << check(status).check;
    }
    EXPECT_EQ(check_members(status).level, Level::Warning);
}

}  // namespace
}  // namespace cfsgate::clients
