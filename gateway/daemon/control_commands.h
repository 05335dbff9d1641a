// SPDX-License-Identifier: Apache-2.0
// Performs the requests of the control socket.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>

#include "gateway/daemon/history_commands.h"
#include "gateway/daemon/nfs_service.h"
#include "gateway/daemon/purge_worker.h"
#include "gateway/daemon/tree_access.h"
#include "replication/cluster_sequencer.h"
#include "store/store.h"

namespace cfsgate::gateway::daemon {

/// Threads: any, each request on its own.
class ControlCommands {
public:
    using StatusSource = std::function<Result<nlohmann::json>(bool with_checksum)>;

    /// Borrows the store, the files, the export, the worker and the cluster (none in local mode).
    ControlCommands(store::Store& store, FileSystem& files, std::string state_directory,
                    std::chrono::milliseconds deadline, StatusSource status, const NfsService& nfs,
                    PurgeWorker& purges, replication::ClusterSequencer* cluster);

    /// Errors: NotImplemented for an unknown command, Invalid for a missing field, and those of the
    /// command.
    Result<nlohmann::json> run(const nlohmann::json& request, const std::stop_token& stop);

private:
    Result<nlohmann::json> status(const nlohmann::json& request) const;
    Result<nlohmann::json> check() const;
    Result<nlohmann::json> snapshot() const;
    Result<nlohmann::json> export_database(const nlohmann::json& request) const;
    Result<nlohmann::json> back_up_tree(const nlohmann::json& request,
                                        const std::stop_token& stop) const;
    Result<nlohmann::json> get(const nlohmann::json& request) const;
    Result<nlohmann::json> list(const nlohmann::json& request) const;
    Status sync(const std::stop_token& stop);
    Status verify();
    Status change(const std::string& command, const nlohmann::json& request,
                  const std::stop_token& stop);

    store::Store& store_;
    TreeAccess tree_;
    HistoryCommands history_;
    std::string state_directory_;
    StatusSource status_;
    const NfsService& nfs_;
    PurgeWorker& purges_;
    FileSystem& files_;
    std::chrono::milliseconds deadline_;
    replication::ClusterSequencer* cluster_;
};

}  // namespace cfsgate::gateway::daemon
