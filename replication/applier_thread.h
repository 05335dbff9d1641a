// SPDX-License-Identifier: Apache-2.0
// The thread that applies what the configuration group has ordered, and the one that makes it
// durable. The group's own thread only hands over, so that a slow disk does not stall the others.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "replication/tree_applier.h"
#include "store/base/mutex.h"

namespace cfsgate::replication {

/// A submission that is to be made ready for the tree as all work before it leaves it.
struct PrepareChange {
    Submission submission;
    std::function<void(Submission, Status)> prepared;
};

using Work =
    std::variant<OrderedChange, ReadState, ReadUpdates, Commit, ComputeChecksum, PrepareChange>;

struct ApplierStatus {
    std::uint64_t waiting = 0;  ///< pieces of work not begun
    std::uint64_t oldest_ms = 0;
    std::uint64_t batches = 0;
    std::uint64_t flushes = 0;
    std::uint64_t applied = 0;
};

/// Threads: any, except where said.
class ApplierThread {
public:
    /// Called on the threads of this class; must not block.
    struct Callbacks {
        std::function<void(Event)> answer;  ///< for the machine
        /// What was ordered cannot be applied or made durable: this node must leave the group.
        std::function<void(const Error&)> broken;
        /// Answers restart(): everything before it is done or dropped.
        std::function<void(const Status&)> restarted;
    };

    ApplierThread(store::Store& store, TreeApplier::Listener listener, Callbacks callbacks,
                  Logger log);
    ~ApplierThread();

    void push(std::vector<Work> works) CFSGATE_EXCLUDES(mutex_);
    /// What is waiting was ordered before this node left: drops it, and answers its callers with
    /// `error`. Then looks whether the store serves, and tries to bring it back where it does not.
    void restart() CFSGATE_EXCLUDES(mutex_);
    /// Makes the journal durable up to there; `done` may be called on the calling thread.
    void sync(Sequence upto, SyncCompletion done) CFSGATE_EXCLUDES(mutex_);
    ApplierStatus status() const CFSGATE_EXCLUDES(mutex_);
    /// Ends the threads after what they are doing; what waits is dropped and answered.
    void stop() CFSGATE_EXCLUDES(mutex_);

private:
    using SteadyTime = std::chrono::steady_clock::time_point;
    struct Waiting {
        Work work;
        SteadyTime since;
    };
    struct Durable {
        Sequence upto;
        SyncCompletion done;
    };

    void run() CFSGATE_EXCLUDES(mutex_);
    void run_flush() CFSGATE_EXCLUDES(mutex_);
    void perform_restart();
    void perform(std::deque<Waiting> works);
    void perform_changes(std::vector<OrderedChange> changes);
    void perform(ReadState& work);
    void perform(ReadUpdates& work);
    void perform(Commit& work);
    void perform(ComputeChecksum& work);
    void perform(PrepareChange& work);
    void broken(const Error& error);
    void answer(OrderedChange& change);
    bool flush_is_due() const CFSGATE_REQUIRES(mutex_);
    bool flush_must_be_told() const CFSGATE_REQUIRES(mutex_);
    void flush_once(std::vector<Durable> waiters);
    static void drop(Work& work, const Error& error);

    store::Store& store_;
    TreeApplier applier_;
    Callbacks callbacks_;
    Logger log_;
    bool broken_ = false;  // of the applying thread

    mutable Mutex mutex_;
    CondVar changed_;
    CondVar to_flush_;
    std::deque<Waiting> works_ CFSGATE_GUARDED_BY(mutex_);
    std::vector<Durable> durable_ CFSGATE_GUARDED_BY(mutex_);
    bool flushing_ CFSGATE_GUARDED_BY(mutex_) = false;
    /// When what others have changed is made durable, though nobody here waits for it.
    std::optional<SteadyTime> flush_by_ CFSGATE_GUARDED_BY(mutex_);
    /// When "journal flush" looks again by itself.
    std::optional<SteadyTime> flush_looks_at_ CFSGATE_GUARDED_BY(mutex_);
    bool restart_asked_ CFSGATE_GUARDED_BY(mutex_) = false;
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    bool flush_stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    ApplierStatus status_ CFSGATE_GUARDED_BY(mutex_);
    std::thread thread_;
    std::thread flush_thread_;
};

}  // namespace cfsgate::replication
