// SPDX-License-Identifier: Apache-2.0
// open(O_TRUNC) reaches us as OPEN and then SETATTR(size 0). Published at once, others would see
// an empty file until the first write; so the truncation is held back with its handle and travels
// with that write as one operation.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "gateway/file_system.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway::fuse {

/// What one FUSE handle carries.
struct Handle {
    std::shared_ptr<OpenFile> file;
    Caller opener;
    bool cached = false;  ///< what is read goes through the kernel's pages
    /// Of a truncation that is held back. Guarded by HeldTruncations' mutex.
    enum class Hold : std::uint8_t {
        None,
        Held,     ///< nothing was written or closed yet: others see the old content
        Flushed,  ///< a close left it pending: others wait for its end, which comes soon
    } hold = Hold::None;
};
using HandlePtr = std::shared_ptr<Handle>;

/// Owns the thread "fuse-held". Threads: any.
class HeldTruncations {
public:
    /// `publish` performs a truncation whose hold was taken.
    using Done = std::function<void(Status)>;
    using Publish = std::function<void(const HandlePtr&)>;
    explicit HeldTruncations(Publish publish);
    ~HeldTruncations() { stop(); }

    /// Publishes what a close left pending and lets go who waits. No request may come any more.
    void stop() CFSGATE_EXCLUDES(mutex_);

    /// A handle was opened for writing by this thread of the caller's.
    void opened(const HandlePtr& handle) CFSGATE_EXCLUDES(mutex_);
    /// SETATTR(size 0) without a handle: true if it is the second half of an open by this thread;
    /// it is then held.
    bool hold(const Caller& caller, FileId id) CFSGATE_EXCLUDES(mutex_);
    /// Ends the hold; true if there was one: the caller publishes it now, by itself or with its
    /// write. What waits for it goes on.
    bool take(const HandlePtr& handle) CFSGATE_EXCLUDES(mutex_);
    /// take() of what this very thread has pending on an inode; empty if nothing.
    HandlePtr take_own(const Caller& caller, FileId id) CFSGATE_EXCLUDES(mutex_);
    bool held(const HandlePtr& handle) const CFSGATE_EXCLUDES(mutex_);
    /// A close that may be followed by a write through another descriptor (a shell's redirect):
    /// published within moments if nothing comes.
    void flushed(const HandlePtr& handle) CFSGATE_EXCLUDES(mutex_);
    /// True if a truncation of this inode ends soon: `then` runs after it. False: go on at once.
    bool wait(FileId id, std::function<void()> then) CFSGATE_EXCLUDES(mutex_);
    /// Whether wait() would be true; for callers who can go on without a closure.
    bool pending(FileId id) const CFSGATE_EXCLUDES(mutex_);
    /// The published truncation of this inode is done: those who waited go on.
    void published(FileId id) CFSGATE_EXCLUDES(mutex_);

    std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }

private:
    struct Pending {
        std::chrono::steady_clock::time_point deadline;
        std::weak_ptr<Handle> handle;
    };
    struct Opened {
        std::chrono::steady_clock::time_point at;
        std::weak_ptr<Handle> handle;
    };
    struct Waiting {
        std::uint32_t holds = 0;  ///< flushed ones
        std::vector<std::function<void()>> then;
    };
    void count_hold(FileId id) CFSGATE_REQUIRES(mutex_);
    void run() CFSGATE_EXCLUDES(mutex_);

    Publish publish_;
    mutable Mutex mutex_;
    CondVar changed_;
    std::unordered_map<pid_t, Opened> last_opened_ CFSGATE_GUARDED_BY(mutex_);
    std::unordered_map<pid_t, std::weak_ptr<Handle>> holders_ CFSGATE_GUARDED_BY(mutex_);
    std::deque<Pending> flushed_ CFSGATE_GUARDED_BY(mutex_);
    std::unordered_map<FileId, Waiting> waiting_ CFSGATE_GUARDED_BY(mutex_);
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::atomic<std::size_t> inodes_waited_for_{0};  ///< size of waiting_: mostly 0, read unlocked
    std::atomic<std::uint64_t> count_{0};
    std::thread thread_;
};

}  // namespace cfsgate::gateway::fuse
