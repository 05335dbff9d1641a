// SPDX-License-Identifier: Apache-2.0
#include "gateway/fuse/kernel_cache.h"

#define FUSE_USE_VERSION 312
#include <pthread.h>

#include <algorithm>

#include <fuse3/fuse_lowlevel.h>

namespace cfsgate::gateway::fuse {
namespace {

/// Files are cached when nobody seems to be working on them: the kernel reads through its pages
/// request by request, and no further than the size that it was told.
constexpr std::chrono::seconds kQuietBeforeCaching{1};
constexpr std::chrono::seconds kRetryWithin{1};
/// The kernel believes a name for a little less (translate.cc).
constexpr std::chrono::milliseconds kOldNameLasts{500};

}  // namespace

void KernelCache::start(fuse_session* session) {
    session_ = session;
    thread_ = std::thread([this] { run(); });
    ::pthread_setname_np(thread_.native_handle(), "fuse-notify");
}

void KernelCache::stop() {
    {
        MutexLock lock(mutex_);
        stopping_ = true;
        wanted_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
}

void KernelCache::referenced(const Attributes& attributes) {
    Shard& at = shard(attributes.id);
    MutexLock lock(at.mutex);
    Node& node = at.nodes[attributes.id];
    ++node.references;
    node.named = std::max(node.named, attributes.version);
    node.told = std::max(node.told, attributes.version);
}

void KernelCache::forgotten(FileId id, std::uint64_t count) {
    Shard& at = shard(id);
    MutexLock lock(at.mutex);
    const auto found = at.nodes.find(id);
    if (found == at.nodes.end()) return;
    Node& node = found->second;
    node.references -= std::min(node.references, count);
    if (node.is_unknown()) at.nodes.erase(found);
}

void KernelCache::renamed_here(FileId id, Version version) {
    Shard& at = shard(id);
    MutexLock lock(at.mutex);
    const auto found = at.nodes.find(id);
    if (found == at.nodes.end()) return;
    Node& node = found->second;
    node.named = std::max(node.named, version);
    if (version >= node.moved) node.moved_at = {};
}

bool KernelCache::name_is_stale(FileId id) const {
    const Shard& at = shard(id);
    MutexLock lock(at.mutex);
    const auto found = at.nodes.find(id);
    if (found == at.nodes.end()) return false;
    const Node& node = found->second;
    // That the kernel has learned the new name does not make it forget the old one.
    return node.moved > node.named || Clock::now() - node.moved_at < kOldNameLasts;
}

void KernelCache::refused_as_stale(pid_t thread) {
    MutexLock lock(mutex_);
    if (refused_.size() >= kRefusedMax) refused_.clear();
    refused_[thread] = {Clock::now(), {}};
    threads_refused_ = refused_.size();
}

void KernelCache::looked_up(pid_t thread, std::optional<FileId> found) {
    if (threads_refused_.load(std::memory_order_acquire) == 0) return;
    MutexLock lock(mutex_);
    const auto refused = refused_.find(thread);
    if (refused == refused_.end()) return;
    refused->second.found = found;
    if (!found) refused_.erase(refused);
    threads_refused_ = refused_.size();
}

bool KernelCache::retries(pid_t thread, FileId id) {
    if (threads_refused_.load(std::memory_order_acquire) == 0) return false;
    MutexLock lock(mutex_);
    const auto refused = refused_.find(thread);
    if (refused == refused_.end()) return false;
    const Refused last = refused->second;
    refused_.erase(refused);
    threads_refused_ = refused_.size();
    return last.found == id && Clock::now() - last.at < kRetryWithin;
}

CacheDecision KernelCache::open_for_reading(const OpenFile& file) {
    bool may_have_old_size = false;
    const CacheDecision decision = decide(file, may_have_old_size);
    // Through the page cache the kernel reads no further than the size that it was told, and that
    // may be half a second old. Without attributes it asks for them first. This takes none of its
    // locks, so it may be said from within a request.
    if (may_have_old_size) {
        static_cast<void>(fuse_lowlevel_notify_inval_inode(session_, file.id().value(), -1, 0));
    }
    return decision;
}

CacheDecision KernelCache::decide(const OpenFile& file, bool& may_have_old_size) {
    CacheDecision decision;
    if (file.is_virtual()) return decision;
    Shard& at = shard(file.id());
    MutexLock lock(at.mutex);
    const auto found = at.nodes.find(file.id());
    if (found == at.nodes.end()) return decision;
    Node& node = found->second;
    const bool quiet = node.writers == 0 && Clock::now() - node.changed >= kQuietBeforeCaching;
    if (!quiet) return decision;
    may_have_old_size = node.told != file.opened_version();
    decision.direct_io = false;
    decision.keep_cache = node.cached == file.opened_version();
    node.cached = file.opened_version();
    return decision;
}

void KernelCache::told(const Attributes& attributes) {
    Shard& at = shard(attributes.id);
    MutexLock lock(at.mutex);
    const auto found = at.nodes.find(attributes.id);
    if (found == at.nodes.end()) return;
    found->second.told = std::max(found->second.told, attributes.version);
}

bool KernelCache::has_size_of(const OpenFile& file) const {
    const Shard& at = shard(file.id());
    MutexLock lock(at.mutex);
    const auto found = at.nodes.find(file.id());
    return found != at.nodes.end() && found->second.writers == 0 &&
           found->second.told == file.opened_version();
}

void KernelCache::writer_opened(FileId id) {
    Shard& at = shard(id);
    MutexLock lock(at.mutex);
    ++at.nodes[id].writers;
}

void KernelCache::writer_released(FileId id) {
    Shard& at = shard(id);
    MutexLock lock(at.mutex);
    const auto found = at.nodes.find(id);
    if (found == at.nodes.end()) return;
    Node& node = found->second;
    node.told = {};  // the kernel counts by itself what goes through it
    --node.writers;
    if (node.is_unknown()) at.nodes.erase(found);
}

void KernelCache::write_begins(FileId id) {
    Shard& at = shard(id);
    MutexLock lock(at.mutex);
    ++at.nodes[id].writes;
}

void KernelCache::write_ended(FileId id, bool written) {
    bool others_changed_it = false;
    {
        Shard& at = shard(id);
        MutexLock lock(at.mutex);
        const auto found = at.nodes.find(id);
        if (found == at.nodes.end()) return;
        Node& node = found->second;
        if (written && node.untold > 0) --node.untold;
        if (--node.writes > 0) return;
        others_changed_it = node.untold > 0;
        node.untold = 0;
        if (node.is_unknown()) at.nodes.erase(found);
    }
    if (others_changed_it) notify(id);
}

/// True if the kernel may hold something of the old state, and is to be told now.
bool KernelCache::note_change(const store::Change& change) {
    const FileId id = to_file_id(change.inode);
    Shard& at = shard(id);
    MutexLock lock(at.mutex);
    const auto found = at.nodes.find(id);
    if (found == at.nodes.end()) return false;
    Node& node = found->second;
    node.changed = Clock::now();
    if (change.kind == store::Change::Kind::Moved) {
        node.moved = change.version;
        node.moved_at = node.changed;
    }
    // A removed file's pages serve the handles that still have it open.
    if (change.kind == store::Change::Kind::Removed) return false;
    if (change.kind != store::Change::Kind::Modified || node.writes == 0) return true;
    // Pages of a reader cannot wait for the end of the writes.
    if (node.cached != Version()) return true;
    ++node.untold;
    return false;
}

void KernelCache::changed(const std::vector<store::Change>& changes) {
    for (const store::Change& change : changes) {
        if (change.kind == store::Change::Kind::Created) continue;
        if (note_change(change)) notify(to_file_id(change.inode));
    }
}

void KernelCache::notify(FileId id) {
    {
        MutexLock lock(mutex_);
        if (!queued_.insert(id).second) return;
        queue_.push_back(id);
    }
    wanted_.notify_one();
}

/// Invalidating an inode takes none of the kernel's directory locks, so an operation under way
/// cannot block it, and it leaves names (and what is mounted on them) alone.
void KernelCache::run() {
    for (;;) {
        FileId id;
        {
            MutexLock lock(mutex_);
            while (queue_.empty() && !stopping_) wanted_.wait(mutex_);
            if (stopping_) return;
            id = queue_.front();
            queue_.pop_front();
            queued_.erase(id);
        }
        sent_.fetch_add(1, std::memory_order_relaxed);
        // ENOENT: the kernel has forgotten it meanwhile.
        static_cast<void>(fuse_lowlevel_notify_inval_inode(session_, id.value(), 0, 0));
    }
}

}  // namespace cfsgate::gateway::fuse
