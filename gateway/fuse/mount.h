// SPDX-License-Identifier: Apache-2.0
// The FUSE mount: translates the kernel's requests to the façade and back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "gateway/file_system.h"
#include "store/base/log.h"
#include "store/base/result.h"

namespace cfsgate::gateway::fuse {

struct MountOptions {
    std::string mount_point;
    bool trace = false;  ///< print each request to stderr (libfuse's debug)
    unsigned threads_max = 16;
};

struct MountCounters {
    std::uint64_t requests = 0;
    std::uint64_t interrupted = 0;    ///< requests answered early because their caller gave up
    std::uint64_t notifications = 0;  ///< invalidations sent to the kernel
    std::uint64_t held_truncations = 0;
};

class Mount {
public:
    /// Mounts on an existing directory. Borrows `files`, which must outlive this object.
    /// Errors: what the system says, with the mount point in the detail.
    static Result<std::unique_ptr<Mount>> create(FileSystem& files, MountOptions options,
                                                 Logger log);
    virtual ~Mount() = default;

    /// Serves until stop() or until the mount ends. 0, or a positive errno.
    virtual int serve() = 0;
    /// Ends serve() soon. Any thread; also from a signal handler.
    virtual void stop() noexcept = 0;
    /// After serve(): takes the mount away. Bounded: detaches it where it is busy.
    virtual void unmount() = 0;
    /// The number under /sys/fs/fuse/connections, for cutting a hung mount; 0 if unknown.
    virtual std::uint32_t connection() const = 0;
    virtual MountCounters counters() const = 0;
};

}  // namespace cfsgate::gateway::fuse
