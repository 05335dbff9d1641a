// SPDX-License-Identifier: Apache-2.0
// A mutex whose protection clang checks (-Wthread-safety).
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define CFSGATE_ATTRIBUTE(x) __attribute__((x))
#else
#define CFSGATE_ATTRIBUTE(x)
#endif

#define CFSGATE_CAPABILITY(x) CFSGATE_ATTRIBUTE(capability(x))
#define CFSGATE_SCOPED_CAPABILITY CFSGATE_ATTRIBUTE(scoped_lockable)
#define CFSGATE_GUARDED_BY(x) CFSGATE_ATTRIBUTE(guarded_by(x))
#define CFSGATE_REQUIRES(...) CFSGATE_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define CFSGATE_ACQUIRE(...) CFSGATE_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define CFSGATE_RELEASE(...) CFSGATE_ATTRIBUTE(release_capability(__VA_ARGS__))
#define CFSGATE_EXCLUDES(...) CFSGATE_ATTRIBUTE(locks_excluded(__VA_ARGS__))

namespace cfsgate {

class CFSGATE_CAPABILITY("mutex") Mutex {
public:
    void lock() CFSGATE_ACQUIRE() { mutex_.lock(); }
    void unlock() CFSGATE_RELEASE() { mutex_.unlock(); }

private:
    friend class CondVar;
    std::mutex mutex_;
};

class CFSGATE_SCOPED_CAPABILITY MutexLock {
public:
    explicit MutexLock(Mutex& mutex) CFSGATE_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
    ~MutexLock() CFSGATE_RELEASE() { mutex_.unlock(); }
    MutexLock(const MutexLock&) = delete;
    MutexLock& operator=(const MutexLock&) = delete;

private:
    Mutex& mutex_;
};

/// Waits on a Mutex that the caller holds. Callers loop over their condition.
class CondVar {
public:
    void notify_one() { condition_.notify_one(); }
    void notify_all() { condition_.notify_all(); }

    void wait(Mutex& mutex) CFSGATE_REQUIRES(mutex) {
        std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
        condition_.wait(lock);
        lock.release();
    }
    /// False when `deadline` passed.
    bool wait_until(Mutex& mutex, std::chrono::steady_clock::time_point deadline)
        CFSGATE_REQUIRES(mutex) {
        std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
        const bool in_time = condition_.wait_until(lock, deadline) == std::cv_status::no_timeout;
        lock.release();
        return in_time;
    }

private:
    std::condition_variable condition_;
};

}  // namespace cfsgate
