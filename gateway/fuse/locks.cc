// SPDX-License-Identifier: Apache-2.0
// Callbacks for advisory locks. Each translates in, calls the table, translates out.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "gateway/fuse/translate.h"

namespace cfsgate::gateway::fuse {
namespace {

/// libfuse has made the kernel's absolute bytes a start and a length, 0 for "to the end".
LockRange to_range(const struct flock& lock) {
    const auto first = static_cast<std::uint64_t>(lock.l_start);
    if (lock.l_len == 0) return {first, LockRange::kToTheEnd};
    return {first, first + static_cast<std::uint64_t>(lock.l_len) - 1};
}

struct flock to_flock(const LockHolder& holder) {
    struct flock out {};
    out.l_type = holder.type == LockType::Exclusive ? F_WRLCK : F_RDLCK;
    out.l_whence = SEEK_SET;
    out.l_start = static_cast<off_t>(holder.range.first);
    if (holder.range.last != LockRange::kToTheEnd) {
        out.l_len = static_cast<off_t>(holder.range.last - holder.range.first + 1);
    }
    out.l_pid = holder.pid;  // of another host: 0, which is nobody here
    return out;
}

LockRequest to_request(fuse_req_t request, const fuse_file_info* info, LockOwner::Kind kind,
                       LockType type) {
    LockRequest out;
    out.file = handle_of(info)->file->id();
    out.owner = FileLocks::owner(kind, info->lock_owner);
    out.type = type;
    out.charged_to = "uid " + std::to_string(fuse_req_ctx(request)->uid);
    return out;
}

void do_getlk(fuse_req_t request, fuse_ino_t, fuse_file_info* info, struct flock* lock) {
    Adapter& adapter = begin(request);
    const LockType type = lock->l_type == F_WRLCK ? LockType::Exclusive : LockType::Shared;
    LockRequest wanted = to_request(request, info, LockOwner::Kind::Range, type);
    wanted.range = to_range(*lock);
    struct flock answer = *lock;
    answer.l_type = F_UNLCK;
    if (const auto holder = adapter.files.locks().test(wanted)) answer = to_flock(*holder);
    fuse_reply_lock(request, &answer);
}

void unlock(Adapter& adapter, fuse_req_t request, const LockRequest& what) {
    const bool done =
        adapter.files.locks().unlock(what.file, what.owner, what.range) == LockOutcome::Granted;
    fuse_reply_err(request, done ? 0 : ENOLCK);
}

void do_setlk(fuse_req_t request, fuse_ino_t, fuse_file_info* info, struct flock* lock, int sleep) {
    Adapter& adapter = begin(request);
    const LockType type = lock->l_type == F_WRLCK ? LockType::Exclusive : LockType::Shared;
    LockRequest wanted = to_request(request, info, LockOwner::Kind::Range, type);
    wanted.range = to_range(*lock);
    wanted.pid = lock->l_pid;
    if (lock->l_type == F_UNLCK) return unlock(adapter, request, wanted);
    adapter.locks.lock(request, handle_of(info), wanted, sleep != 0);
}

void do_flock(fuse_req_t request, fuse_ino_t, fuse_file_info* info, int operation) {
    Adapter& adapter = begin(request);
    const LockType type = (operation & LOCK_EX) != 0 ? LockType::Exclusive : LockType::Shared;
    LockRequest wanted = to_request(request, info, LockOwner::Kind::WholeFile, type);
    wanted.pid = fuse_req_ctx(request)->pid;
    if ((operation & LOCK_UN) != 0) return unlock(adapter, request, wanted);
    adapter.locks.lock(request, handle_of(info), wanted, (operation & LOCK_NB) == 0);
}

}  // namespace

void add_lock_operations(fuse_lowlevel_ops& operations) {
    // With these libfuse tells the kernel that locks are ours (FUSE_CAP_POSIX_LOCKS, _FLOCK_LOCKS).
    operations.getlk = do_getlk;
    operations.setlk = do_setlk;
    operations.flock = do_flock;
}

}  // namespace cfsgate::gateway::fuse
