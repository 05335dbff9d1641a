// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/change_workers.h"

#include <pthread.h>

namespace cfsgate::gateway::nfs {
namespace {

constexpr int kThreads = 2;

}  // namespace

ChangeWorkers::ChangeWorkers(FileSystem& files) : files_(files) {
    for (int i = 0; i < kThreads; ++i) {
        threads_.emplace_back([this] {
            ::pthread_setname_np(::pthread_self(), "nfs-changes");
            run();
        });
    }
}

void ChangeWorkers::post(std::function<void()> work) {
    MutexLock lock(mutex_);
    inbox_.push_back(std::move(work));
    posted_.notify_one();
}

void ChangeWorkers::run() {
    for (;;) {
        std::vector<std::function<void()>> work;
        {
            MutexLock lock(mutex_);
            while (inbox_.empty() && !stopping_) posted_.wait(mutex_);
            if (inbox_.empty()) return;
            work.swap(inbox_);
        }
        const auto gathering = files_.gather();
        for (const auto& change : work) change();
    }
}

void ChangeWorkers::stop() {
    {
        MutexLock lock(mutex_);
        stopping_ = true;
        posted_.notify_all();
    }
    for (std::thread& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
}

}  // namespace cfsgate::gateway::nfs
