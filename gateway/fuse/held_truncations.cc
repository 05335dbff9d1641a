// SPDX-License-Identifier: Apache-2.0
#include "gateway/fuse/held_truncations.h"

#include <pthread.h>

namespace cfsgate::gateway::fuse {
namespace {

/// A shell writes within microseconds of the close that precedes its command's output.
constexpr std::chrono::milliseconds kAfterFlush{20};
/// The kernel sends the two halves of an open(O_TRUNC) one behind the other.
constexpr std::chrono::milliseconds kBetweenHalves{200};
constexpr std::size_t kOpenersMax = 4096;

}  // namespace

HeldTruncations::HeldTruncations(Publish publish) : publish_(std::move(publish)) {
    thread_ = std::thread([this] { run(); });
    ::pthread_setname_np(thread_.native_handle(), "fuse-held");
}

void HeldTruncations::stop() {
    std::deque<Pending> left;
    {
        MutexLock lock(mutex_);
        stopping_ = true;
        left.swap(flushed_);
        changed_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
    for (const Pending& pending : left) {
        const HandlePtr handle = pending.handle.lock();
        if (handle && take(handle)) publish_(handle);
    }
}

void HeldTruncations::count_hold(FileId id) {
    ++waiting_[id].holds;
    inodes_waited_for_.store(waiting_.size(), std::memory_order_release);
}

void HeldTruncations::opened(const HandlePtr& handle) {
    MutexLock lock(mutex_);
    if (last_opened_.size() >= kOpenersMax) {
        std::erase_if(last_opened_,
                      [](const auto& entry) { return entry.second.handle.expired(); });
    }
    last_opened_[handle->opener.pid] = {std::chrono::steady_clock::now(), handle};
}

bool HeldTruncations::hold(const Caller& caller, FileId id) {
    MutexLock lock(mutex_);
    const auto found = last_opened_.find(caller.pid);
    if (found == last_opened_.end()) return false;
    const HandlePtr handle = found->second.handle.lock();
    const auto age = std::chrono::steady_clock::now() - found->second.at;
    last_opened_.erase(found);
    if (age > kBetweenHalves) return false;
    if (!handle || handle->file->id() != id || handle->hold != Handle::Hold::None) return false;
    handle->hold = Handle::Hold::Held;
    holders_[caller.pid] = handle;
    count_.fetch_add(1, std::memory_order_relaxed);
    return true;
}

bool HeldTruncations::held(const HandlePtr& handle) const {
    MutexLock lock(mutex_);
    return handle->hold != Handle::Hold::None;
}

HandlePtr HeldTruncations::take_own(const Caller& caller, FileId id) {
    HandlePtr handle;
    {
        MutexLock lock(mutex_);
        const auto found = holders_.find(caller.pid);
        if (found == holders_.end()) return nullptr;
        handle = found->second.lock();
    }
    if (!handle || handle->file->id() != id || !take(handle)) return nullptr;
    return handle;
}

bool HeldTruncations::take(const HandlePtr& handle) {
    MutexLock lock(mutex_);
    // Whatever comes on the handle, the open is over: a later truncate(2) is one of its own.
    const auto found = last_opened_.find(handle->opener.pid);
    if (found != last_opened_.end() && found->second.handle.lock() == handle)
        last_opened_.erase(found);
    if (handle->hold == Handle::Hold::None) return false;
    holders_.erase(handle->opener.pid);
    if (handle->hold == Handle::Hold::Held) count_hold(handle->file->id());
    // It counts until published() says that it can be read.
    handle->hold = Handle::Hold::None;
    return true;
}

void HeldTruncations::flushed(const HandlePtr& handle) {
    MutexLock lock(mutex_);
    if (handle->hold != Handle::Hold::Held) return;
    handle->hold = Handle::Hold::Flushed;
    count_hold(handle->file->id());
    flushed_.push_back({std::chrono::steady_clock::now() + kAfterFlush, handle});
    changed_.notify_one();
}

bool HeldTruncations::pending(FileId id) const {
    if (inodes_waited_for_.load(std::memory_order_acquire) == 0) return false;
    MutexLock lock(mutex_);
    return waiting_.contains(id);
}

bool HeldTruncations::wait(FileId id, std::function<void()> then) {
    MutexLock lock(mutex_);
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) return false;
    found->second.then.push_back(std::move(then));
    return true;
}

void HeldTruncations::published(FileId id) {
    std::vector<std::function<void()>> then;
    {
        MutexLock lock(mutex_);
        const auto found = waiting_.find(id);
        if (found == waiting_.end() || --found->second.holds > 0) return;
        then = std::move(found->second.then);
        waiting_.erase(found);
        inodes_waited_for_.store(waiting_.size(), std::memory_order_release);
    }
    for (const auto& go_on : then) go_on();
}

void HeldTruncations::run() {
    for (;;) {
        HandlePtr handle;
        {
            MutexLock lock(mutex_);
            while (flushed_.empty() && !stopping_) changed_.wait(mutex_);
            if (stopping_) return;
            const Pending next = flushed_.front();
            if (std::chrono::steady_clock::now() < next.deadline) {
                changed_.wait_until(mutex_, next.deadline);
                continue;
            }
            flushed_.pop_front();
            handle = next.handle.lock();
        }
        if (handle && take(handle)) publish_(handle);
    }
}

}  // namespace cfsgate::gateway::fuse
