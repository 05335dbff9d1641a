// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/caller.h"

#include <algorithm>
#include <iterator>

namespace cfsgate::gateway::nfs {
namespace {

constexpr uid_t kRoot = 0;
constexpr gid_t kRootGroup = 0;
/// The number that system calls read as "leave it as it is": no user's, no group's.
constexpr std::uint32_t kNoId = UINT32_MAX;

Judgement serve(Identity identity) { return {std::move(identity), false}; }

Judgement serve_less(Identity identity, BeyondProof beyond) {
    if (beyond == BeyondProof::Refuse) return {std::nullopt, true};
    return {std::move(identity), true};
}

bool claims_nobody(const Claim& claim) {
    if (!claim.given) return true;
    return claim.uid == kNobody && claim.gid == kNogroup &&
           std::all_of(claim.gids.begin(), claim.gids.end(),
                       [](gid_t gid) { return gid == kNogroup; });
}

/// The claim word for word, for those who may speak for everybody.
Identity as_claimed(const Claim& claim) {
    Identity identity;
    identity.uid = claim.uid == kNoId ? kNobody : claim.uid;
    identity.gid = claim.gid == kNoId ? kNogroup : claim.gid;
    identity.groups = claim.gids;
    std::erase(identity.groups, kNoId);
    return identity;
}

Identity without_root(Identity identity) {
    if (identity.uid == kRoot) identity.uid = kNobody;
    if (identity.gid == kRootGroup) identity.gid = kNogroup;
    std::erase(identity.groups, kRootGroup);
    return identity;
}

/// The owner itself, with those groups of the claim that it is in.
Identity as_owner(const LocalPeer& peer, const Claim& claim) {
    const Groups groups = peer.groups ? *peer.groups : Groups{};
    Identity identity;
    identity.uid = peer.owner;
    identity.gid = groups.has(claim.gid) ? claim.gid : groups.primary;
    std::copy_if(claim.gids.begin(), claim.gids.end(), std::back_inserter(identity.groups),
                 [&](gid_t gid) { return groups.has(gid); });
    return identity;
}

Judgement judge_owner(const LocalPeer& peer, const Claim& claim, BeyondProof beyond) {
    if (claim.uid != peer.owner) return serve_less(Identity{}, beyond);
    Identity identity = as_owner(peer, claim);
    if (identity.gid != claim.gid || identity.groups != claim.gids) {
        return serve_less(std::move(identity), beyond);
    }
    return serve(std::move(identity));
}

Judgement judge_peer(const LocalPeer& peer, const Claim& claim, const CallerPolicy& policy) {
    if (claims_nobody(claim)) return serve(Identity{});
    if (peer.owner != kRoot) return judge_owner(peer, claim, policy.beyond);
    if (peer.reserved_port) return serve(as_claimed(claim));
    // Whatever a forwarder of root's passes on: it could be anybody.
    if (!policy.root_from_high_ports) return serve_less(Identity{}, policy.beyond);
    return judge_owner(peer, claim, policy.beyond);
}

Identity squashed(const Claim& claim, Squash squash) {
    if (!claim.given) return {};
    switch (squash) {
        case Squash::Root: return without_root(as_claimed(claim));
        case Squash::All: return {};
        case Squash::None: return as_claimed(claim);
    }
    return {};
}

Judgement judge_peer(const RemotePeer& peer, const Claim& claim, const CallerPolicy&) {
    if (!peer.reserved_port && !peer.rule->high_ports) return {std::nullopt, true};
    Identity identity = squashed(claim, peer.rule->squash);
    identity.restriction = &peer.rule->restriction;
    return serve(std::move(identity));
}

}  // namespace

Judgement judge(const Peer& peer, const Claim& claim, const CallerPolicy& policy) {
    return std::visit([&](const auto& known) { return judge_peer(known, claim, policy); }, peer);
}

}  // namespace cfsgate::gateway::nfs
