// SPDX-License-Identifier: Apache-2.0
// Notices that many entries go in a short time.
//
// Two ways to count, since both can mean an accident: entries that had been there when the window
// began, and by how many the tree has shrunk since it was largest in the window. So temporary files
// that come and go do not count. Locks never do.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "store/base/ids.h"
#include "store/base/mutex.h"
#include "store/history/reports.h"

namespace cfsgate::store {

/// Threads: any.
class RemovalGuard {
public:
    explicit RemovalGuard(GuardLimits limits) : limits_(limits) {}

    struct Removal {
        InodeNumber inode;
        std::string path;
    };
    /// A batch or a takeover that is published; in their order.
    struct Published {
        std::uint32_t now = 0;
        Sequence before;                   ///< the last journal record before it
        Version version_before;            ///< of the tree
        std::uint64_t entries_before = 0;  ///< the root not counted
        std::uint64_t entries_after = 0;
        std::vector<Removal> removals;
    };
    /// Whether a burst has begun, so that somebody should take care of it.
    bool note(const Published& published) CFSGATE_EXCLUDES(mutex_);

    std::optional<RemovalBurst> last() const CFSGATE_EXCLUDES(mutex_);
    void set_snapshot(const std::string& name) CFSGATE_EXCLUDES(mutex_);

private:
    struct Second {
        std::uint32_t time = 0;
        Version version_before;
        std::uint64_t removed = 0;        ///< of those that had been there
        std::optional<Sequence> before;   ///< its first removal
        std::uint64_t peak = 0;           ///< most entries
        Sequence peak_before;             ///< the record before they became less
        std::optional<std::string> path;  ///< above all that was removed
    };
    void remember(const Published& published) CFSGATE_REQUIRES(mutex_);
    bool is_too_much(std::uint64_t removed, std::uint64_t of) const;
    bool goes_on(const Published& published) CFSGATE_REQUIRES(mutex_);
    bool begins(const Published& published) CFSGATE_REQUIRES(mutex_);

    const GuardLimits limits_;
    mutable Mutex mutex_;
    std::deque<Second> seconds_ CFSGATE_GUARDED_BY(mutex_);
    std::optional<RemovalBurst> last_ CFSGATE_GUARDED_BY(mutex_);
    std::uint32_t last_removal_ CFSGATE_GUARDED_BY(mutex_) = 0;
    bool active_ CFSGATE_GUARDED_BY(mutex_) = false;
};

}  // namespace cfsgate::store
