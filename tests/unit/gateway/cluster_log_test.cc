// SPDX-License-Identifier: Apache-2.0
#include "gateway/cluster_log.h"

#include <gtest/gtest.h>

#include "tests/support/vectors.h"

namespace cfsgate::gateway {
namespace {

LogEntry entry(std::uint32_t time, const std::string& message) {
    return {0, time, 6, "cluster", 1001, "", "root", message};
}
std::string expected(const std::string& name) {
    return test::read_file(test::data_path("vectors/virtual-files/" + name));
}

TEST(ClusterLogTest, TextsOfTheOriginal) {
    ClusterLog log("node1");
    EXPECT_EQ(log.to_json(50), expected("clusterlog-no-match.txt"));
    log.add(entry(1700000000, "starting cluster log"));
    EXPECT_EQ(log.to_json(50), expected("clusterlog-one-entry.txt"));
    EXPECT_EQ(log.to_json(0), expected("clusterlog-no-match.txt"));
}

TEST(ClusterLogTest, NewestFirstAndBounded) {
    ClusterLog log("node1");
    for (std::uint32_t i = 1; i <= 3000; ++i) log.add(entry(i, std::to_string(i)));
    const auto shown = nlohmann::json::parse(log.to_json(50))["data"];
    ASSERT_EQ(shown.size(), 50U);
    EXPECT_EQ(shown[0]["uid"], 3000);
    EXPECT_EQ(shown[49]["uid"], 2951);
    EXPECT_EQ(shown[0]["node"], "node1");
    EXPECT_LE(nlohmann::json::parse(log.to_json(100000))["data"].size(), 1000U);
}

TEST(ClusterLogTest, WhateverIsLoggedIsJson) {
    ClusterLog log("node1");
    std::string all;
    for (int c = 0; c < 128; ++c) all.push_back(static_cast<char>(c));
    LogEntry odd = entry(1, all);
    odd.tag = "a\"b\\";
    odd.user = "x\ny";
    log.add(odd);
    const auto shown = nlohmann::json::parse(log.to_json(50))["data"][0];
    EXPECT_EQ(shown["msg"].get<std::string>(), all);
    EXPECT_EQ(shown["tag"], "a\"b\\");
    EXPECT_EQ(shown["user"], "x\ny");
}

}  // namespace
}  // namespace cfsgate::gateway
