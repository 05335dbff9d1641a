// SPDX-License-Identifier: Apache-2.0
#include "gateway/fuse/file_locks.h"

#include <cerrno>

namespace cfsgate::gateway::fuse {
namespace {

/// Of files with range locks; beyond, every close counts as one that matters.
constexpr std::size_t kFilesRememberedMax = 65536;

int to_error(LockOutcome outcome) {
    switch (outcome) {
        case LockOutcome::Granted: return 0;
        case LockOutcome::Conflict:
        case LockOutcome::Waiting: return EAGAIN;
        case LockOutcome::Deadlock: return EDEADLK;
        case LockOutcome::NoRoom: return ENOLCK;
    }
    return ENOLCK;
}

}  // namespace

LockOwner FileLocks::owner(LockOwner::Kind kind, std::uint64_t name) {
    return {kind, {}, std::to_string(name)};
}

void FileLocks::stop() {
    std::unordered_map<fuse_req_t, WaitingPtr> left;
    {
        MutexLock lock(mutex_);
        left.swap(waiting_);
    }
    for (const auto& [request, waiting] : left) {
        table_.cancel(waiting->wait);
        if (waiting->reply.claim()) fuse_reply_err(request, EINTR);
    }
}

/// Before the lock is there: its handle may be released by then.
void FileLocks::note(const HandlePtr& handle, const LockRequest& wanted) {
    MutexLock lock(mutex_);
    owners_[handle.get()].insert(wanted.owner);
    if (wanted.owner.kind == LockOwner::Kind::Range && range_locked_.size() < kFilesRememberedMax) {
        range_locked_.insert(wanted.file.value());
    }
}

void FileLocks::lock(fuse_req_t request, const HandlePtr& handle, const LockRequest& wanted,
                     bool wait) {
    note(handle, wanted);
    if (wait) return lock_or_wait(request, wanted);
    fuse_reply_err(request, to_error(table_.try_lock(wanted)));
}

void FileLocks::lock_or_wait(fuse_req_t request, const LockRequest& wanted) {
    const auto waiting = std::make_shared<Waiting>(request);
    {
        MutexLock lock(mutex_);
        waiting_[request] = waiting;
    }
    // Before it may wait: from then on it may be answered by others, and its memory go.
    fuse_req_interrupt_func(request, &FileLocks::on_interrupt, this);
    const auto made = table_.lock(wanted, [this, waiting] { answer(waiting, 0); });
    if (made.outcome != LockOutcome::Waiting) return answer(waiting, to_error(made.outcome));
    bool interrupted = false;
    {
        MutexLock lock(mutex_);
        waiting->wait = made.wait;
        interrupted = waiting->interrupted;
    }
    if (interrupted && table_.cancel(made.wait)) answer(waiting, EINTR);
}

void FileLocks::answer(const WaitingPtr& waiting, int error) {
    {
        MutexLock lock(mutex_);
        const auto found = waiting_.find(waiting->reply.request());
        if (found != waiting_.end() && found->second == waiting) waiting_.erase(found);
    }
    if (waiting->reply.claim()) fuse_reply_err(waiting->reply.request(), error);
}

void FileLocks::on_interrupt(fuse_req_t request, void* self) noexcept {
    static_cast<FileLocks*>(self)->interrupted(request);
}

void FileLocks::interrupted(fuse_req_t request) {
    WaitingPtr waiting;
    {
        MutexLock lock(mutex_);
        const auto found = waiting_.find(request);
        if (found == waiting_.end()) return;
        waiting = found->second;
        waiting->interrupted = true;
        if (waiting->wait == LockTable::WaitId()) return;  // whoever is about to wait looks at it
    }
    if (table_.cancel(waiting->wait)) answer(waiting, EINTR);
}

void FileLocks::flushed(FileId id, std::uint64_t name) {
    table_.release(id, owner(LockOwner::Kind::Range, name));
}

void FileLocks::released(const HandlePtr& handle) {
    std::set<LockOwner> owners;
    {
        MutexLock lock(mutex_);
        const auto found = owners_.find(handle.get());
        if (found == owners_.end()) return;
        owners = std::move(found->second);
        owners_.erase(found);
    }
    for (const LockOwner& one : owners) table_.release(handle->file->id(), one);
}

bool FileLocks::needs_flush(FileId id) const {
    MutexLock lock(mutex_);
    return range_locked_.size() >= kFilesRememberedMax || range_locked_.contains(id.value());
}

}  // namespace cfsgate::gateway::fuse
