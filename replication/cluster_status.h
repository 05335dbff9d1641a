// SPDX-License-Identifier: Apache-2.0
// What this node knows of its cluster, for `.members` and for `status`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/base/ids.h"

namespace cfsgate::replication {

struct ClusterNode {
    NodeId id;
    std::string name;
    std::uint32_t votes = 0;
    std::vector<std::string> addresses;  ///< of its links, as configured
    bool online = false;                 ///< a member of the status group
    std::string ip;                      ///< as the node itself says; empty: unknown
};

struct Votes {
    std::uint32_t expected = 0;
    std::uint32_t total = 0;
    std::uint32_t needed = 0;  ///< the quorum
    std::string device;        ///< of the quorum device; empty: none
    std::string device_state;  ///< such as "registered, alive, voting"
};

struct Verification {
    std::uint64_t number = 0;
    bool equal = false;
    std::uint32_t at = 0;  ///< seconds since 1970
};

/// Of one group, as this node sees it.
struct GroupStatus {
    std::string mode;
    std::vector<NodeId> members;
    std::uint64_t leaves = 0;
    std::string last_leave;  ///< why; empty: never
    std::uint64_t unsent = 0;
    std::uint64_t queued = 0;  ///< waits for the end of a state sync
};

struct ClusterStatus {
    std::uint64_t info_version = 0;  ///< one more for each change of what `.members` shows
    std::string name;                ///< empty: the node list is not known yet
    std::uint64_t config_version = 0;
    std::vector<ClusterNode> nodes;
    NodeId self;
    bool quorate = false;
    std::uint32_t quorate_since = 0;  ///< or not quorate since then; seconds since 1970
    std::string why_not_quorate;
    std::optional<Votes> votes;
    std::uint64_t awaiting_rotation = 0;  ///< applied here, not answered yet (Ack::Rotation)
    std::uint64_t rotations = 0;          ///< markers that came back since the start
    GroupStatus configuration;
    GroupStatus status;
    std::optional<NodeId> last_leader;
    std::optional<Verification> last_verification;
    std::uint64_t in_flight = 0;      ///< own changes that are sent and not delivered
    std::uint64_t held = 0;           ///< own changes that wait to be sent
    std::uint64_t apply_waiting = 0;  ///< ordered, and not applied here yet
    std::uint64_t apply_lag_ms = 0;   ///< age of the oldest of those
};

}  // namespace cfsgate::replication
