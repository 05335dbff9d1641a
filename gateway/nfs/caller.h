// SPDX-License-Identifier: Apache-2.0
// Who a request is served as. A credential of AUTH_SYS is a claim; what is proven of its
// connection decides what of the claim counts.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gateway/nfs/export_rules.h"
#include "gateway/nfs/user_groups.h"

namespace cfsgate::gateway::nfs {

/// What a request says of its caller. Nothing of it is proven.
struct Claim {
    bool given = false;  ///< AUTH_SYS; otherwise AUTH_NONE, and the rest means nothing
    uid_t uid = kNobody;
    gid_t gid = kNogroup;
    std::vector<gid_t> gids;
    std::string machine;  ///< for logs only

    friend bool operator==(const Claim&, const Claim&) = default;
};

/// Proven of a connection inside this host.
struct LocalPeer {
    uid_t owner = kNobody;       ///< of its socket, as SocketOwners says
    bool reserved_port = false;  ///< its source port
    GroupsPtr groups;            ///< the owner's; null: not known, so it is in none
};

/// Known of a connection from elsewhere: the rule that admits it.
struct RemotePeer {
    const ExportRule* rule = nullptr;  ///< never null; outlives the connection
    bool reserved_port = false;
};

using Peer = std::variant<LocalPeer, RemotePeer>;

/// What becomes of a claim beyond what is proven.
enum class BeyondProof : std::uint8_t {
    Refuse,  ///< AUTH_TOOWEAK
    Squash,  ///< served with what is proven of it, which may be nobody
};

struct CallerPolicy {
    BeyondProof beyond = BeyondProof::Refuse;
    /// Connections of root from ports of 1024 and up count as root's own, not as those of whoever
    /// root forwards. Never as everybody's.
    bool root_from_high_ports = false;
};

/// Whom the façade gets to see.
struct Identity {
    uid_t uid = kNobody;
    gid_t gid = kNogroup;
    std::vector<gid_t> groups;
    const Restriction* restriction = nullptr;  ///< the export rule's; null inside this host

    friend bool operator==(const Identity&, const Identity&) = default;
};

struct Judgement {
    std::optional<Identity> identity;  ///< none: refused, AUTH_TOOWEAK
    bool beyond = false;               ///< more than proven was claimed: to be counted and logged

    friend bool operator==(const Judgement&, const Judgement&) = default;
};

/// - Root from a reserved port speaks for everybody: it is the system's own client.
/// - Another user is served as itself, with those of its groups that it claims.
/// - Who claims nothing, or to be nobody, is nobody.
/// - From elsewhere the export rule says who is squashed, and whether the source port must be
///   reserved; if it must and is not, everything is refused.
/// The same for the same arguments, so that a connection may remember its last one.
Judgement judge(const Peer& peer, const Claim& claim, const CallerPolicy& policy);

}  // namespace cfsgate::gateway::nfs
