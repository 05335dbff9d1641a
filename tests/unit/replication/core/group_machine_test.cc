// SPDX-License-Identifier: Apache-2.0
// The rules of the state machine, one test each. WIRE.md says the protocol.
#include "replication/core/group_machine.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "replication/core/state_sync.h"
#include "store/base/bytes.h"
#include "store/model/digest.h"
#include "store/model/index.h"

namespace cfsgate::replication {
namespace {

constexpr std::uint32_t kNow = 1700000200;
constexpr std::uint16_t kCreate = 5;

Member member(std::uint32_t node) { return {NodeId(node), node * 1001}; }

template <class Kind>
std::vector<Kind> all_of(const Effects& effects) {
    std::vector<Kind> found;
    for (const Effect& effect : effects) {
        if (const auto* one = std::get_if<Kind>(&effect)) found.push_back(*one);
    }
    return found;
}

/// The one effect of this kind.
template <class Kind>
Kind only(const Effects& effects) {
    auto found = all_of<Kind>(effects);
    if (found.size() != 1) throw std::runtime_error("not one effect of this kind");
    return std::move(found.front());
}

bool leaves(const Effects& effects) { return !all_of<Leave>(effects).empty(); }

std::string path_of(const Apply& apply) {
    return std::get<CreateFile>(std::get<Operation>(apply.operation)).path;
}

std::vector<std::string> applied_paths(const Effects& effects) {
    std::vector<std::string> paths;
    for (const Apply& apply : all_of<Apply>(effects)) paths.push_back(path_of(apply));
    return paths;
}

using Paths = std::vector<std::string>;

std::vector<MessageType> sent_types(const Effects& effects) {
    std::vector<MessageType> types;
    for (const Multicast& sent : all_of<Multicast>(effects)) {
        types.push_back(static_cast<MessageType>(sent.bytes.at(0)));
    }
    return types;
}

using Types = std::vector<MessageType>;

std::string index_of(std::uint64_t version, std::string_view word = "content") {
    Index index;
    index.head = {Version(version), NodeId(1), kNow};
    index.entries = {{InodeNumber(0), Sha256::of(word)},
                     {InodeNumber(2), Sha256::of(std::to_string(version))}};
    index.last_inode = InodeNumber(2);
    return encode_index(index);
}

Entry sample_entry(std::uint64_t number) {
    Entry entry;
    entry.inode.number = InodeNumber(number);
    entry.inode.name = "f" + std::to_string(number);
    return entry;
}

std::string number_body(std::uint64_t number) {
    ByteWriter out;
    out.put(number);
    return out.take();
}

std::string verify_body(std::uint64_t number, const Digest& digest) {
    return number_body(number) +
           std::string(reinterpret_cast<const char*>(digest.data()), digest.size());
}

NormalMessage create(std::uint64_t count, const std::string& path) {
    return {kCreate, kNow - 5, count, encode_operation(Operation(CreateFile{path})).body};
}

/// A quorate machine of node 2 in the configuration group, not yet in a view.
class GroupMachineTest : public testing::Test {
protected:
    explicit GroupMachineTest(GroupKind kind = GroupKind::Configuration,
                              Conduct conduct = Conduct::Careful)
        : machine(kind, member(2), conduct), protocol(kind == GroupKind::Configuration ? 1 : 0) {
        machine.step(QuorumChanged{true}, kNow);
    }

    Effects view(const std::vector<std::uint32_t>& nodes, bool joined = true) {
        ViewChanged event{{}, joined};
        for (const std::uint32_t node : nodes) event.members.push_back(member(node));
        return machine.step(event, kNow);
    }
    Effects deliver(std::uint32_t from, const std::string& bytes) {
        return machine.step(Delivered{member(from), bytes}, kNow);
    }
    Effects deliver(std::uint32_t from, const NormalMessage& message) {
        return deliver(from, encode_message(message, protocol));
    }
    Effects deliver(std::uint32_t from, MessageType type, const std::string& body = {}) {
        return deliver(from, sync_message(static_cast<std::uint16_t>(type), body));
    }
    std::string sync_message(std::uint16_t type, const std::string& body = {}) const {
        return encode_message(SyncMessage{type, kNow - 1, epoch, body}, protocol);
    }
    Effects submit(const std::string& path) {
        return machine.step(Submit{Operation(CreateFile{path})}, kNow);
    }

    /// Waiting for the states of these nodes under `epoch`.
    void collect(const std::vector<std::uint32_t>& nodes, bool joined = true) {
        view(nodes, joined);
        ++epoch.counter;
        deliver(nodes.front(), MessageType::SyncStart);
    }
    /// Nodes 1 and 2; ours is the older tree, so the updates of node 1 are awaited.
    void await_updates() {
        collect({1, 2});
        deliver(1, MessageType::State, index_of(9));
        deliver(2, MessageType::State, index_of(8));
        ASSERT_TRUE(in<AwaitingUpdates>());
    }
    /// Nodes 1 and 2 with equal trees, of which node 1 says so.
    void synced() {
        collect({1, 2});
        deliver(1, MessageType::State, index_of(9));
        deliver(2, MessageType::State, index_of(9));
        deliver(1, MessageType::UpdateComplete);
        ASSERT_TRUE(machine.is_synced());
    }
    /// The round in which node 3 is behind nodes 1 and 2, up to its conclusion.
    Effects conclude_with_node_3_behind() {
        deliver(1, MessageType::State, index_of(9));
        deliver(2, MessageType::State, index_of(9));
        return deliver(3, MessageType::State, index_of(8));
    }

    template <class ModeType>
    bool in() const {
        return std::holds_alternative<ModeType>(machine.mode());
    }
    Left::Why why_left() const { return std::get<Left>(machine.mode()).why; }

    GroupMachine machine;
    std::uint32_t protocol;
    Epoch epoch{.counter = 7, .time = kNow - 1, .maker = member(1)};
};

// --- View changes ---

TEST_F(GroupMachineTest, StartsJoining) {
    EXPECT_TRUE(in<Joining>());
    EXPECT_FALSE(machine.can_send());
}

TEST_F(GroupMachineTest, AViewOfOneIsSyncedAtOnceWithoutAWord) {
    const Effects effects = view({2});
    EXPECT_TRUE(machine.is_synced());
    EXPECT_EQ(machine.synced(), std::set{member(2)});
    ASSERT_EQ(effects.size(), 1U);
    EXPECT_TRUE(std::holds_alternative<BecameSynced>(effects[0]));
}

TEST_F(GroupMachineTest, SyncedAloneStaysSyncedWithoutBecomingIt) {
    view({2});
    EXPECT_TRUE(view({2}).empty());
}

TEST_F(GroupMachineTest, TheLowestNodeStartsTheRoundUnderItsOwnNewEpoch) {
    view({2});
    const Effects effects = view({2, 3});
    EXPECT_TRUE(in<CollectingIndexes>());
    const Multicast sent = only<Multicast>(effects);
    EXPECT_FALSE(sent.own_count);
    const SyncMessage expected{static_cast<std::uint16_t>(MessageType::SyncStart), kNow,
                               Epoch{2, kNow, member(2)}, ""};
    EXPECT_EQ(sent.bytes, encode_message(expected, 1));
}

TEST_F(GroupMachineTest, OthersWaitForTheLowestNode) {
    EXPECT_TRUE(view({1, 2, 3}).empty());
    EXPECT_TRUE(in<CollectingIndexes>());
}

TEST_F(GroupMachineTest, EachViewCountsTheEpochAlsoWhileOut) {
    view({2});
    deliver(2, std::string("short"));
    ASSERT_TRUE(in<Left>());
    view({2});
    machine.step(Restarted{}, kNow);
    EXPECT_EQ(only<Multicast>(view({2, 3})).bytes.substr(16, 4), std::string("\3\0\0\0", 4));
}

TEST_F(GroupMachineTest, AViewWithoutUsIsIgnoredWhileJoining) {
    EXPECT_TRUE(view({1, 3}).empty());
    EXPECT_TRUE(in<Joining>());
}

TEST_F(GroupMachineTest, AViewWithoutUsMakesUsLeaveOtherwise) {
    view({2});
    EXPECT_TRUE(leaves(view({1, 3})));
    machine.step(Restarted{}, kNow);
    collect({1, 2});
    EXPECT_TRUE(leaves(view({1, 3})));
    machine.step(Restarted{}, kNow);
    await_updates();
    EXPECT_TRUE(leaves(view({1, 3})));
}

TEST_F(GroupMachineTest, AnotherProcessOfOurNodeIsNotUs) {
    view({2});
    EXPECT_TRUE(leaves(machine.step(ViewChanged{{{NodeId(2), 7}}, true}, kNow)));
}

TEST_F(GroupMachineTest, ViewsAreNotTakenInWhileOut) {
    view({2});
    deliver(2, std::string("short"));
    EXPECT_TRUE(view({1, 2}).empty());
    EXPECT_TRUE(in<Left>());
    EXPECT_EQ(machine.view().size(), 1U);
}

TEST_F(GroupMachineTest, AViewChangeForgetsTheStatesOfTheRoundBefore) {
    collect({1, 2});
    deliver(1, MessageType::State, index_of(9));
    collect({1, 2});
    EXPECT_FALSE(leaves(deliver(1, MessageType::State, index_of(9))));
    EXPECT_TRUE(in<CollectingIndexes>());
    deliver(2, MessageType::State, index_of(9));
    EXPECT_TRUE(machine.is_synced());
}

TEST_F(GroupMachineTest, LeftAloneWhileAwaitingUpdatesWeGoOnWithWhatWeHave) {
    await_updates();
    const Effects effects = view({2}, false);
    EXPECT_TRUE(machine.is_synced());
    EXPECT_TRUE(all_of<Commit>(effects).empty());
    EXPECT_EQ(all_of<BecameSynced>(effects).size(), 1U);
}

TEST_F(GroupMachineTest, AloneWeApplyOurQueuedMessagesAndDropThoseOfFormerMembers) {
    collect({1, 2});
    deliver(2, create(4, "ours"));
    deliver(1, create(3, "theirs"));
    const Effects effects = view({2}, false);
    EXPECT_EQ(applied_paths(effects), Paths{"ours"});
    EXPECT_TRUE(std::holds_alternative<BecameSynced>(effects.at(0)));
    EXPECT_EQ(machine.queued(), 0U);
}

TEST_F(GroupMachineTest, WhenSomebodyJoinedOwnQueuedMessagesAreSentAgainAsTheyWere) {
    view({2, 3});
    const std::string later = encode_message(create(6, "b"), 1);
    const std::string sooner = encode_message(create(5, "a"), 1);
    deliver(2, later);
    deliver(3, create(1, "theirs"));
    deliver(2, sooner);
    const auto sent = all_of<Multicast>(view({2, 3, 4}, true));
    ASSERT_EQ(sent.size(), 3U);
    EXPECT_EQ(sent[0].bytes, sooner) << "in the order of the queue";
    EXPECT_EQ(sent[0].own_count, 5U);
    EXPECT_EQ(sent[1].bytes, later);
    EXPECT_EQ(sent[2].bytes.at(0), '\1') << "then the start of the round";
    EXPECT_EQ(machine.queued(), 0U);
}

TEST_F(GroupMachineTest, WhenNobodyJoinedTheQueueStays) {
    collect({1, 2, 3});
    deliver(2, create(5, "ours"));
    deliver(1, create(1, "theirs"));
    EXPECT_TRUE(all_of<Multicast>(view({1, 2}, false)).empty());
    EXPECT_EQ(machine.queued(), 2U);
}

TEST_F(GroupMachineTest, WhatCameWhileUpdatesWereAwaitedIsThrownAwayAtAViewChange) {
    await_updates();
    deliver(1, create(1, "theirs"));
    deliver(2, create(1, "ours"));
    ASSERT_EQ(machine.queued(), 2U);
    EXPECT_TRUE(all_of<Multicast>(view({1, 2, 3}, true)).empty());
    EXPECT_EQ(machine.queued(), 0U);
}

// --- What is looked at first in a message ---

TEST_F(GroupMachineTest, AMessageBeforeAnyViewMakesUsLeave) {
    EXPECT_TRUE(leaves(deliver(1, create(1, "f"))));
}

TEST_F(GroupMachineTest, AHeaderCutShortMakesUsLeave) {
    for (const std::size_t size : {0U, 15U, 16U, 23U}) {
        machine.step(Restarted{}, kNow);
        view({2});
        const std::string bytes = encode_message(create(1, "f"), 1).substr(0, size);
        EXPECT_TRUE(leaves(deliver(2, bytes))) << size;
    }
    machine.step(Restarted{}, kNow);
    view({2});
    EXPECT_TRUE(leaves(deliver(2, sync_message(2).substr(0, 31))));
}

TEST_F(GroupMachineTest, ANewerProtocolMakesUsLeaveForGood) {
    synced();
    protocol = 2;
    EXPECT_TRUE(leaves(deliver(1, create(1, "f"))));
    EXPECT_EQ(why_left(), Left::Why::NewerProtocol);
    machine.step(Restarted{}, kNow);
    EXPECT_TRUE(in<Left>());
    EXPECT_TRUE(view({2}).empty());
    machine.step(SendFailed{"late"}, kNow);
    EXPECT_EQ(why_left(), Left::Why::NewerProtocol);
}

TEST_F(GroupMachineTest, AnOlderProtocolIsIgnored) {
    synced();
    protocol = 0;
    EXPECT_TRUE(deliver(1, create(1, "f")).empty());
    EXPECT_TRUE(deliver(1, sync_message(1).substr(0, 16)).empty());
    EXPECT_TRUE(machine.is_synced());
}

TEST_F(GroupMachineTest, MessagesAreDroppedWhileOut) {
    synced();
    machine.step(SendFailed{"full"}, kNow);
    ASSERT_TRUE(in<Left>());
    EXPECT_TRUE(deliver(1, create(1, "f")).empty());
    EXPECT_TRUE(deliver(1, std::string("short")).empty());
    EXPECT_TRUE(deliver(1, MessageType::SyncStart).empty());
}

TEST_F(GroupMachineTest, MessagesOfAnotherEpochAreIgnoredInEveryMode) {
    const auto expect_ignored = [&] {
        const Epoch right = epoch;
        for (const Epoch& other :
             {Epoch{right.counter + 1, right.time, right.maker},
              Epoch{right.counter, right.time + 1, right.maker},
              Epoch{right.counter, right.time, {NodeId(3), right.maker.pid}},
              Epoch{right.counter, right.time, {right.maker.node, right.maker.pid + 1}}}) {
            epoch = other;
            for (std::uint16_t type = 2; type < 9; ++type) {
                EXPECT_TRUE(deliver(1, sync_message(type, "x")).empty()) << type;
            }
        }
        epoch = right;
    };
    view({1, 3});
    expect_ignored();
    collect({1, 2});
    expect_ignored();
    await_updates();
    expect_ignored();
    deliver(1, MessageType::UpdateComplete);
    expect_ignored();
}

/// What each message does in the modes joining, collecting, synced and awaiting: it acts (A), is
/// ignored (-), or makes us leave (L).
struct Row {
    std::uint16_t type;
    const char* by_mode;
};

class MessageByModeTest : public GroupMachineTest,
                          public testing::WithParamInterface<std::tuple<Row, std::size_t>> {
protected:
    void go_to(std::size_t mode) {
        if (mode == 0) {
            // It has seen a view, and the epoch is the candidate of that.
            view({2});
            machine.step(SendFailed{"x"}, kNow);
            machine.step(Restarted{}, kNow);
            epoch = Epoch{1, kNow, member(2)};
        }
        if (mode == 1) collect({1, 2});
        if (mode == 2) synced();
        if (mode == 3) await_updates();
    }
    static std::string body_of(std::uint16_t type) {
        switch (type) {
            case 2: return index_of(9);
            case 3: return encode_update(sample_entry(2));
            case 5: return number_body(1);
            case 6: return verify_body(1, {});
            default: return {};
        }
    }
};

TEST_P(MessageByModeTest, DoesWhatTheTableSays) {
    const auto& [row, mode] = GetParam();
    go_to(mode);
    const auto before = machine.mode().index();
    const Effects effects = deliver(1, sync_message(row.type, body_of(row.type)));
    const char expected = row.by_mode[mode];
    EXPECT_EQ(leaves(effects), expected == 'L');
    if (expected != '-') return;
    EXPECT_TRUE(effects.empty());
    EXPECT_EQ(machine.mode().index(), before);
}

INSTANTIATE_TEST_SUITE_P(Types, MessageByModeTest,
                         testing::Combine(testing::Values(Row{1, "LA-L"}, Row{2, "LA-L"},
                                                          Row{3, "LL-A"}, Row{4, "LLAA"},
                                                          Row{5, "L-A-"}, Row{6, "L---"},
                                                          Row{7, "LL-L"}, Row{65535, "LL-L"}),
                                          testing::Range(std::size_t{0}, std::size_t{4})),
                         [](const auto& given) {
                             return "Type" + std::to_string(std::get<0>(given.param).type) +
                                    "InMode" + std::to_string(std::get<1>(given.param));
                         });

// --- Collecting states ---

TEST_F(GroupMachineTest, TheStartOfARoundAsksForOurStateUnderItsEpoch) {
    view({1, 2});
    EXPECT_EQ(only<ReadState>(deliver(1, MessageType::SyncStart)).epoch, epoch);
    const auto sent = only<Multicast>(machine.step(StateRead{epoch, "state"}, kNow));
    const SyncMessage expected{static_cast<std::uint16_t>(MessageType::State), kNow, epoch,
                               "state"};
    EXPECT_EQ(sent.bytes, encode_message(expected, 1));
}

TEST_F(GroupMachineTest, AStartFromAnotherThanTheLowestIsObeyed) {
    view({1, 2, 3});
    epoch.maker = member(3);
    EXPECT_EQ(only<ReadState>(deliver(3, MessageType::SyncStart)).epoch, epoch);
}

TEST_F(GroupMachineTest, ASecondStartBeginsAnew) {
    collect({1, 2});
    deliver(1, MessageType::State, index_of(9));
    const Epoch first = epoch;
    ++epoch.counter;
    EXPECT_EQ(only<ReadState>(deliver(1, MessageType::SyncStart)).epoch, epoch);
    EXPECT_TRUE(machine.step(StateRead{first, "late"}, kNow).empty()) << "of the round before";
    deliver(1, MessageType::State, index_of(9));
    EXPECT_TRUE(in<CollectingIndexes>());
}

TEST_F(GroupMachineTest, AStateThatCannotBeReadMakesUsLeave) {
    collect({1, 2});
    EXPECT_TRUE(leaves(machine.step(StateRead{epoch, ""}, kNow)));
}

TEST_F(GroupMachineTest, AStateOfANonMemberMakesUsLeave) {
    collect({1, 2});
    EXPECT_TRUE(leaves(deliver(3, MessageType::State, index_of(9))));
}

TEST_F(GroupMachineTest, ASecondStateOfOneMemberMakesUsLeave) {
    collect({1, 2, 3});
    deliver(1, MessageType::State, index_of(9));
    EXPECT_TRUE(leaves(deliver(1, MessageType::State, index_of(9))));
}

TEST_F(GroupMachineTest, AMalformedStateMakesUsLeaveWhenAllAreIn) {
    collect({1, 2});
    EXPECT_TRUE(deliver(1, MessageType::State, index_of(9) + 'x').empty());
    EXPECT_TRUE(leaves(deliver(2, MessageType::State, index_of(9))));
}

TEST_F(GroupMachineTest, TheLeaderIsSyncedAtOnceAndSendsUpdatesWhenTheyAreRead) {
    collect({1, 2});
    deliver(1, MessageType::State, index_of(8, "same"));
    const Effects effects = deliver(2, MessageType::State, index_of(9, "same"));
    EXPECT_TRUE(machine.is_synced());
    EXPECT_EQ(machine.last_leader(), member(2));
    const auto read = only<ReadUpdates>(effects);
    EXPECT_EQ(read.epoch, epoch);
    EXPECT_EQ(read.inodes, std::vector{InodeNumber(2)});
    EXPECT_TRUE(sent_types(effects).empty());

    EXPECT_EQ(sent_types(machine.step(UpdatesRead{epoch, {"u1", "u2"}, false}, kNow)),
              (Types{MessageType::Update, MessageType::Update}));
    const Effects last = machine.step(UpdatesRead{epoch, {"u3"}, true}, kNow);
    EXPECT_EQ(sent_types(last), (Types{MessageType::Update, MessageType::UpdateComplete}));
    const SyncMessage expected{static_cast<std::uint16_t>(MessageType::Update), kNow, epoch, "u3"};
    EXPECT_EQ(all_of<Multicast>(last).at(0).bytes, encode_message(expected, 1));
    EXPECT_TRUE(machine.step(UpdatesRead{epoch, {"u4"}, true}, kNow).empty()) << "it was the last";
}

TEST_F(GroupMachineTest, TheLeaderOfEqualTreesOnlySaysThatItIsDone) {
    collect({2, 3});
    deliver(2, MessageType::State, index_of(9));
    const Effects effects = deliver(3, MessageType::State, index_of(9));
    EXPECT_EQ(sent_types(effects), Types{MessageType::UpdateComplete});
    EXPECT_TRUE(all_of<ReadUpdates>(effects).empty());
}

TEST_F(GroupMachineTest, AMemberWithTheLeadersTreeIsSyncedAtOnceAndSendsNothing) {
    collect({1, 2, 3});
    const Effects effects = conclude_with_node_3_behind();
    EXPECT_TRUE(machine.is_synced());
    EXPECT_EQ(machine.synced(), (std::set{member(1), member(2)}));
    EXPECT_EQ(machine.last_leader(), member(1));
    EXPECT_TRUE(all_of<Multicast>(effects).empty());
    EXPECT_TRUE(all_of<ReadUpdates>(effects).empty());
}

TEST_F(GroupMachineTest, AMemberWithAnotherTreeAwaitsUpdates) {
    await_updates();
    const auto& awaiting = std::get<AwaitingUpdates>(machine.mode());
    EXPECT_EQ(awaiting.leader, member(1));
    EXPECT_EQ(awaiting.own_index, index_of(8));
    EXPECT_EQ(awaiting.leader_index, index_of(9));
    EXPECT_FALSE(machine.can_send());
}

TEST_F(GroupMachineTest, UpdatesReadForAnOlderRoundAreNotSent) {
    collect({1, 2});
    deliver(1, MessageType::State, index_of(8));
    deliver(2, MessageType::State, index_of(9));
    const Epoch first = epoch;
    view({1, 2, 3});
    EXPECT_TRUE(machine.step(UpdatesRead{first, {"late"}, true}, kNow).empty());
}

// --- Awaiting updates ---

TEST_F(GroupMachineTest, TheEndOfUpdatesCommitsThem) {
    await_updates();
    deliver(1, MessageType::Update, encode_update(sample_entry(2)));
    deliver(3, MessageType::Update, encode_update(sample_entry(0)));  // the sender is not compared
    const Effects effects = deliver(1, MessageType::UpdateComplete);
    const auto commit = only<Commit>(effects);
    EXPECT_EQ(commit.epoch, epoch);
    EXPECT_EQ(commit.leader, member(1));
    EXPECT_EQ(commit.own_index, index_of(8));
    EXPECT_EQ(commit.leader_index, index_of(9));
    EXPECT_EQ(commit.updates, (std::vector{sample_entry(2), sample_entry(0)}));
    EXPECT_TRUE(machine.is_synced());
    EXPECT_EQ(machine.synced(), (std::set{member(1), member(2)}));
}

TEST_F(GroupMachineTest, NothingIsSubmittedUntilTheCommitIsKnownToHaveSucceeded) {
    await_updates();
    deliver(1, MessageType::UpdateComplete);
    EXPECT_FALSE(machine.can_send());
    Epoch older = epoch;
    --older.counter;
    machine.step(Committed{older}, kNow);
    EXPECT_FALSE(machine.can_send()) << "that was an older one";
    machine.step(Committed{epoch}, kNow);
    EXPECT_TRUE(machine.can_send());
}

TEST_F(GroupMachineTest, ACommitThatFailsMakesUsLeave) {
    await_updates();
    deliver(1, MessageType::UpdateComplete);
    EXPECT_EQ(only<Leave>(machine.step(ApplierFailed{"disk full"}, kNow)).reason, "disk full");
    machine.step(Restarted{}, kNow);
    view({2});
    EXPECT_TRUE(machine.can_send()) << "the commit that failed is not waited for";
}

TEST_F(GroupMachineTest, AMalformedUpdateMakesUsLeave) {
    await_updates();
    EXPECT_TRUE(leaves(deliver(1, MessageType::Update, "short")));
}

TEST_F(GroupMachineTest, MoreUpdatesThanTheLeaderHasEntriesMakeUsLeave) {
    await_updates();
    for (int i = 0; i < 2; ++i) {
        EXPECT_TRUE(deliver(1, MessageType::Update, encode_update(sample_entry(2))).empty());
    }
    EXPECT_TRUE(leaves(deliver(1, MessageType::Update, encode_update(sample_entry(2)))));
}

// --- Normal messages ---

TEST_F(GroupMachineTest, InSyncedAMessageIsAppliedAtOnce) {
    synced();
    const auto apply = only<Apply>(deliver(1, create(17, "f")));
    EXPECT_EQ(path_of(apply), "f");
    EXPECT_EQ(apply.from, member(1));
    EXPECT_EQ(apply.time, kNow - 5) << "the sender's clock";
    EXPECT_FALSE(apply.own_count);
    EXPECT_FALSE(apply.lowest);
    EXPECT_EQ(only<Apply>(deliver(2, create(18, "g"))).own_count, 18U);
}

TEST_F(GroupMachineTest, InSyncedEverySenderCounts) {
    collect({1, 2, 3});
    conclude_with_node_3_behind();
    EXPECT_EQ(applied_paths(deliver(3, create(1, "not synced"))), Paths{"not synced"});
    EXPECT_EQ(applied_paths(deliver(9, create(1, "no member"))), Paths{"no member"});
}

TEST_F(GroupMachineTest, TheLowestNodeIsTold) {
    view({2});
    EXPECT_TRUE(only<Apply>(deliver(2, create(1, "f"))).lowest);
}

TEST_F(GroupMachineTest, AMessageOfANonMemberMakesUsLeaveInOtherModes) {
    collect({1, 2});
    EXPECT_TRUE(leaves(deliver(3, create(1, "f"))));
    machine.step(Restarted{}, kNow);
    await_updates();
    EXPECT_TRUE(leaves(deliver(3, create(1, "f"))));
}

TEST_F(GroupMachineTest, WhileJoiningAMessageOfAMemberOfTheLastViewIsQueued) {
    view({1, 3});
    EXPECT_TRUE(deliver(1, create(1, "f")).empty());
    EXPECT_EQ(machine.queued(), 1U);
}

TEST_F(GroupMachineTest, QueuedMessagesAreAppliedByCountOfAllSendersTogether) {
    collect({1, 2, 3});
    deliver(1, create(11, "fourth"));
    deliver(2, create(2, "second"));
    deliver(2, create(3, "third"));
    deliver(1, create(1, "first"));
    EXPECT_EQ(applied_paths(conclude_with_node_3_behind()),
              (Paths{"first", "second", "third", "fourth"}));
}

TEST_F(GroupMachineTest, EqualCountsKeepTheOrderOfArrival) {
    collect({1, 2, 3});
    deliver(2, create(5, "first"));
    deliver(1, create(5, "second"));
    deliver(2, create(5, "third"));
    deliver(1, create(4, "before"));
    EXPECT_EQ(applied_paths(conclude_with_node_3_behind()),
              (Paths{"before", "first", "second", "third"}));
}

TEST_F(GroupMachineTest, CountsAreComparedAsASignedDifferenceOf32Bits) {
    collect({1, 2, 3});
    deliver(1, create(2, "after the turn"));
    deliver(2, create(UINT32_MAX, "before the turn"));
    deliver(1, create((1ULL << 32) + 1, "high bits do not count"));
    EXPECT_EQ(applied_paths(conclude_with_node_3_behind()),
              (Paths{"before the turn", "high bits do not count", "after the turn"}));
}

TEST_F(GroupMachineTest, QueuedMessagesOfTheUnsyncedWaitForTheEndOfUpdates) {
    collect({1, 2, 3});
    deliver(3, create(1, "theirs"));
    deliver(1, create(2, "synced"));
    EXPECT_EQ(applied_paths(conclude_with_node_3_behind()), Paths{"synced"});
    EXPECT_EQ(machine.queued(), 1U);
    EXPECT_EQ(applied_paths(deliver(1, MessageType::UpdateComplete)), Paths{"theirs"});
    EXPECT_EQ(machine.synced().size(), 3U);
    EXPECT_EQ(machine.queued(), 0U);
}

TEST_F(GroupMachineTest, AfterTheCommitComesWhatArrivedAndThenWhatWasQueued) {
    collect({1, 2});
    deliver(2, create(1, "ours, queued"));
    deliver(1, create(7, "theirs, queued"));
    deliver(1, MessageType::State, index_of(9));
    deliver(2, MessageType::State, index_of(8));
    ASSERT_TRUE(in<AwaitingUpdates>());
    deliver(1, create(3, "theirs, arrived"));
    const Effects effects = deliver(1, MessageType::UpdateComplete);
    EXPECT_TRUE(std::holds_alternative<Commit>(effects.at(0)));
    EXPECT_EQ(applied_paths(effects), (Paths{"theirs, queued", "theirs, arrived", "ours, queued"}));
}

TEST_F(GroupMachineTest, WhileUpdatesAreAwaitedTheUnsyncedKeepTheirPlaceOfArrivalToo) {
    await_updates();
    deliver(1, create(20, "first"));
    deliver(2, create(1, "second"));  // its sender is not synced
    deliver(1, create(21, "third"));
    EXPECT_EQ(applied_paths(deliver(1, MessageType::UpdateComplete)),
              (Paths{"first", "second", "third"}));
}

class OriginalConductTest : public GroupMachineTest {
protected:
    OriginalConductTest() : GroupMachineTest(GroupKind::Configuration, Conduct::AsTheOriginal) {}
};

TEST_F(OriginalConductTest, WhileUpdatesAreAwaitedTheUnsyncedComeLast) {
    await_updates();
    deliver(1, create(20, "first"));
    deliver(2, create(1, "last"));
    deliver(1, create(21, "second"));
    EXPECT_EQ(applied_paths(deliver(1, MessageType::UpdateComplete)),
              (Paths{"first", "second", "last"}));
}

TEST_F(OriginalConductTest, SendsInEveryModeOfAMember) {
    EXPECT_FALSE(machine.can_send());
    collect({1, 2});
    EXPECT_TRUE(machine.can_send());
    machine.step(QuorumChanged{false}, kNow);
    EXPECT_FALSE(machine.can_send());
}

// --- Own messages ---

TEST_F(GroupMachineTest, SubmissionsAreCountedFromOne) {
    synced();
    const auto first = only<Multicast>(submit("a"));
    EXPECT_EQ(first.own_count, 1U);
    const NormalMessage expected{kCreate, kNow, 1,
                                 encode_operation(Operation(CreateFile{"a"})).body};
    EXPECT_EQ(first.bytes, encode_message(expected, 1));
    EXPECT_EQ(only<Multicast>(submit("b")).own_count, 2U);
    EXPECT_EQ(machine.last_count(), 2U);
}

TEST_F(GroupMachineTest, CountsGoOnAfterLeavingAndJoiningAgain) {
    synced();
    submit("a");
    machine.step(SendFailed{"full"}, kNow);
    machine.step(Restarted{}, kNow);
    synced();
    EXPECT_EQ(only<Multicast>(submit("b")).own_count, 2U);
}

TEST_F(GroupMachineTest, ChangesMayBeSubmittedWhenSyncedAndQuorate) {
    collect({1, 2});
    EXPECT_FALSE(machine.can_send());
    synced();
    EXPECT_TRUE(machine.can_send());
    machine.step(QuorumChanged{false}, kNow);
    EXPECT_FALSE(machine.can_send());
    machine.step(QuorumChanged{true}, kNow);
    EXPECT_TRUE(machine.can_send());
}

TEST_F(GroupMachineTest, WithoutQuorumADeliveredMessageMakesUsLeave) {
    synced();
    machine.step(QuorumChanged{false}, kNow);
    const Effects effects = deliver(1, create(1, "f"));
    EXPECT_TRUE(leaves(effects));
    EXPECT_EQ(why_left(), Left::Why::Again);
    EXPECT_TRUE(all_of<Apply>(effects).empty());
    EXPECT_TRUE(all_of<Refuse>(effects).empty()) << "it is not ours";
}

TEST_F(GroupMachineTest, WithoutQuorumTheOwnCallerIsRefusedBeforeWeLeave) {
    synced();
    machine.step(QuorumChanged{false}, kNow);
    const Effects effects = deliver(2, create(4, "f"));
    ASSERT_EQ(effects.size(), 2U);
    EXPECT_EQ(std::get<Refuse>(effects[0]).own_count, 4U);
    EXPECT_EQ(std::get<Refuse>(effects[0]).error, Errno::NotPermitted);
    EXPECT_TRUE(std::holds_alternative<Leave>(effects[1]));
}

TEST_F(GroupMachineTest, QueuedMessagesNeedQuorumOnlyWhenTheyAreApplied) {
    collect({1, 2, 3});
    machine.step(QuorumChanged{false}, kNow);
    EXPECT_FALSE(leaves(deliver(1, create(1, "f"))));
    EXPECT_TRUE(leaves(conclude_with_node_3_behind()));
}

TEST_F(GroupMachineTest, AMalformedOrUnknownOperationMakesUsLeave) {
    for (const NormalMessage& bad :
         {NormalMessage{kCreate, kNow, 3, "short"}, NormalMessage{9, kNow, 3, create(1, "f").body},
          NormalMessage{0, kNow, 3, create(1, "f").body}}) {
        machine.step(Restarted{}, kNow);
        view({2});
        const Effects effects = deliver(2, bad);
        EXPECT_TRUE(leaves(effects));
        EXPECT_EQ(only<Refuse>(effects).own_count, 3U);
    }
}

TEST_F(GroupMachineTest, LeavingStopsTheDeliveryOfTheQueue) {
    collect({1, 2, 3});
    deliver(1, create(1, "first"));
    deliver(1, NormalMessage{9, kNow, 2, {}});
    deliver(1, create(3, "never"));
    const Effects effects = conclude_with_node_3_behind();
    EXPECT_EQ(applied_paths(effects), Paths{"first"});
    EXPECT_TRUE(std::holds_alternative<Leave>(effects.back()));
    EXPECT_EQ(machine.queued(), 0U);
}

TEST_F(GroupMachineTest, UnlockRequestsAreOperationsOfTheGroup) {
    synced();
    const auto sent = only<Multicast>(machine.step(Submit{UnlockRequest{"priv/lock/l", {}}}, kNow));
    const auto apply = only<Apply>(deliver(2, sent.bytes));
    EXPECT_EQ(std::get<UnlockRequest>(apply.operation).path, "priv/lock/l");
}

// --- Leaving and coming back ---

TEST_F(GroupMachineTest, WeLeaveOnce) {
    synced();
    EXPECT_TRUE(leaves(machine.step(SendFailed{"one"}, kNow)));
    EXPECT_TRUE(machine.step(SendFailed{"two"}, kNow).empty());
    EXPECT_TRUE(machine.step(ApplierFailed{"three"}, kNow).empty());
    EXPECT_NE(std::get<Left>(machine.mode()).reason.find("one"), std::string::npos);
}

TEST_F(GroupMachineTest, RestartedEmptiesTheQueuesAndJoins) {
    await_updates();
    deliver(1, create(1, "f"));
    machine.step(SendFailed{"full"}, kNow);
    EXPECT_TRUE(machine.step(Restarted{}, kNow).empty());
    EXPECT_TRUE(in<Joining>());
    EXPECT_EQ(machine.queued(), 0U);
}

TEST_F(GroupMachineTest, LateAnswersAfterLeavingAreIgnored) {
    await_updates();
    machine.step(SendFailed{"full"}, kNow);
    EXPECT_TRUE(machine.step(StateRead{epoch, "s"}, kNow).empty());
    EXPECT_TRUE(machine.step(UpdatesRead{epoch, {"u"}, true}, kNow).empty());
    EXPECT_TRUE(machine.step(Committed{epoch}, kNow).empty());
    EXPECT_TRUE(machine.step(ChecksumComputed{epoch, 1, {}}, kNow).empty());
    EXPECT_TRUE(in<Left>());
}

TEST_F(GroupMachineTest, ModesHaveNames) {
    EXPECT_EQ(to_string(machine.mode()), "joining");
    collect({1, 2});
    EXPECT_EQ(to_string(machine.mode()), "collecting indexes");
    await_updates();
    EXPECT_EQ(to_string(machine.mode()), "awaiting updates");
    deliver(1, MessageType::UpdateComplete);
    EXPECT_EQ(to_string(machine.mode()), "synced");
    machine.step(SendFailed{""}, kNow);
    EXPECT_EQ(to_string(machine.mode()), "left");
}

// --- Verification ---

class VerificationTest : public GroupMachineTest {
protected:
    VerificationTest() {
        collect({1, 2});
        deliver(1, MessageType::State, index_of(9));
        deliver(2, MessageType::State, index_of(9));
    }
    /// As the lowest node of the view {2, 3}.
    void lead() {
        view({2, 3});
        epoch = Epoch{++views, kNow, member(2)};
        deliver(2, MessageType::SyncStart);
        deliver(2, MessageType::State, index_of(9));
        deliver(3, MessageType::State, index_of(9));
        ASSERT_TRUE(machine.is_synced());
    }
    Effects computed(std::uint64_t number, const Digest& digest) {
        return machine.step(ChecksumComputed{epoch, number, digest}, kNow);
    }

    std::uint32_t views = 1;
    const Digest good = Sha256::of("good");
    const Digest bad = Sha256::of("bad");
};

TEST_F(VerificationTest, OnlyTheLowestNodeAsks) {
    EXPECT_TRUE(machine.step(VerifyDue{}, kNow).empty());
    lead();
    const auto sent = only<Multicast>(machine.step(VerifyDue{}, kNow));
    const SyncMessage expected{static_cast<std::uint16_t>(MessageType::VerifyRequest), kNow, epoch,
                               number_body(1)};
    EXPECT_EQ(sent.bytes, encode_message(expected, 1));
}

TEST_F(VerificationTest, OneRequestAtATime) {
    lead();
    machine.step(VerifyDue{}, kNow);
    EXPECT_TRUE(machine.step(VerifyDue{}, kNow).empty());
    deliver(2, MessageType::VerifyRequest, number_body(1));
    EXPECT_EQ(only<Multicast>(machine.step(VerifyDue{}, kNow)).bytes.substr(32), number_body(2));
}

TEST_F(VerificationTest, AViewChangeForgetsAnUnansweredRequest) {
    lead();
    machine.step(VerifyDue{}, kNow);
    lead();
    EXPECT_EQ(only<Multicast>(machine.step(VerifyDue{}, kNow)).bytes.substr(32), number_body(2));
}

TEST_F(VerificationTest, TheRequesterSendsItsChecksumWhenItIsComputed) {
    lead();
    machine.step(VerifyDue{}, kNow);
    const auto compute =
        only<ComputeChecksum>(deliver(2, MessageType::VerifyRequest, number_body(1)));
    EXPECT_EQ(compute.epoch, epoch);
    EXPECT_EQ(compute.number, 1U);
    const auto sent = only<Multicast>(computed(1, good));
    const SyncMessage expected{static_cast<std::uint16_t>(MessageType::Verify), kNow, epoch,
                               verify_body(1, good)};
    EXPECT_EQ(sent.bytes, encode_message(expected, 1));
    const auto finished =
        only<VerifyFinished>(deliver(2, MessageType::Verify, verify_body(1, good)));
    EXPECT_TRUE(finished.equal);
    EXPECT_EQ(finished.number, 1U);
}

TEST_F(VerificationTest, OthersSendNothing) {
    deliver(1, MessageType::VerifyRequest, number_body(1));
    EXPECT_TRUE(computed(1, good).empty());
    EXPECT_TRUE(only<VerifyFinished>(deliver(1, MessageType::Verify, verify_body(1, good))).equal);
    EXPECT_TRUE(machine.is_synced());
}

TEST_F(VerificationTest, WhoeverDiffersFromTheRequesterLeaves) {
    deliver(1, MessageType::VerifyRequest, number_body(1));
    computed(1, bad);
    const Effects effects = deliver(1, MessageType::Verify, verify_body(1, good));
    EXPECT_FALSE(only<VerifyFinished>(effects).equal);
    EXPECT_TRUE(leaves(effects));
    EXPECT_EQ(why_left(), Left::Why::Again);
}

TEST_F(VerificationTest, TheOwnChecksumMayComeAfterTheRequesters) {
    for (const bool equal : {true, false}) {
        machine.step(Restarted{}, kNow);
        synced();
        deliver(1, MessageType::VerifyRequest, number_body(1));
        EXPECT_TRUE(deliver(1, MessageType::Verify, verify_body(1, good)).empty());
        const Effects effects = computed(1, equal ? good : bad);
        EXPECT_EQ(only<VerifyFinished>(effects).equal, equal);
        EXPECT_EQ(leaves(effects), !equal);
    }
}

TEST_F(VerificationTest, AChecksumForAnotherNumberOrEpochIsIgnored) {
    deliver(1, MessageType::VerifyRequest, number_body(2));
    EXPECT_TRUE(deliver(1, MessageType::Verify, verify_body(1, bad)).empty());
    EXPECT_TRUE(computed(1, bad).empty());
    Epoch older = epoch;
    --older.counter;
    EXPECT_TRUE(machine.step(ChecksumComputed{older, 2, bad}, kNow).empty());
    computed(2, good);
    EXPECT_TRUE(only<VerifyFinished>(deliver(1, MessageType::Verify, verify_body(2, good))).equal);
}

TEST_F(VerificationTest, AChecksumComputedBeforeAViewChangeIsIgnored) {
    deliver(1, MessageType::VerifyRequest, number_body(1));
    const Epoch first = epoch;
    synced();
    EXPECT_TRUE(machine.step(ChecksumComputed{first, 1, bad}, kNow).empty());
    EXPECT_TRUE(machine.is_synced());
}

TEST_F(VerificationTest, AVerifyMessageWithoutARequestIsIgnored) {
    EXPECT_TRUE(deliver(1, MessageType::Verify, verify_body(1, good)).empty());
}

TEST_F(VerificationTest, MalformedBodiesMakeUsLeave) {
    for (const std::size_t size : {0U, 7U, 9U}) {
        machine.step(Restarted{}, kNow);
        synced();
        EXPECT_TRUE(leaves(deliver(1, MessageType::VerifyRequest, std::string(size, '\0'))));
    }
    for (const std::size_t size : {0U, 8U, 39U, 41U}) {
        machine.step(Restarted{}, kNow);
        synced();
        EXPECT_TRUE(leaves(deliver(1, MessageType::Verify, std::string(size, '\0'))));
    }
}

TEST_F(VerificationTest, AloneANodeVerifiesItself) {
    view({2});
    epoch = Epoch{2, kNow, member(2)};
    const auto request = only<Multicast>(machine.step(VerifyDue{}, kNow));
    deliver(2, request.bytes);
    const auto verify = only<Multicast>(computed(1, good));
    EXPECT_TRUE(only<VerifyFinished>(deliver(2, verify.bytes)).equal);
}

TEST_F(VerificationTest, NobodyAsksDuringARound) {
    view({2, 3});
    EXPECT_TRUE(machine.step(VerifyDue{}, kNow).empty());
}

// --- The status group ---

class StatusMachineTest : public GroupMachineTest {
protected:
    StatusMachineTest() : GroupMachineTest(GroupKind::Status) {
        machine.step(QuorumChanged{false}, kNow);
    }
};

TEST_F(StatusMachineTest, TheStatesAreMergedAndEverybodyIsSynced) {
    collect({1, 2});
    deliver(1, MessageType::State, "one");
    const Effects effects = deliver(2, MessageType::State, "two");
    const auto merge = only<MergeStates>(effects);
    EXPECT_EQ(merge.states,
              (std::map<Member, std::string>{{member(1), "one"}, {member(2), "two"}}));
    EXPECT_TRUE(machine.is_synced());
    EXPECT_EQ(machine.synced().size(), 2U);
    EXPECT_FALSE(machine.last_leader());
    EXPECT_TRUE(sent_types(effects).empty()) << "there are no updates in this group";
    EXPECT_EQ(all_of<BecameSynced>(effects).size(), 1U);
}

TEST_F(StatusMachineTest, WhatWasQueuedFollowsTheMerge) {
    collect({1, 2});
    deliver(1, NormalMessage{1, kNow, 5, "later"});
    deliver(2, NormalMessage{3, kNow, 4, "sooner"});
    deliver(1, MessageType::State, "one");
    const Effects effects = deliver(2, MessageType::State, "two");
    EXPECT_TRUE(std::holds_alternative<MergeStates>(effects.at(0)));
    const auto applied = all_of<ApplyStatus>(effects);
    ASSERT_EQ(applied.size(), 2U);
    EXPECT_EQ(applied[0].body, "sooner");
    EXPECT_TRUE(applied[0].own);
    EXPECT_EQ(applied[0].subtype, 3U);
    EXPECT_EQ(applied[1].from, member(1));
    EXPECT_FALSE(applied[1].own);
}

TEST_F(StatusMachineTest, NoQuorumIsNeeded) {
    view({2});
    ASSERT_TRUE(machine.can_send());
    const auto sent = only<Multicast>(machine.step(SubmitStatus{1, "body"}, kNow));
    EXPECT_EQ(sent.bytes, encode_message(NormalMessage{1, kNow, 1, "body"}, 0));
    EXPECT_EQ(only<ApplyStatus>(deliver(2, sent.bytes)).body, "body");
}

TEST_F(StatusMachineTest, UnknownSubtypesAreForTheApplierToIgnore) {
    view({2});
    EXPECT_EQ(only<ApplyStatus>(deliver(2, NormalMessage{99, kNow, 1, ""})).subtype, 99U);
}

TEST_F(StatusMachineTest, NothingIsVerified) {
    view({2});
    EXPECT_TRUE(machine.step(VerifyDue{}, kNow).empty());
    epoch = Epoch{1, kNow, member(2)};
    EXPECT_TRUE(deliver(2, MessageType::VerifyRequest, number_body(1)).empty());
    EXPECT_TRUE(deliver(2, MessageType::Verify, "malformed").empty());
}

TEST_F(StatusMachineTest, MessagesOfTheConfigurationGroupAreOfANewerProtocol) {
    view({2});
    protocol = 1;
    EXPECT_TRUE(leaves(deliver(2, create(1, "f"))));
    EXPECT_EQ(why_left(), Left::Why::NewerProtocol);
}

}  // namespace
}  // namespace cfsgate::replication
