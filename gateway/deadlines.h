// SPDX-License-Identifier: Apache-2.0
// Nobody waits for ever: a caller without an answer in time gets TimedOut, once.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "store/base/mutex.h"
#include "store/base/result.h"

namespace cfsgate::gateway {

/// Owns the thread "deadlines", which sleeps while nothing is under way. Threads: any.
class Deadlines {
public:
    explicit Deadlines(std::chrono::milliseconds limit);
    /// Waiting callers get TimedOut.
    ~Deadlines();

    /// A completion that calls `done` once: with the result, or with TimedOut when it is late.
    template <class T>
    std::function<void(Result<T>)> guard(std::function<void(Result<T>)> done) {
        auto call = std::make_shared<Call<T>>(std::move(done));
        watch(call);
        return [call](Result<T> result) { call->answer(std::move(result)); };
    }

    std::uint64_t expired() const { return expired_.load(std::memory_order_relaxed); }

private:
    struct Watched {
        virtual ~Watched() = default;
        virtual void expire() = 0;
        bool answered() const { return answered_.load(std::memory_order_acquire); }

    protected:
        std::atomic<bool> answered_{false};
    };
    template <class T>
    struct Call final : Watched {
        explicit Call(std::function<void(Result<T>)> f) : done(std::move(f)) {}
        void answer(Result<T> result) {
            if (!this->answered_.exchange(true)) done(std::move(result));
        }
        void expire() override {
            answer(fail(Errno::TimedOut, "no answer in time; the change may still happen"));
        }
        std::function<void(Result<T>)> done;
    };
    struct Entry {
        std::chrono::steady_clock::time_point deadline;
        std::weak_ptr<Watched> call;
    };

    void watch(const std::shared_ptr<Watched>& call) CFSGATE_EXCLUDES(mutex_);
    void drop_answered() CFSGATE_REQUIRES(mutex_);
    void run() CFSGATE_EXCLUDES(mutex_);

    std::chrono::milliseconds limit_;
    Mutex mutex_;
    CondVar changed_;
    /// In order of their deadlines, since all wait equally long.
    std::deque<Entry> entries_ CFSGATE_GUARDED_BY(mutex_);
    bool idle_ CFSGATE_GUARDED_BY(mutex_) = true;
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::atomic<std::uint64_t> expired_{0};
    std::thread thread_;
};

}  // namespace cfsgate::gateway
