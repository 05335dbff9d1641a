// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "replication/sequencer.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway::nfs {

/// Passes on to a real one, and while it holds, keeps what is submitted: a group that does not
/// answer. Threads: any.
class HoldingSequencer final : public replication::Sequencer {
public:
    explicit HoldingSequencer(std::unique_ptr<replication::Sequencer> real)
        : real_(std::move(real)) {}

    void hold() {
        const MutexLock lock(mutex_);
        holding_ = true;
    }
    /// What it holds goes its way, and what comes.
    void release() {
        std::vector<std::function<void()>> held;
        {
            const MutexLock lock(mutex_);
            holding_ = false;
            held.swap(held_);
        }
        for (const auto& one : held) one();
    }
    void set_quorate(bool quorate) { quorate_ = quorate; }
    std::size_t held() const {
        const MutexLock lock(mutex_);
        return held_.size();
    }

    bool quorate() const override { return quorate_; }
    void submit(replication::Submission submission, replication::Completion done) override {
        auto pass = [this, submission = std::move(submission), done = std::move(done)] {
            real_->submit(submission, done);
        };
        if (!keep(pass)) pass();
    }
    void sync(Sequence upto, replication::SyncCompletion done) override {
        auto pass = [this, upto, done = std::move(done)] { real_->sync(upto, done); };
        if (!keep(pass)) pass();
    }
    void observe_changes(replication::ChangeObserver observer) override {
        real_->observe_changes(std::move(observer));
    }
    replication::SequencerStatus status() const override { return real_->status(); }

private:
    bool keep(const std::function<void()>& pass) {
        const MutexLock lock(mutex_);
        if (holding_) held_.push_back(pass);
        return holding_;
    }

    std::unique_ptr<replication::Sequencer> real_;
    std::atomic<bool> quorate_{true};
    mutable Mutex mutex_;
    bool holding_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::vector<std::function<void()>> held_ CFSGATE_GUARDED_BY(mutex_);
};

}  // namespace cfsgate::gateway::nfs
