// SPDX-License-Identifier: Apache-2.0
// The request `history-purge` of the control socket.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>

#include "gateway/daemon/purge_worker.h"
#include "replication/cluster_sequencer.h"

namespace cfsgate::gateway::daemon {

struct PurgeSource {
    PurgeWorker& worker;
    std::string state_directory;
    replication::ClusterSequencer* cluster = nullptr;  ///< none in local mode
    std::chrono::milliseconds deadline{};              ///< for the order to come back
};

/// Takes the request's `path` out of this node's past, and with `all_nodes` asks the other members
/// of the group to do the same. Before anything is done: NotSupported in local mode, NoAccess without
/// quorum, Busy out of sync, Invalid and NameTooLong for a path that cannot be sent. Once this node
/// has done it, what kept the others from being asked; the text says so.
Result<nlohmann::json> purge_history(const PurgeSource& source, const nlohmann::json& request,
                                     const std::stop_token& stop);

}  // namespace cfsgate::gateway::daemon
