// SPDX-License-Identifier: Apache-2.0
// The kernel's side of advisory locks: which requests wait for one, and which handle has to do with
// whose locks.
#pragma once

#include <memory>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "gateway/fuse/held_truncations.h"
#include "gateway/fuse/reply.h"
#include "gateway/lock_table.h"

namespace cfsgate::gateway::fuse {

/// Locks end with what the kernel tells of: FLUSH, at each close of a descriptor, ends the locks of
/// the process on that file; RELEASE, at the last one, ends all locks made through that handle. So
/// also those go for which no FLUSH comes: of whole files, of open file descriptions (F_OFD_SETLK),
/// and of handles opened with noflush.
///
/// A request that waits is answered with EINTR as soon as it is interrupted: unlike a change it has
/// done nothing yet, and the kernel repeats it if the signal's handler says so. Threads: any.
class FileLocks {
public:
    explicit FileLocks(LockTable& table) : table_(table) {}
    ~FileLocks() { stop(); }
    /// Answers all who wait with EINTR. No request may come any more.
    void stop() CFSGATE_EXCLUDES(mutex_);

    /// Replies at once, or when the lock is there.
    void lock(fuse_req_t request, const HandlePtr& handle, const LockRequest& wanted, bool wait)
        CFSGATE_EXCLUDES(mutex_);
    /// A process, by the kernel's name for its descriptors, has closed one of the file.
    void flushed(FileId id, std::uint64_t owner);
    void released(const HandlePtr& handle) CFSGATE_EXCLUDES(mutex_);
    /// Whether a process has locked ranges of it, now or earlier: then its closes matter.
    bool needs_flush(FileId id) const CFSGATE_EXCLUDES(mutex_);

    static LockOwner owner(LockOwner::Kind kind, std::uint64_t name);

private:
    /// A request that is not answered yet.
    struct Waiting {
        explicit Waiting(fuse_req_t request) : reply(request) {}
        Reply reply;
        LockTable::WaitId wait;  ///< 0: not known yet
        bool interrupted = false;
    };
    using WaitingPtr = std::shared_ptr<Waiting>;

    static void on_interrupt(fuse_req_t request, void* self) noexcept;
    void interrupted(fuse_req_t request) CFSGATE_EXCLUDES(mutex_);
    void lock_or_wait(fuse_req_t request, const LockRequest& wanted) CFSGATE_EXCLUDES(mutex_);
    void note(const HandlePtr& handle, const LockRequest& wanted) CFSGATE_EXCLUDES(mutex_);
    void answer(const WaitingPtr& waiting, int error) CFSGATE_EXCLUDES(mutex_);

    LockTable& table_;
    mutable Mutex mutex_;
    std::unordered_map<fuse_req_t, WaitingPtr> waiting_ CFSGATE_GUARDED_BY(mutex_);
    std::unordered_map<const Handle*, std::set<LockOwner>> owners_ CFSGATE_GUARDED_BY(mutex_);
    std::unordered_set<std::uint64_t> range_locked_ CFSGATE_GUARDED_BY(mutex_);  ///< file ids
};

/// getlk, setlk, flock (locks.cc).
void add_lock_operations(fuse_lowlevel_ops& operations);

}  // namespace cfsgate::gateway::fuse
