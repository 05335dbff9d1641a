// SPDX-License-Identifier: Apache-2.0
// What the callbacks of one mount share.
#pragma once

#include "gateway/fuse/file_locks.h"
#include "gateway/fuse/held_truncations.h"
#include "gateway/fuse/kernel_cache.h"
#include "gateway/fuse/reply.h"

namespace cfsgate::gateway::fuse {

/// Supplementary groups of a caller, from the kernel's record of its thread.
class ProcGroups final : public GroupSource {
public:
    std::vector<gid_t> groups_of(const Caller& caller) const override;
};

/// Owns what the kernel's descriptors refer to, until RELEASE; a mount that is cut sends none.
class Handles {
public:
    /// The key is the address of the owned HandlePtr, valid until remove().
    std::uintptr_t add(HandlePtr handle) CFSGATE_EXCLUDES(mutex_);
    void remove(std::uintptr_t key) CFSGATE_EXCLUDES(mutex_);

private:
    Mutex mutex_;
    std::unordered_map<std::uintptr_t, std::unique_ptr<HandlePtr>> handles_
        CFSGATE_GUARDED_BY(mutex_);
};

/// Threads: any.
class Adapter {
public:
    Adapter(FileSystem& file_system, Logger logger);

    /// Performs a truncation whose hold has been taken, alone; then whoever waited for it goes on.
    void publish_truncation(const HandlePtr& handle, HeldTruncations::Done then);

    FileSystem& files;
    Logger log;
    ProcGroups groups;
    Handles handles;
    Interrupts interrupts;
    KernelCache cache;
    HeldTruncations held;
    FileLocks locks;
    std::atomic<std::uint64_t> requests{0};
};

/// The callbacks for fuse_session_new(); their user data is an Adapter.
const fuse_lowlevel_ops& operations();

}  // namespace cfsgate::gateway::fuse
