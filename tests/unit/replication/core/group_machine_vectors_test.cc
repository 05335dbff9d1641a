// SPDX-License-Identifier: Apache-2.0
// What the original did in whole rounds, done again by our machines with real stores: every message
// to the byte, every mode, every result, and the trees at the end.
#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/replication/core/recorded_messages.h"
#include "tests/unit/replication/core/store_node.h"

namespace cfsgate::replication {
namespace {

using nlohmann::json;
using test::checksum_of;
using test::inode_of;
using test::take;

constexpr std::uint32_t kBefore = 1700000100;

Member member(std::uint32_t node) { return {NodeId(node), node * 1001}; }

/// As the recordings name modes.
int number_of(const Mode& mode) {
    if (std::holds_alternative<Joining>(mode)) return 0;
    if (std::holds_alternative<CollectingIndexes>(mode)) return 1;
    if (std::holds_alternative<Synced>(mode)) return 2;
    if (std::holds_alternative<AwaitingUpdates>(mode)) return 3;
    return 253;
}

bool is_update(std::string_view message) {
    return message.starts_with(std::string_view("\3\0", 2));
}

/// A group that delivers in the order of the recording, to all members at once.
class GroupVectorsTest : public testing::TestWithParam<Conduct> {
protected:
    StoreNode& add_node(std::uint32_t number) {
        nodes.push_back(std::make_unique<StoreNode>(member(number), GetParam()));
        return *nodes.back();
    }
    StoreNode& node(std::uint32_t number) {
        for (const auto& one : nodes) {
            if (one->self() == member(number)) return *one;
        }
        throw std::logic_error("no such node");
    }
    void set_time(std::uint32_t time) {
        for (const auto& one : nodes) one->set_time(time);
    }
    void change_view(const std::vector<std::uint32_t>& numbers, bool joined) {
        view.clear();
        for (const std::uint32_t number : numbers) view.push_back(member(number));
        for (const Member& one : view) node(one.node.value()).step(ViewChanged{view, joined});
    }
    void deliver(const Member& from, const std::string& bytes) {
        for (const Member& to : view) node(to.node.value()).step(Delivered{from, bytes});
    }
    /// Delivers what is on its way until nothing is.
    void settle() {
        for (bool busy = true; busy;) {
            busy = false;
            for (const auto& one : nodes) {
                if (one->outbox.empty()) continue;
                deliver(one->self(), take_front(*one));
                busy = true;
            }
        }
    }
    static std::string take_front(StoreNode& from) {
        std::string bytes = std::move(from.outbox.front());
        from.outbox.pop_front();
        return bytes;
    }
    /// Takes the recorded message out of what its sender has sent. It must be the next one; updates
    /// may come in any order.
    bool take_sent(StoreNode& from, const std::string& bytes) {
        const auto end = std::find_if_not(from.outbox.begin(), from.outbox.end(), is_update);
        const auto first = from.outbox.begin();
        const auto found =
            is_update(bytes)
                ? std::find(first, end, bytes)
                : std::find(first, std::min(std::next(first), from.outbox.end()), bytes);
        if (found == (is_update(bytes) ? end : from.outbox.end()) || *found != bytes) return false;
        from.outbox.erase(found);
        return true;
    }
    void replay(const json& row) {
        const std::string bytes = test::recorded(row).bytes;
        StoreNode& from = node(row.at("sender_nodeid").get<std::uint32_t>());
        ASSERT_FALSE(from.outbox.empty()) << row;
        ASSERT_TRUE(take_sent(from, bytes))
            << row << " next: " << test::to_hex(from.outbox.front());
        deliver(from.self(), bytes);
        const char* const key =
            row.contains("modes_after") ? "modes_after" : "modes_after_delivery";
        if (row.contains(key)) expect_modes(row[key], row);
    }
    void expect_modes(const json& expected, const json& context) {
        std::vector<int> modes;
        for (const Member& one : view) {
            modes.push_back(number_of(node(one.node.value()).machine.mode()));
        }
        EXPECT_EQ(modes, expected.get<std::vector<int>>()) << context;
    }
    void expect_results(const json& results) {
        for (const json& expected : results) {
            StoreNode& one = node(expected.at("nodeid").get<std::uint32_t>());
            EXPECT_TRUE(one.outbox.empty());
            EXPECT_TRUE(one.reasons_to_leave.empty());
            EXPECT_EQ(one.version(), expected["root_version"].get<std::uint64_t>());
            EXPECT_EQ(checksum_of(one.store()), expected["verify_checksum"]);
            for (const char* path : {"a", "b"}) {
                const std::string key = std::string("inode_of_") + path;
                if (!expected.contains(key)) continue;
                const auto inode = expected[key].get<std::uint64_t>();
                EXPECT_EQ(test::exists_in(one.store(), path), inode != 0) << path;
                if (inode == 0) continue;
                EXPECT_EQ(inode_of(one.store(), path).number, InodeNumber(inode));
            }
        }
    }

    std::vector<std::unique_ptr<StoreNode>> nodes;
    std::vector<Member> view;
};

/// No peer can tell the two apart.
const auto kConducts = testing::Values(Conduct::Careful, Conduct::AsTheOriginal);

std::string name_of(const testing::TestParamInfo<Conduct>& info) {
    return info.param == Conduct::Careful ? "Careful" : "AsTheOriginal";
}

// --- dcdb-sync-traces.json ---

Operation operation_of(const json& row) {
    const auto path = row.at("path").get<std::string>();
    if (row.at("op") == "mkdir") return MakeDirectory{path};
    if (row.at("op") == "create") return CreateFile{path};
    if (row.at("op") != "write") throw std::runtime_error("unknown operation");
    return WriteFile{path, row.at("data").get<std::string>(), 0, false};
}

class SyncTraceTest : public GroupVectorsTest {
protected:
    void build(const json& database) {
        StoreNode& one = add_node(database.at("nodeid").get<std::uint32_t>());
        ASSERT_EQ(one.self().pid, database.at("pid").get<std::uint32_t>());
        for (const json& row : database.at("operations")) {
            one.put(operation_of(row), {NodeId(row.at("writer").get<std::uint32_t>()),
                                        row.at("mtime").get<std::uint32_t>()});
        }
        EXPECT_EQ(test::to_hex(one.index()), database.at("index_hex"));
    }
    void meet() {
        set_time(kBefore);
        std::vector<std::uint32_t> all;
        for (const auto& one : nodes) {
            all.push_back(one->self().node.value());
            change_view({all.back()}, true);
            EXPECT_TRUE(one->machine.is_synced());
        }
        set_time(kBefore + 10);
        change_view(all, true);
    }
    void verify(const json& verification) {
        set_time(verification.at("time").get<std::uint32_t>());
        for (const auto& one : nodes) one->step(VerifyDue{});
        for (const json& row : verification.at("messages")) replay(row);
        expect_modes(verification.at("modes_after"), verification);
        for (const auto& one : nodes) {
            EXPECT_EQ(one->verifications, (std::vector<std::pair<std::uint64_t, bool>>{{1, true}}));
        }
    }
};

INSTANTIATE_TEST_SUITE_P(Conduct, SyncTraceTest, kConducts, name_of);

TEST_P(SyncTraceTest, EveryRoundGoesAsRecorded) {
    const json vectors = test::load_vectors("dcdb-sync-traces.json");
    ASSERT_EQ(vectors.at("scenarios").size(), 5U);
    for (const json& scenario : vectors["scenarios"]) {
        SCOPED_TRACE(scenario.at("name"));
        nodes.clear();
        for (const json& database : scenario.at("databases")) build(database);
        meet();
        for (const json& row : scenario.at("trace")) replay(row);
        expect_results(scenario.at("result"));
        verify(scenario.at("verification"));
        expect_results(scenario.at("result"));
        if (HasFatalFailure()) return;
    }
}

// --- dcdb-queue-order.json ---

class QueueOrderTest : public GroupVectorsTest {
protected:
    /// Nodes 1 and 2 have synchronised and node 1 has created x0 to x9; node 3 is alone.
    void SetUp() override {
        for (const std::uint32_t number : {1U, 2U, 3U}) add_node(number);
        set_time(kBefore);
        for (const std::uint32_t number : {1U, 2U, 3U}) change_view({number}, true);
        change_view({1, 2}, true);
        settle();
        for (int i = 0; i < 10; ++i) {
            node(1).step(Submit{Operation(CreateFile{"x" + std::to_string(i)})});
            settle();
        }
        ASSERT_EQ(node(1).version(), 11U);
        ASSERT_EQ(node(1).index(), node(2).index());
    }
    /// Submitted while that is allowed, but on its way for a while.
    std::string submit(std::uint32_t number, const std::string& path) {
        node(number).step(Submit{Operation(CreateFile{path})});
        std::string bytes = std::move(node(number).outbox.back());
        node(number).outbox.pop_back();
        return bytes;
    }
    static json trace_of(const std::string& name) {
        const json vectors = test::load_vectors("dcdb-queue-order.json");
        for (const json& scenario : vectors.at("scenarios")) {
            if (scenario.at("name") == name) return scenario;
        }
        throw std::runtime_error("no such scenario");
    }
};

INSTANTIATE_TEST_SUITE_P(Conduct, QueueOrderTest, kConducts, name_of);

TEST_P(QueueOrderTest, QueuedMessagesAreAppliedByCountAsRecorded) {
    const json scenario = trace_of("sorted-by-message-count");
    const std::string a = submit(1, "a");
    const std::string b = submit(2, "b");
    change_view({1, 2, 3}, true);
    bool sent = false;
    for (const json& row : scenario.at("trace")) {
        replay(row);
        if (HasFatalFailure()) return;
        if (std::exchange(sent, true)) continue;
        // Behind the start of the round.
        node(1).outbox.push_front(a);
        node(2).outbox.push_front(b);
    }
    expect_results(scenario.at("result"));
    EXPECT_EQ(node(1).results.at(11), 0);
    EXPECT_EQ(node(2).results.at(1), 0);
}

TEST_P(QueueOrderTest, QueuedMessagesAreSentAgainWhenANodeJoinsAsRecorded) {
    const json scenario = trace_of("resend-on-join");
    const std::string a = submit(1, "a");
    change_view({1, 2}, false);
    bool has_joined = false;
    for (const json& row : scenario.at("trace")) {
        if (!has_joined && row.at("modes_after").size() == 3) {
            has_joined = true;
            change_view({1, 2, 3}, true);
        }
        if (row["type_name"] == "NORMAL" && !has_joined) node(1).outbox.push_front(a);
        replay(row);
        if (HasFatalFailure()) return;
    }
    EXPECT_TRUE(has_joined);
    expect_results(scenario.at("result"));
    EXPECT_EQ(node(1).results.at(11), 0);
}

// --- dcdb-normal-messages.json ---

class NormalMessagesTest : public GroupVectorsTest {
protected:
    void SetUp() override {
        add_node(1);
        set_time(kBefore);
        change_view({1}, true);
    }
    /// The call that led to the recorded message.
    static GroupOperation call_of(const std::string& bytes) {
        const Message message = take(decode_message(bytes, 1));
        const auto& normal = std::get<NormalMessage>(message);
        return take(decode_operation(normal.subtype, normal.body));
    }
    std::uint64_t call(const json& row) {
        const std::string bytes = test::recorded(row).bytes;
        set_time(row.at("header_time").get<std::uint32_t>());
        node(1).step(Submit{call_of(bytes)});
        expect_next(row);
        return node(1).machine.last_count();
    }
    /// The next message is the recorded one; it is delivered.
    void expect_next(const json& row) {
        ASSERT_FALSE(node(1).outbox.empty()) << row;
        const std::string sent = take_front(node(1));
        EXPECT_EQ(test::to_hex(sent), row.at("message_hex")) << row;
        deliver(member(1), sent);
    }
    void expect_tree(const json& row) {
        EXPECT_EQ(node(1).version(), row.at("root_version_after").get<std::uint64_t>()) << row;
        EXPECT_EQ(checksum_of(node(1).store()), row.at("verify_checksum_after")) << row;
    }
};

INSTANTIATE_TEST_SUITE_P(Conduct, NormalMessagesTest, kConducts, name_of);

TEST_P(NormalMessagesTest, EveryCallGoesAsRecorded) {
    const json vectors = test::load_vectors("dcdb-normal-messages.json");
    for (const json& row : vectors.at("messages")) {
        const std::uint64_t count = call(row);
        EXPECT_EQ(count, row.at("message_count").get<std::uint64_t>());
        EXPECT_EQ(node(1).results.at(count), row.at("result").get<int>()) << row;
        expect_tree(row);
        EXPECT_TRUE(node(1).outbox.empty());
    }
    const Inode lock = inode_of(node(1).store(), "priv/lock/file-user_cfg");
    EXPECT_EQ(cfsgate::to_hex(entry_checksum(lock, {})), vectors["lock_entry"]["entry_checksum"]);

    call(vectors.at("unlock_request_too_early"));
    EXPECT_TRUE(node(1).outbox.empty()) << "its time is not over";
    call(vectors.at("unlock_request_expired"));
    expect_next(vectors.at("unlock_sent_by_lowest_node"));
    expect_tree(vectors.at("unlock_sent_by_lowest_node"));
    EXPECT_FALSE(test::exists_in(node(1).store(), "priv/lock/file-user_cfg"));
    EXPECT_TRUE(node(1).reasons_to_leave.empty());
}

}  // namespace
}  // namespace cfsgate::replication
