// SPDX-License-Identifier: Apache-2.0
// Threads that run changes, so that the event loop never waits for a disk.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "gateway/file_system.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway::nfs {

/// Two: while one waits for the disk, the other applies what has come in since, all of it as one
/// batch. Threads: any.
class ChangeWorkers {
public:
    explicit ChangeWorkers(FileSystem& files);
    ~ChangeWorkers() { stop(); }
    ChangeWorkers(const ChangeWorkers&) = delete;
    ChangeWorkers& operator=(const ChangeWorkers&) = delete;

    void post(std::function<void()> work) CFSGATE_EXCLUDES(mutex_);
    /// Runs what was posted, then ends the threads.
    void stop() CFSGATE_EXCLUDES(mutex_);

private:
    void run() CFSGATE_EXCLUDES(mutex_);

    FileSystem& files_;
    Mutex mutex_;
    CondVar posted_;
    std::vector<std::function<void()>> inbox_ CFSGATE_GUARDED_BY(mutex_);
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::vector<std::thread> threads_;
};

}  // namespace cfsgate::gateway::nfs
