// SPDX-License-Identifier: Apache-2.0
// What people read of a cluster: `status` and `top`.
#include "clients/cluster_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clients/top_text.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json sample() {
    return json::parse(R"({
        "node": "node1", "mode": "cluster", "pid": 7, "tree": {"version": 55},
        "sequencer": {"completed": 100, "batches": 10, "flushes": 5, "oldest_waiting_ms": 12},
        "nfs": {"requests": 1000}, "mount": {"requests": 3},
        "cluster": {
            "name": "lab", "config_version": 4, "node_id": 1, "quorate": true,
            "quorate_since": 1700000000, "why_not_quorate": null,
            "nodes": [
                {"id": 1, "name": "node1", "votes": 1, "addresses": ["10.0.0.1"], "online": true,
                 "ip": "192.0.2.1"},
                {"id": 2, "name": "node2", "votes": 1, "addresses": ["10.0.0.2"], "online": false,
                 "ip": null}],
            "votes": {"expected": 3, "total": 2, "needed": 2, "device": "Qdevice",
                      "device_state": "alive"},
            "configuration": {"mode": "synced", "members": [1, 2], "leaves": 1,
                              "last_leave": "corosync is gone", "unsent": 0, "queued": 0},
            "status": {"mode": "synced", "members": [1], "leaves": 0, "last_leave": null,
                       "unsent": 0, "queued": 0},
            "last_leader": 2, "last_verification": {"number": 3, "equal": true, "at": 1700000100},
            "in_flight": 4, "held": 5, "apply_waiting": 6, "apply_lag_ms": 7}})");
}

std::string text_of(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
}

TEST(ClusterText, IsNotThereInLocalMode) {
    EXPECT_TRUE(cluster_lines(json::parse(R"({"mode": "local", "cluster": null})")).empty());
}

TEST(ClusterText, SaysAllThatIsKnown) {
    const std::string text = text_of(cluster_lines(sample()));
    for (const char* const part :
         {"Cluster lab", "yes, since 20", "2 of 3, 2 needed; quorum device Qdevice: alive",
          "synced; members 1 2; unsent 0, queued 0; left once, last because: corosync is gone",
          "node2 (2)", "tree 55, corosync.conf 4", "4 in flight, 5 held, oldest 12 ms",
          "6 waiting, lag 7 ms", "equal, 20", "number 3", "ID  NAME   ADDRESS    ONLINE  VOTES",
          "1   node1  192.0.2.1  yes     1  (this node)", "2   node2  10.0.0.2   no      1"}) {
        EXPECT_THAT(text, HasSubstr(part));
    }
}

TEST(ClusterText, SaysWhyThereIsNoQuorum) {
    json status = sample();
    status["cluster"]["quorate"] = false;
    status["cluster"]["why_not_quorate"] = "1 of 3 votes are here, 2 are needed";
    EXPECT_THAT(quorum_text(status), ::testing::StartsWith("NO, since 20"));
    EXPECT_THAT(quorum_text(status), HasSubstr(": 1 of 3 votes are here, 2 are needed"));
}

TEST(ClusterText, ALostConnectionHasNoMembers) {
    json status = sample();
    status["cluster"]["configuration"]["mode"] = "not connected";
    EXPECT_THAT(text_of(cluster_lines(status)), HasSubstr("  not connected; unsent 0"));
}

TEST(ClusterText, LivesWithAnAnswerThatIsNotAsAgreed) {
    for (const char* const text :
         {R"({"cluster": {}})", R"({"cluster": {"nodes": [1, {"id": "x"}], "votes": 3}})",
          R"({"cluster": {"nodes": [{"id": 1, "addresses": [2]}], "last_verification": []}})"}) {
        EXPECT_FALSE(cluster_lines(json::parse(text)).empty());
        EXPECT_FALSE(top_lines(json::parse(text), json::parse(text), 1).empty());
    }
    EXPECT_FALSE(top_lines(json(), json::array(), 0).empty());
}

TEST(TopText, RatesAreOfTheTimeBetween) {
    json now = sample();
    now["sequencer"]["completed"] = 125U;
    now["nfs"]["requests"] = 1001U;
    const std::string text = text_of(top_lines(sample(), now, 2.0));
    for (const char* const part :
         {"12.5/s", "0.5/s", "0.0/s", "4 / 5", "12 ms", "1 of 2 online; offline: node2"}) {
        EXPECT_THAT(text, HasSubstr(part));
    }
}

TEST(TopText, HasNoRatesAcrossARestart) {
    json now = sample();
    now["pid"] = 8;
    EXPECT_THAT(text_of(top_lines(sample(), now, 1.0)), ::testing::Not(HasSubstr("/s")));
}

}  // namespace
}  // namespace cfsgate::clients
