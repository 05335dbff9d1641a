// SPDX-License-Identifier: Apache-2.0
// The one deterministic function that performs an operation. The same operations with the same
// stamps give the same tree on every node. Rules and the order of checks: docs/operations.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/model/inode.h"
#include "store/model/operation.h"

namespace cfsgate::store {

/// What happened to one inode, for caches above the store.
struct Change {
    enum class Kind : std::uint8_t {
        Created,   ///< `inode` is new in `parent`
        Modified,  ///< content or time
        Moved,     ///< another name or parent
        Removed,   ///< gone from `parent`
    };
    Kind kind = Kind::Modified;
    InodeNumber inode;
    InodeNumber parent;
    Version version;
};

struct Applied {
    bool ok = false;
    Errno error = Errno::InputOutput;  ///< why not, where !ok
    bool broken = false;               ///< the transaction itself failed: drop the batch
    std::uint32_t bytes = 0;           ///< written by WriteFile
    InodeNumber inode;                 ///< created, written, moved, or removed
    Version version;                   ///< the tree's, after it
    std::vector<Change> changes;       ///< empty where refused

    /// As the wire carries it: bytes or 0, or the negative POSIX errno.
    int wire_result() const { return ok ? static_cast<int>(bytes) : -to_posix(error); }
};

class ChangeCounters;
class GuestRegistry;
class LockLeases;
class TreeWriter;

/// What apply keeps in line with the tree. Borrowed.
struct ApplyContext {
    TreeWriter& tree;
    GuestRegistry& guests;
    LockLeases& leases;
    ChangeCounters& counters;
    /// Called before an entry vanishes; may be empty.
    const std::function<void(const Inode&, std::string_view content)>& before_removal;
};

Applied apply(ApplyContext& context, const Operation& operation, const Stamp& stamp);

}  // namespace cfsgate::store
