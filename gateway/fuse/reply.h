// SPDX-License-Identifier: Apache-2.0
// One answer to one request of the kernel, whoever comes first: the result or an interrupt.
#pragma once

#define FUSE_USE_VERSION 312
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <thread>
#include <unordered_map>

#include <fuse3/fuse_lowlevel.h>

#include "gateway/file_system.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway::fuse {

/// A request under way. The kernel's memory for it ends with the answer.
class Reply {
public:
    explicit Reply(fuse_req_t request) : request_(request) {}

    /// True for the one who may answer.
    bool claim() { return !answered_.exchange(true); }
    fuse_req_t request() const { return request_; }

    void error(Errno code) {
        if (claim()) fuse_reply_err(request_, to_posix(code));
    }
    void success() {
        if (claim()) fuse_reply_err(request_, 0);
    }

private:
    fuse_req_t request_;
    std::atomic<bool> answered_{false};
};

using ReplyPtr = std::shared_ptr<Reply>;

/// Answers interrupted requests with EINTR. A signal that is no reason to give up (a child's end, a
/// runtime's tick) interrupts a request just as Ctrl-C does, so the result gets a moment to arrive
/// first: only a stalled request is cut. Owns the thread "fuse-interrupts". Threads: any.
class Interrupts {
public:
    Interrupts();
    ~Interrupts() { stop(); }
    void stop() CFSGATE_EXCLUDES(mutex_);

    /// The request's reply, answered early if its caller gives up.
    ReplyPtr watch(fuse_req_t request) CFSGATE_EXCLUDES(mutex_);
    std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }

private:
    struct Interrupted {
        std::chrono::steady_clock::time_point deadline;
        std::weak_ptr<Reply> reply;
    };
    static void on_interrupt(fuse_req_t request, void* self) noexcept;
    void interrupted(fuse_req_t request) CFSGATE_EXCLUDES(mutex_);
    void run() CFSGATE_EXCLUDES(mutex_);
    void sweep() CFSGATE_REQUIRES(mutex_);

    Mutex mutex_;
    CondVar changed_;
    std::unordered_map<fuse_req_t, std::weak_ptr<Reply>> watched_ CFSGATE_GUARDED_BY(mutex_);
    std::size_t sweep_at_ CFSGATE_GUARDED_BY(mutex_) = 256;
    std::deque<Interrupted> interrupted_ CFSGATE_GUARDED_BY(mutex_);
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::atomic<std::uint64_t> count_{0};
    std::thread thread_;
};

}  // namespace cfsgate::gateway::fuse
