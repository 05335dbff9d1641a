// SPDX-License-Identifier: Apache-2.0
#include "gateway/deadlines.h"

#include <pthread.h>

namespace cfsgate::gateway {

Deadlines::Deadlines(std::chrono::milliseconds limit) : limit_(limit) {
    thread_ = std::thread([this] { run(); });
    ::pthread_setname_np(thread_.native_handle(), "deadlines");
}

Deadlines::~Deadlines() {
    std::deque<Entry> left;
    {
        MutexLock lock(mutex_);
        stopping_ = true;
        changed_.notify_one();
    }
    thread_.join();
    {
        MutexLock lock(mutex_);
        left.swap(entries_);
    }
    for (const Entry& entry : left) {
        if (const auto call = entry.call.lock()) call->expire();
    }
}

void Deadlines::drop_answered() {
    while (!entries_.empty()) {
        const auto call = entries_.front().call.lock();
        if (call && !call->answered()) return;
        entries_.pop_front();
    }
}

void Deadlines::watch(const std::shared_ptr<Watched>& call) {
    MutexLock lock(mutex_);
    drop_answered();
    entries_.push_back({std::chrono::steady_clock::now() + limit_, call});
    if (idle_) {
        idle_ = false;
        changed_.notify_one();
    }
}

void Deadlines::run() {
    for (;;) {
        std::deque<std::shared_ptr<Watched>> late;
        {
            MutexLock lock(mutex_);
            for (;;) {
                if (stopping_) return;
                drop_answered();
                if (entries_.empty()) {
                    idle_ = true;
                    changed_.wait(mutex_);
                } else if (changed_.wait_until(mutex_, entries_.front().deadline) || stopping_) {
                    continue;
                } else {
                    break;
                }
            }
            const auto now = std::chrono::steady_clock::now();
            while (!entries_.empty() && entries_.front().deadline <= now) {
                if (auto call = entries_.front().call.lock()) late.push_back(std::move(call));
                entries_.pop_front();
            }
        }
        for (const auto& call : late) {
            if (call->answered()) continue;
            expired_.fetch_add(1, std::memory_order_relaxed);
            call->expire();
        }
    }
}

}  // namespace cfsgate::gateway
