// SPDX-License-Identifier: Apache-2.0
// The requests of the control socket about the past: what was done, the tree as it was, and the way
// back to it. Only root reaches them, so they show private entries too.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>

#include "gateway/daemon/tree_access.h"
#include "store/base/mutex.h"
#include "store/history/history.h"
#include "store/history/restore_plan.h"
#include "store/store.h"

namespace cfsgate::gateway::daemon {

/// Threads: any, each request on its own.
class HistoryCommands {
public:
    /// How a node is called.
    using NodeName = std::function<std::string(NodeId)>;

    /// Borrows the store, the files and the mutex: PurgeWorker::past_mutex().
    HistoryCommands(store::Store& store, FileSystem& files, std::string state_directory,
                    std::chrono::milliseconds deadline, NodeName node_name, Mutex& past_mutex);

    /// Nothing where the command is another one's.
    std::optional<Result<nlohmann::json>> run(const std::string& command,
                                              const nlohmann::json& request,
                                              const std::stop_token& stop);

    /// How far a restore is: "running", "done", "total". Null before the first one.
    nlohmann::json restore_progress() const;

private:
    using Request = nlohmann::json;

    Result<nlohmann::json> log(const Request& request) const;
    Result<nlohmann::json> show(const Request& request);
    Result<nlohmann::json> diff(const Request& request);
    Result<nlohmann::json> restore(const Request& request, const std::stop_token& stop);
    Result<nlohmann::json> list_snapshots() const;
    Result<nlohmann::json> create_snapshot(const Request& request);
    Result<nlohmann::json> delete_snapshot(const Request& request);

    /// A tree that commands look at; the present where `sequence` is not given.
    struct Tree {
        std::unique_ptr<store::PastTree> past;
        std::unique_ptr<store::ReadView> view;
        std::optional<Sequence> sequence;
        store::Purged purged;

        bool is_purged(const Inode& inode) const {
            return sequence && !inode.is_directory() && purged.has(inode.number, *sequence);
        }
    };
    Result<Tree> tree_at(const store::Position& position) const CFSGATE_REQUIRES(past_mutex_);
    Result<Tree> present() const;
    Result<store::RestorePlan> plan(const Request& request, nlohmann::json& answer);
    Status perform(const Operation& operation, const std::stop_token& stop);
    Status perform_all(const std::vector<Operation>& operations, const std::stop_token& stop);
    Result<std::string> keep_present();

    store::Store& store_;
    TreeAccess tree_;
    std::string state_directory_;
    NodeName node_name_;
    Mutex& past_mutex_;
    std::atomic<bool> restoring_{false};
    std::atomic<std::uint64_t> done_{0};
    std::atomic<std::uint64_t> total_{0};
    std::atomic<bool> ever_restored_{false};
};

}  // namespace cfsgate::gateway::daemon
