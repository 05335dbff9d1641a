// SPDX-License-Identifier: Apache-2.0
// The sequencer of local mode: this node's own order, applied at once.
#include <chrono>
#include <deque>

#include "replication/prepare.h"
#include "replication/sequencer.h"
#include "store/base/mutex.h"

namespace cfsgate::replication {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Batches without a flush in between while callers wait for one.
constexpr int kBatchesBeforeFlush = 8;

struct Item {
    Submission submission;
    Completion done;
    SteadyTime since;
    Result<Outcome> result = fail(Errno::InputOutput);
};

struct Waiter {
    Sequence upto;
    SteadyTime since;
    std::function<void(Status)> done;
};

class LocalSequencer final : public Sequencer {
public:
    LocalSequencer(store::Store& store, WallClock clock)
        : store_(store), clock_(std::move(clock)) {}

    bool quorate() const override { return true; }

    void submit(Submission submission, Completion done) override {
        {
            MutexLock lock(mutex_);
            ++status_.submitted;
            queue_.push_back({std::move(submission), std::move(done),
                              std::chrono::steady_clock::now(), fail(Errno::InputOutput)});
            if (leading_ || gathering_ > 0) return;
            leading_ = true;
        }
        lead();
        flush();
    }

    void begin_gathering() override {
        MutexLock lock(mutex_);
        ++gathering_;
    }

    void end_gathering() override {
        {
            MutexLock lock(mutex_);
            if (--gathering_ > 0 || leading_ || queue_.empty()) return;
            leading_ = true;
        }
        lead();
        flush();
    }

    void sync(Sequence upto, SyncCompletion done) override {
        if (store_.journal_status().synced >= upto) return done({});
        {
            MutexLock lock(mutex_);
            waiters_.push_back({upto, std::chrono::steady_clock::now(), std::move(done)});
        }
        flush();
    }

    void observe_changes(ChangeObserver observer) override { observer_ = std::move(observer); }

    SequencerStatus status() const override {
        MutexLock lock(mutex_);
        SequencerStatus status = status_;
        SteadyTime oldest = std::chrono::steady_clock::now();
        const SteadyTime now = oldest;
        if (!queue_.empty()) oldest = std::min(oldest, queue_.front().since);
        if (!waiters_.empty()) oldest = std::min(oldest, waiters_.front().since);
        if (leading_ || flushing_) oldest = std::min(oldest, in_work_since_);
        status.oldest_waiting_ms = static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(now - oldest).count());
        return status;
    }

private:
    /// Applies batch after batch until nothing is queued.
    void lead() {
        for (int batches = 1;; ++batches) {
            std::deque<Item> items;
            {
                MutexLock lock(mutex_);
                if (queue_.empty()) {
                    leading_ = false;
                    return;
                }
                items.swap(queue_);
                in_work_since_ = items.front().since;
                ++status_.batches;
            }
            run(items);
            if (batches % kBatchesBeforeFlush == 0) flush();
        }
    }

    void run(std::deque<Item>& items) {
        std::vector<store::Change> changes;
        const Status committed = apply(items, changes);
        if (!committed && items.size() > 1) {
            // One of them cannot be stored; the others need not suffer for it.
            for (Item& item : items) {
                std::deque<Item> alone;
                alone.push_back(std::move(item));
                run(alone);
            }
            return;
        }
        if (!committed) items.front().result = tl::unexpected(committed.error());
        if (observer_ && !changes.empty()) observer_(changes);
        for (Item& item : items) answer(item);
    }

    /// One transaction. An error: nothing of it happened.
    Status apply(std::deque<Item>& items, std::vector<store::Change>& changes) {
        auto batch = CFSGATE_TRY(store_.begin());
        for (Item& item : items) {
            if (const Status ready = prepare(batch->view(), item.submission); !ready) {
                item.result = tl::unexpected(ready.error());
                continue;
            }
            const store::Applied applied = batch->apply(
                item.submission.operation, Stamp{NodeId(0), clock_()}, item.submission.annotate);
            if (applied.broken) return fail(applied.error, "the change could not be stored");
            if (!applied.ok) {
                item.result = fail(applied.error);
                continue;
            }
            item.result = Outcome{applied.bytes, applied.inode, applied.version, {}};
            changes.insert(changes.end(), applied.changes.begin(), applied.changes.end());
        }
        const auto sequence = batch->commit();
        if (!sequence) {
            changes.clear();
            return tl::unexpected(sequence.error());
        }
        for (Item& item : items) {
            if (item.result) item.result->sequence = *sequence;
        }
        return {};
    }

    void answer(Item& item) {
        const Sequence upto = item.result ? item.result->sequence : Sequence();
        if (!item.result || item.submission.need != Need::Durable) {
            const bool flush = item.result && item.submission.need == Need::Flushing;
            complete(item.done, std::move(item.result));
            if (!flush) return;
            MutexLock lock(mutex_);
            waiters_.push_back({upto, item.since, [](const Status&) {}});
            return;
        }
        MutexLock lock(mutex_);
        waiters_.push_back(
            {upto, item.since,
             [this, done = std::move(item.done), result = std::move(item.result)](Status status) {
                 if (status) return complete(done, result);
                 complete(done, tl::unexpected(status.error()));
             }});
    }

    void complete(const Completion& done, Result<Outcome> result) {
        {
            MutexLock lock(mutex_);
            ++status_.completed;
        }
        done(std::move(result));
    }

    /// One flush answers everybody who waits by then; what arrives meanwhile gets the next.
    void flush() {
        {
            MutexLock lock(mutex_);
            if (flushing_ || waiters_.empty()) return;
            flushing_ = true;
        }
        for (;;) {
            std::deque<Waiter> waiters;
            {
                MutexLock lock(mutex_);
                if (waiters_.empty()) {
                    flushing_ = false;
                    return;
                }
                waiters.swap(waiters_);
                in_work_since_ = waiters.front().since;
                ++status_.flushes;
            }
            Sequence upto;
            for (const Waiter& waiter : waiters) upto = std::max(upto, waiter.upto);
            const Status status = store_.sync(upto);
            for (Waiter& waiter : waiters) waiter.done(status);
        }
    }

    store::Store& store_;
    WallClock clock_;
    ChangeObserver observer_;

    mutable Mutex mutex_;
    std::deque<Item> queue_ CFSGATE_GUARDED_BY(mutex_);
    std::deque<Waiter> waiters_ CFSGATE_GUARDED_BY(mutex_);
    bool leading_ CFSGATE_GUARDED_BY(mutex_) = false;
    int gathering_ CFSGATE_GUARDED_BY(mutex_) = 0;
    bool flushing_ CFSGATE_GUARDED_BY(mutex_) = false;
    SteadyTime in_work_since_ CFSGATE_GUARDED_BY(mutex_);
    SequencerStatus status_ CFSGATE_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Sequencer> make_local_sequencer(store::Store& store, WallClock clock) {
    return std::make_unique<LocalSequencer>(store, std::move(clock));
}

}  // namespace cfsgate::replication
