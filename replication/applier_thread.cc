// SPDX-License-Identifier: Apache-2.0
#include "replication/applier_thread.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "replication/prepare.h"

namespace cfsgate::replication {
namespace {

/// A change of another node is durable there; here it may wait for company.
constexpr std::chrono::milliseconds kFlushWithin{1000};
const Error kDropped{Errno::TimedOut,
                     "this node left the group meanwhile; the change may still happen"};

}  // namespace

ApplierThread::ApplierThread(store::Store& store, TreeApplier::Listener listener,
                             Callbacks callbacks, Logger log)
    : store_(store),
      applier_(store, std::move(listener), log),
      callbacks_(std::move(callbacks)),
      log_(std::move(log)),
      thread_([this] { run(); }),
      flush_thread_([this] { run_flush(); }) {
    ::pthread_setname_np(thread_.native_handle(), "applier");
    ::pthread_setname_np(flush_thread_.native_handle(), "journal flush");
}

ApplierThread::~ApplierThread() { stop(); }

void ApplierThread::stop() {
    std::deque<Waiting> left;
    {
        const MutexLock lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    {
        const MutexLock lock(mutex_);
        left.swap(works_);
        flush_stopping_ = true;
    }
    to_flush_.notify_all();
    if (flush_thread_.joinable()) flush_thread_.join();
    for (Waiting& waiting : left) drop(waiting.work, kDropped);
}

void ApplierThread::push(std::vector<Work> works) {
    const SteadyTime now = std::chrono::steady_clock::now();
    {
        const MutexLock lock(mutex_);
        for (Work& work : works) works_.push_back({std::move(work), now});
    }
    changed_.notify_one();
}

void ApplierThread::restart() {
    {
        const MutexLock lock(mutex_);
        restart_asked_ = true;
    }
    changed_.notify_one();
}

ApplierStatus ApplierThread::status() const {
    const MutexLock lock(mutex_);
    ApplierStatus status = status_;
    status.waiting = works_.size();
    if (!works_.empty()) {
        const auto age = std::chrono::steady_clock::now() - works_.front().since;
        status.oldest_ms = static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(age).count());
    }
    return status;
}

// --- Applying ---

void ApplierThread::run() {
    while (true) {
        std::deque<Waiting> works;
        bool restart = false;
        {
            const MutexLock lock(mutex_);
            while (works_.empty() && !restart_asked_ && !stopping_) changed_.wait(mutex_);
            if (stopping_) return;
            works.swap(works_);
            restart = std::exchange(restart_asked_, false);
        }
        if (restart) {
            for (Waiting& waiting : works) drop(waiting.work, kDropped);
            perform_restart();
        } else {
            perform(std::move(works));
        }
    }
}

/// The group orders nothing for a node that has left, so whatever comes later is of a new time.
void ApplierThread::perform_restart() {
    Status ready;
    if (broken_ || store_.failure()) ready = store_.try_recover();
    if (ready) broken_ = false;
    callbacks_.restarted(ready);
}

void ApplierThread::perform(std::deque<Waiting> works) {
    while (!works.empty()) {
        std::vector<OrderedChange> changes;
        while (!works.empty() && std::holds_alternative<OrderedChange>(works.front().work)) {
            changes.push_back(std::get<OrderedChange>(std::move(works.front().work)));
            works.pop_front();
        }
        if (!changes.empty()) perform_changes(std::move(changes));
        if (works.empty()) return;
        Work work = std::move(works.front().work);
        works.pop_front();
        if (broken_) {
            drop(work, kDropped);
            continue;
        }
        std::visit(
            [this](auto& one) {
                if constexpr (!std::is_same_v<std::decay_t<decltype(one)>, OrderedChange>) {
                    perform(one);
                }
            },
            work);
    }
}

void ApplierThread::perform_changes(std::vector<OrderedChange> changes) {
    if (!broken_) {
        const Status applied = applier_.apply(changes);
        if (!applied) {
            for (OrderedChange& change : changes) change.result = tl::unexpected(applied.error());
            broken(applied.error());
        } else {
            const MutexLock lock(mutex_);
            ++status_.batches;
            status_.applied += changes.size();
        }
    } else {
        for (OrderedChange& change : changes) change.result = tl::unexpected(kDropped);
    }
    for (OrderedChange& change : changes) answer(change);
    std::vector<Durable> waiters;
    bool tell = false;
    {
        const MutexLock lock(mutex_);
        if (durable_.empty() && !flush_by_) {
            flush_by_ = std::chrono::steady_clock::now() + kFlushWithin;
        }
        // With nothing else to do, without another thread's wake-up.
        if (!durable_.empty() && !flushing_ && works_.empty()) {
            flushing_ = true;
            waiters.swap(durable_);
        } else {
            tell = flush_must_be_told();
        }
    }
    if (tell) to_flush_.notify_one();
    if (!waiters.empty()) flush_once(std::move(waiters));
}

void ApplierThread::answer(OrderedChange& change) {
    if (!change.own) return;
    const Sequence upto = change.result ? change.result->sequence : Sequence();
    if (!change.result || change.own->need != Need::Durable) {
        const bool flush = change.result && change.own->need == Need::Flushing;
        change.own->done(std::move(change.result));
        if (!flush) return;
        const MutexLock lock(mutex_);
        durable_.push_back({upto, [](const Status&) {}});
        return;
    }
    const MutexLock lock(mutex_);
    durable_.push_back({upto, [done = std::move(change.own->done),
                               result = std::move(change.result)](const Status& status) {
                            if (status) return done(result);
                            done(tl::unexpected(status.error()));
                        }});
}

void ApplierThread::broken(const Error& error) {
    broken_ = true;
    log_->error("what the group has ordered cannot be applied: {}", error.detail);
    callbacks_.broken(error);
}

void ApplierThread::perform(ReadState& work) { callbacks_.answer(applier_.read_state(work)); }

void ApplierThread::perform(ReadUpdates& work) {
    auto updates = applier_.read_updates(work);
    if (!updates) return broken(updates.error());
    callbacks_.answer(std::move(*updates));
}

void ApplierThread::perform(Commit& work) {
    auto committed = applier_.commit(std::move(work));
    if (!committed) return broken(committed.error());
    callbacks_.answer(*committed);
}

void ApplierThread::perform(ComputeChecksum& work) {
    auto computed = applier_.compute_checksum(work);
    if (!computed) return broken(computed.error());
    callbacks_.answer(*computed);
}

void ApplierThread::perform(PrepareChange& work) {
    const auto view = store_.read();
    Status ready;
    if (view) {
        ready = prepare(**view, work.submission);
    } else {
        ready = tl::unexpected(view.error());
    }
    work.prepared(std::move(work.submission), std::move(ready));
}

void ApplierThread::drop(Work& work, const Error& error) {
    if (auto* change = std::get_if<OrderedChange>(&work)) {
        if (change->own) change->own->done(tl::unexpected(error));
    } else if (auto* prepared = std::get_if<PrepareChange>(&work)) {
        prepared->prepared(std::move(prepared->submission),
                           fail(Errno::Busy, "this node left the group; nothing was sent"));
    }
}

// --- Durability ---

void ApplierThread::sync(Sequence upto, SyncCompletion done) {
    if (store_.journal_status().synced >= upto) return done({});
    {
        const MutexLock lock(mutex_);
        durable_.push_back({upto, std::move(done)});
        if (flushing_) return;  // whoever flushes looks for it afterwards
    }
    to_flush_.notify_one();
}

void ApplierThread::run_flush() {
    while (true) {
        std::vector<Durable> waiters;
        {
            const MutexLock lock(mutex_);
            while (!flush_is_due() && !flush_stopping_) {
                flush_looks_at_ = flushing_ ? std::nullopt : flush_by_;
                if (flush_looks_at_) {
                    to_flush_.wait_until(mutex_, *flush_looks_at_);
                } else {
                    to_flush_.wait(mutex_);
                }
                flush_looks_at_.reset();
            }
            if (flush_stopping_ && durable_.empty()) return;
            flushing_ = true;
            waiters.swap(durable_);
        }
        flush_once(std::move(waiters));
    }
}

bool ApplierThread::flush_is_due() const {
    if (flushing_) return false;
    return !durable_.empty() || (flush_by_ && std::chrono::steady_clock::now() >= *flush_by_);
}

/// Each wake-up of a thread costs as much as a change: not for what it will see by itself.
bool ApplierThread::flush_must_be_told() const {
    if (flushing_) return false;  // whoever flushes looks for it afterwards
    if (!durable_.empty()) return true;
    return flush_by_ && !(flush_looks_at_ && *flush_looks_at_ <= *flush_by_);
}

/// One flush answers all who wait; what comes meanwhile gets the next.
void ApplierThread::flush_once(std::vector<Durable> waiters) {
    {
        const MutexLock lock(mutex_);
        flush_by_.reset();
    }
    Sequence upto = store_.journal_status().appended;
    for (const Durable& waiter : waiters) upto = std::max(upto, waiter.upto);
    const Status status = store_.sync(upto);
    bool more = false;
    {
        const MutexLock lock(mutex_);
        flushing_ = false;
        ++status_.flushes;
        // Those that came late for something that was flushed.
        const auto late =
            std::stable_partition(durable_.begin(), durable_.end(),
                                  [upto](const Durable& waiter) { return waiter.upto > upto; });
        std::move(late, durable_.end(), std::back_inserter(waiters));
        durable_.erase(late, durable_.end());
        more = flush_must_be_told();
    }
    if (more) to_flush_.notify_one();
    for (Durable& waiter : waiters) waiter.done(status);
    if (!status) callbacks_.broken(status.error());
}

}  // namespace cfsgate::replication
