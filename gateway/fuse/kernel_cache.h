// SPDX-License-Identifier: Apache-2.0
// What the kernel knows of each node, and telling it of changes.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "gateway/file_system.h"
#include "store/base/mutex.h"

struct fuse_session;

namespace cfsgate::gateway::fuse {

/// How an open file is to be read.
struct CacheDecision {
    bool direct_io = true;
    bool keep_cache = false;
};

/// Owns the thread "fuse-notify". Threads: any.
class KernelCache {
public:
    KernelCache() = default;
    ~KernelCache() { stop(); }

    void start(fuse_session* session);
    /// Bounded, provided that the mount still answers or is cut.
    void stop();

    /// An entry goes to the kernel, which holds one more reference to it.
    void referenced(const Attributes& attributes);
    void forgotten(FileId id, std::uint64_t count);
    /// The kernel itself renamed it: the name that it has is right.
    void renamed_here(FileId id, Version version);
    /// Whether the name by which the kernel came to this node may belong to another one by now:
    /// then it must look it up again (ESTALE makes it do so).
    bool name_is_stale(FileId id) const;

    /// An open was refused as stale: the kernel looks the name up again and opens once more, and
    /// only once; `retries` tells that second open, of the inode that this look-up found. It must
    /// not lose another race.
    void refused_as_stale(pid_t thread);
    /// What a look-up of the thread found; nothing where it failed.
    void looked_up(pid_t thread, std::optional<FileId> found);
    bool retries(pid_t thread, FileId id);

    /// A reader opens this version of a file.
    CacheDecision open_for_reading(const OpenFile& file);
    /// The newest attributes that went to the kernel, without a name.
    void told(const Attributes& attributes);
    /// The size by which the kernel cuts what it reads is that of the version that was opened.
    bool has_size_of(const OpenFile& file) const;
    void writer_opened(FileId id);
    void writer_released(FileId id);
    /// Around each write of this mount: of its effect the kernel knows by itself, so it is not told,
    /// which would cost a switch of threads and have it ask for all attributes again.
    void write_begins(FileId id);
    void write_ended(FileId id, bool written);

    /// From the thread that published the changes; never blocks.
    void changed(const std::vector<store::Change>& changes);

    std::uint64_t notifications() const { return sent_.load(std::memory_order_relaxed); }

private:
    using Clock = std::chrono::steady_clock;
    struct Node {
        std::uint64_t references = 0;
        std::uint32_t writers = 0;
        std::uint32_t writes = 0;    ///< of this mount, under way
        std::uint32_t untold = 0;    ///< changes since the first of them began, theirs included
        Version named;               ///< newest version of the entry whose name the kernel was told
        Version moved;               ///< version of its last move
        Clock::time_point moved_at;  ///< by others; until then the kernel may know an old name
        Version told;                ///< of the newest attributes that went out; 0: it writes
        Version cached;              ///< version of the pages that the kernel may hold; 0: none
        Clock::time_point changed;

        bool is_unknown() const { return references == 0 && writers == 0 && writes == 0; }
    };
    struct Shard {
        mutable Mutex mutex;
        std::unordered_map<FileId, Node> nodes CFSGATE_GUARDED_BY(mutex);
    };
    static constexpr std::size_t kShards = 16;

    Shard& shard(FileId id) { return shards_[id.value() % kShards]; }
    const Shard& shard(FileId id) const { return shards_[id.value() % kShards]; }
    static constexpr std::size_t kRefusedMax = 1024;
    CacheDecision decide(const OpenFile& file, bool& may_have_old_size);
    bool note_change(const store::Change& change);
    void notify(FileId id);
    void run();

    std::array<Shard, kShards> shards_;
    fuse_session* session_ = nullptr;
    Mutex mutex_;
    CondVar wanted_;
    std::deque<FileId> queue_ CFSGATE_GUARDED_BY(mutex_);
    std::unordered_set<FileId> queued_ CFSGATE_GUARDED_BY(mutex_);
    struct Refused {
        Clock::time_point at;
        std::optional<FileId> found;
    };
    std::unordered_map<pid_t, Refused> refused_ CFSGATE_GUARDED_BY(mutex_);
    std::atomic<std::size_t> threads_refused_{0};  ///< size of refused_: mostly 0, read unlocked
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::atomic<std::uint64_t> sent_{0};
    std::thread thread_;
};

}  // namespace cfsgate::gateway::fuse
