// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/purge_worker.h"

#include <pthread.h>

#include <utility>

#include "replication/purge_message.h"

namespace cfsgate::gateway::daemon {

PurgeWorker::PurgeWorker(store::Store& store, Logger log)
    : store_(store), log_(std::move(log)), thread_([this] { run(); }) {
    ::pthread_setname_np(thread_.native_handle(), "history purge");
}

PurgeWorker::~PurgeWorker() {
    {
        const MutexLock lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
    const MutexLock lock(mutex_);
    for (const Order& order : waiting_) {
        log_->error("'{}', asked for by node {}, is not purged here: the daemon is ending",
                    order.path, order.node.value());
    }
}

Result<store::PurgeReport> PurgeWorker::purge(const std::string& path) {
    const MutexLock lock(past_mutex_);
    return store_.purge_history(path);
}

void PurgeWorker::order(std::string_view path, NodeId node) {
    if (const Status good = replication::check_purge_path(path); !good) {
        return log_->error("what node {} asks to purge is refused: {}", node.value(),
                           good.error().detail);
    }
    {
        const MutexLock lock(mutex_);
        if (waiting_.size() >= kWaitingMax) {
            return log_->error("'{}', asked for by node {}, is not purged here: too many wait",
                               path, node.value());
        }
        waiting_.push_back({std::string(path), node});
    }
    changed_.notify_all();
}

void PurgeWorker::run() {
    while (true) {
        Order order;
        {
            const MutexLock lock(mutex_);
            while (waiting_.empty() && !stopping_) changed_.wait(mutex_);
            if (stopping_) return;
            order = std::move(waiting_.front());
            waiting_.pop_front();
        }
        perform(order);
    }
}

void PurgeWorker::perform(const Order& order) {
    const auto report = purge(order.path);
    if (!report) {
        return log_->error("'{}', asked for by node {}, is not purged here: {}", order.path,
                           order.node.value(), report.error().detail);
    }
    log_->info(
        "'{}' purged as node {} has asked: {} journal records and {} snapshots have lost content, "
        "{} files keep that of the present",
        order.path, order.node.value(), report->records, report->snapshots.size(),
        report->still_there.size());
    for (const std::string& file : report->unreadable) {
        log_->error(
            "{}: is damaged, and may still hold what should go; delete it if you do not "
            "need it",
            file);
    }
}

}  // namespace cfsgate::gateway::daemon
