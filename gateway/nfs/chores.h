// SPDX-License-Identifier: Apache-2.0
// Work that waits for other hosts, on a thread of its own.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <thread>

#include "store/base/mutex.h"

namespace cfsgate::gateway::nfs {

/// One after the other, each when it is due. A chore has a deadline of its own, of a few seconds.
/// Owns the thread "nlm-callbacks". Threads: any.
class Chores {
public:
    Chores();
    ~Chores() { stop(); }
    Chores(const Chores&) = delete;
    Chores& operator=(const Chores&) = delete;

    void post(std::function<void()> chore, std::chrono::milliseconds in = {})
        CFSGATE_EXCLUDES(mutex_);
    /// Waits for the chore at hand; what is left is dropped.
    void stop() CFSGATE_EXCLUDES(mutex_);

private:
    void run() CFSGATE_EXCLUDES(mutex_);

    Mutex mutex_;
    CondVar changed_;
    std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> due_
        CFSGATE_GUARDED_BY(mutex_);
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace cfsgate::gateway::nfs
