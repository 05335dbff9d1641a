// SPDX-License-Identifier: Apache-2.0
// Takes content out of the past: for the command of this node, and where another node of the cluster
// has asked all of them to (replication/purge_message.h).
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <thread>

#include "store/base/log.h"
#include "store/base/mutex.h"
#include "store/store.h"

namespace cfsgate::gateway::daemon {

/// Threads: any. Owns "history purge", since a purge reads and writes files of any size.
class PurgeWorker {
public:
    static constexpr std::size_t kWaitingMax = 64;  ///< orders; more are refused

    /// Borrows the store.
    PurgeWorker(store::Store& store, Logger log);
    /// After the purge that is under way; what waits is given up, and the log says so.
    ~PurgeWorker();
    PurgeWorker(const PurgeWorker&) = delete;
    PurgeWorker& operator=(const PurgeWorker&) = delete;

    /// On the calling thread. Errors: those of Store::purge_history().
    Result<store::PurgeReport> purge(const std::string& path) CFSGATE_EXCLUDES(past_mutex_);
    /// `node` has asked for it. The path is as it came. One after the other; the log tells of the
    /// result. Does not block.
    void order(std::string_view path, NodeId node) CFSGATE_EXCLUDES(mutex_);
    /// Held while a tree of the past is looked at: one at a time, and none while some of it is
    /// purged.
    Mutex& past_mutex() { return past_mutex_; }

private:
    struct Order {
        std::string path;
        NodeId node;
    };

    void run() CFSGATE_EXCLUDES(mutex_);
    void perform(const Order& order);

    store::Store& store_;
    Logger log_;
    Mutex past_mutex_;
    Mutex mutex_;
    CondVar changed_;
    std::deque<Order> waiting_ CFSGATE_GUARDED_BY(mutex_);
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace cfsgate::gateway::daemon
