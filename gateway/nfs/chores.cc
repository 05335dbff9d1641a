// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/chores.h"

#include <pthread.h>

namespace cfsgate::gateway::nfs {

Chores::Chores() {
    thread_ = std::thread([this] { run(); });
    ::pthread_setname_np(thread_.native_handle(), "nlm-callbacks");
}

void Chores::stop() {
    {
        MutexLock lock(mutex_);
        stopping_ = true;
        due_.clear();
        changed_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
}

void Chores::post(std::function<void()> chore, std::chrono::milliseconds in) {
    MutexLock lock(mutex_);
    if (stopping_) return;
    due_.emplace(std::chrono::steady_clock::now() + in, std::move(chore));
    changed_.notify_one();
}

void Chores::run() {
    while (true) {
        std::function<void()> chore;
        {
            MutexLock lock(mutex_);
            while (!stopping_ && due_.empty()) changed_.wait(mutex_);
            if (stopping_) return;
            const auto first = due_.begin();
            const auto when = first->first;
            if (std::chrono::steady_clock::now() < when) {
                changed_.wait_until(mutex_, when);
                continue;
            }
            chore = std::move(first->second);
            due_.erase(first);
        }
        chore();
    }
}

}  // namespace cfsgate::gateway::nfs
