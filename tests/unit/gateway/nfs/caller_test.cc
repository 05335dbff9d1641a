// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/caller.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cfsgate::gateway::nfs {
namespace {

constexpr uid_t kUser = 1000;
constexpr uid_t kOther = 2000;
constexpr gid_t kWwwData = 33;
constexpr std::uint32_t kNoId = UINT32_MAX;
using Gids = std::vector<gid_t>;

// kUser's groups: 1000, and 1001 and 1002 besides.
const GroupsPtr kGroups = std::make_shared<const Groups>(Groups{1000, {1000, 1001, 1002}});

const ExportRule kSquashRoot = parse_export_rule("192.0.2.0/24 rw private=priv/acme").value();
const ExportRule kSquashAll = parse_export_rule("192.0.2.0/24 squash=all").value();
const ExportRule kSquashNone = parse_export_rule("192.0.2.0/24 squash=none").value();
const ExportRule kHighPorts = parse_export_rule("192.0.2.0/24 squash=none insecure").value();

const std::vector<std::pair<const char*, Peer>> kPeers{
    {"root", LocalPeer{0, true, nullptr}},
    {"root, high port", LocalPeer{0, false, std::make_shared<const Groups>(Groups{0, {0, 4}})}},
    {"user", LocalPeer{kUser, false, kGroups}},
    {"user, low port", LocalPeer{kUser, true, kGroups}},
    {"user, groups unknown", LocalPeer{kUser, false, nullptr}},
    {"user, not known", LocalPeer{kUser, false, std::make_shared<const Groups>()}},
    {"remote, root", RemotePeer{&kSquashRoot, true}},
    {"remote, root, high port", RemotePeer{&kSquashRoot, false}},
    {"remote, all", RemotePeer{&kSquashAll, true}},
    {"remote, all, high port", RemotePeer{&kSquashAll, false}},
    {"remote, none", RemotePeer{&kSquashNone, true}},
    {"remote, none, high port", RemotePeer{&kSquashNone, false}},
    {"remote, insecure", RemotePeer{&kHighPorts, true}},
    {"remote, insecure, high port", RemotePeer{&kHighPorts, false}},
};

const Peer& peer(std::string_view name) {
    const auto found = std::find_if(kPeers.begin(), kPeers.end(),
                                    [&](const auto& row) { return row.first == name; });
    if (found == kPeers.end()) throw std::invalid_argument(std::string(name));
    return found->second;
}

Claim claim(uid_t uid, gid_t gid, Gids gids = {}) {
    return {true, uid, gid, std::move(gids), "host"};
}

const Claim kNothing{false, 0, 0, {0, kWwwData}, "host"};  // AUTH_NONE: what else is there is noise
const CallerPolicy kRefuse{BeyondProof::Refuse, false};
const CallerPolicy kSquash{BeyondProof::Squash, false};
const CallerPolicy kRefuseHigh{BeyondProof::Refuse, true};
const CallerPolicy kSquashHigh{BeyondProof::Squash, true};

const Judgement kRefused{std::nullopt, true};
const Identity kNobodyHere{};

Identity is(uid_t uid, gid_t gid, Gids groups = {}, const ExportRule* rule = nullptr) {
    return {uid, gid, std::move(groups), rule == nullptr ? nullptr : &rule->restriction};
}

struct Row {
    const char* peer;
    Claim claim;
    Identity squashed;    ///< what is served where the policy is to squash
    bool beyond = false;  ///< so that the other policy refuses
};

void check(const std::vector<Row>& rows, const CallerPolicy& refuse, const CallerPolicy& squash) {
    for (const Row& row : rows) {
        SCOPED_TRACE(testing::Message()
                     << row.peer << " claims " << row.claim.uid << ":" << row.claim.gid << " "
                     << testing::PrintToString(row.claim.gids));
        const Judgement served{row.squashed, row.beyond};
        EXPECT_EQ(judge(peer(row.peer), row.claim, squash), served);
        EXPECT_EQ(judge(peer(row.peer), row.claim, refuse), row.beyond ? kRefused : served);
    }
}

TEST(CallerTest, RootFromAReservedPortSpeaksForEverybody) {
    check({{"root", claim(0, 0, {0, 4}), is(0, 0, {0, 4})},
           {"root", claim(kUser, kWwwData, {5, 6}), is(kUser, kWwwData, {5, 6})},
           {"root", claim(kNobody, kNogroup), kNobodyHere},
           {"root", claim(kNoId, kNoId, {kNoId, 7}), is(kNobody, kNogroup, {7})},
           {"root", kNothing, kNobodyHere}},
          kRefuse, kSquash);
}

TEST(CallerTest, RootFromAHighPortMayBeAnybody) {
    check({{"root, high port", claim(0, 0), kNobodyHere, true},
           {"root, high port", claim(kUser, kUser), kNobodyHere, true},
           {"root, high port", claim(kNobody, 0), kNobodyHere, true},
           {"root, high port", claim(kNobody, kNogroup, {kWwwData}), kNobodyHere, true},
           {"root, high port", claim(kNobody, kNogroup, {kNogroup}), kNobodyHere},
           {"root, high port", kNothing, kNobodyHere}},
          kRefuse, kSquash);
}

TEST(CallerTest, RootFromAHighPortIsRootAloneByOption) {
    check({{"root, high port", claim(0, 0, {0, 4}), is(0, 0, {0, 4})},
           {"root, high port", claim(0, 4), is(0, 4)},
           {"root, high port", claim(0, kWwwData, {4, kWwwData}), is(0, 0, {4}), true},
           {"root, high port", claim(kUser, kUser), kNobodyHere, true},
           {"root, high port", kNothing, kNobodyHere}},
          kRefuseHigh, kSquashHigh);
}

TEST(CallerTest, AnotherUserIsItselfWithItsOwnGroups) {
    for (const char* user : {"user", "user, low port"}) {
        check({{user, claim(kUser, 1000), is(kUser, 1000)},
               {user, claim(kUser, 1001, {1002, 1000}), is(kUser, 1001, {1002, 1000})},
               {user, claim(kUser, kWwwData), is(kUser, 1000), true},
               {user, claim(kUser, 0, {0}), is(kUser, 1000), true},
               {user, claim(kUser, 1001, {1002, kWwwData, 0}), is(kUser, 1001, {1002}), true},
               {user, claim(kUser, kNogroup), is(kUser, 1000), true},
               {user, claim(0, 0), kNobodyHere, true},
               {user, claim(0, 1000, {1000}), kNobodyHere, true},
               {user, claim(kOther, 1000, {1001}), kNobodyHere, true},
               {user, claim(kNobody, 1000), kNobodyHere, true},
               {user, claim(kNoId, kNoId), kNobodyHere, true},
               {user, claim(kNobody, kNogroup), kNobodyHere},
               {user, kNothing, kNobodyHere}},
              kRefuse, kSquash);
    }
}

TEST(CallerTest, AUserWhoseGroupsAreNotKnownIsInNone) {
    for (const char* user : {"user, groups unknown", "user, not known"}) {
        check({{user, claim(kUser, kNogroup), is(kUser, kNogroup)},
               {user, claim(kUser, 1000), is(kUser, kNogroup), true},
               {user, claim(kUser, kNogroup, {1000}), is(kUser, kNogroup), true},
               {user, claim(kOther, kNogroup), kNobodyHere, true}},
              kRefuse, kSquash);
    }
}

TEST(CallerTest, FromElsewhereTheRuleSquashes) {
    const Claim root = claim(0, 0, {0, 4});
    const Claim user = claim(kUser, 0, {kWwwData, 0});
    const auto nobody = [](const ExportRule& rule) { return is(kNobody, kNogroup, {}, &rule); };
    check({{"remote, root", root, is(kNobody, kNogroup, {4}, &kSquashRoot)},
           {"remote, root", user, is(kUser, kNogroup, {kWwwData}, &kSquashRoot)},
           {"remote, root", claim(kNoId, kNoId), nobody(kSquashRoot)},
           {"remote, root", kNothing, nobody(kSquashRoot)},
           {"remote, all", root, nobody(kSquashAll)},
           {"remote, all", user, nobody(kSquashAll)},
           {"remote, all", kNothing, nobody(kSquashAll)},
           {"remote, none", root, is(0, 0, {0, 4}, &kSquashNone)},
           {"remote, none", user, is(kUser, 0, {kWwwData, 0}, &kSquashNone)},
           {"remote, none", kNothing, nobody(kSquashNone)},
           {"remote, insecure", root, is(0, 0, {0, 4}, &kHighPorts)},
           {"remote, insecure, high port", root, is(0, 0, {0, 4}, &kHighPorts)},
           {"remote, insecure, high port", kNothing, nobody(kHighPorts)}},
          kRefuse, kSquash);
    const Restriction* restriction =
        judge(peer("remote, root"), root, kRefuse).identity->restriction;
    EXPECT_FALSE(restriction->read_only);
    EXPECT_EQ(restriction->private_paths, std::vector<std::string>{"priv/acme"});
}

TEST(CallerTest, FromElsewhereAHighPortIsRefusedWhateverIsClaimed) {
    for (const char* name :
         {"remote, root, high port", "remote, all, high port", "remote, none, high port"}) {
        for (const Claim& any : {claim(0, 0), claim(kUser, kUser), kNothing}) {
            EXPECT_EQ(judge(peer(name), any, kRefuse), kRefused) << name;
            EXPECT_EQ(judge(peer(name), any, kSquash), kRefused) << name;
        }
    }
}

// --- What must hold for every peer, claim and policy ---

/// Whether this peer may be served as this user.
bool may_be(const Peer& who, uid_t uid, const CallerPolicy& policy) {
    if (uid == kNobody) return true;
    if (const auto* remote = std::get_if<RemotePeer>(&who)) {
        return remote->rule->squash == Squash::None ||
               (remote->rule->squash == Squash::Root && uid != 0);
    }
    const auto& local = std::get<LocalPeer>(who);
    if (local.owner != 0) return uid == local.owner;
    return local.reserved_port || (policy.root_from_high_ports && uid == 0);
}

bool may_be_in(const Peer& who, gid_t gid, const CallerPolicy& policy) {
    if (gid == kNogroup) return true;
    if (const auto* remote = std::get_if<RemotePeer>(&who)) {
        return remote->rule->squash == Squash::None ||
               (remote->rule->squash == Squash::Root && gid != 0);
    }
    const auto& local = std::get<LocalPeer>(who);
    if (local.owner == 0 && local.reserved_port) return true;
    if (local.owner == 0 && !policy.root_from_high_ports) return false;
    return local.groups && local.groups->has(gid);
}

void check_proven(const Peer& who, const Claim& any, const CallerPolicy& policy) {
    const Judgement judgement = judge(who, any, policy);
    if (!judgement.identity) {
        EXPECT_TRUE(judgement.beyond);
        return;
    }
    const Identity& served = *judgement.identity;
    EXPECT_TRUE(may_be(who, served.uid, policy));
    EXPECT_TRUE(may_be_in(who, served.gid, policy));
    for (const gid_t gid : served.groups) {
        EXPECT_TRUE(may_be_in(who, gid, policy)) << gid;
        EXPECT_THAT(any.gids, testing::Contains(gid)) << "a group nobody claimed";
    }
    EXPECT_NE(served.uid, kNoId);
    EXPECT_NE(served.gid, kNoId);
    const auto* remote = std::get_if<RemotePeer>(&who);
    const Restriction* restriction = remote == nullptr ? nullptr : &remote->rule->restriction;
    EXPECT_EQ(served.restriction, restriction);
    if (!any.given) {
        EXPECT_EQ(served, (Identity{kNobody, kNogroup, {}, restriction}));
        EXPECT_FALSE(judgement.beyond);
    }
}

TEST(CallerTest, NothingIsServedThatIsNotProven) {
    const std::vector<std::uint32_t> ids{0, 4, kWwwData, 1000, 1001, 1002, 2000, kNobody, kNoId};
    std::vector<Gids> lists{{}, {0, kWwwData, 1001}, {1001, 1002}};
    for (const gid_t gid : ids) lists.push_back({gid});
    for (const auto& [name, who] : kPeers) {
        for (const CallerPolicy& policy : {kRefuse, kSquash, kRefuseHigh, kSquashHigh}) {
            for (const uid_t uid : ids) {
                for (const gid_t gid : ids) {
                    for (const Gids& gids : lists) {
                        SCOPED_TRACE(testing::Message() << name << " claims " << uid << ":" << gid
                                                        << " " << testing::PrintToString(gids));
                        check_proven(who, claim(uid, gid, gids), policy);
                        check_proven(who, {false, uid, gid, gids, ""}, policy);
                    }
                }
            }
        }
    }
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
