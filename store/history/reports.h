// SPDX-License-Identifier: Apache-2.0
// What the store tells of its past. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/base/ids.h"

namespace cfsgate::store {

/// What a purge of the history has done.
struct PurgeReport {
    std::uint64_t records = 0;             ///< journal records that have lost content
    std::vector<std::string> snapshots;    ///< files that have
    std::vector<std::string> still_there;  ///< files that the tree has now, with their content
    /// Files that could not be read, and so may still hold what should go.
    std::vector<std::string> unreadable;
};

/// From how many removals on the guard acts.
struct GuardLimits {
    std::uint64_t entries = 100;  ///< 0: never
    std::uint32_t seconds = 10;
};

/// Many entries went in a short time.
struct RemovalBurst {
    std::uint32_t time = 0;     ///< when it was noticed
    std::uint64_t removed = 0;  ///< entries, so far
    std::string path;           ///< they all lay below it; "" is the root
    Sequence before;            ///< the last journal record before it
    std::string snapshot;       ///< of the tree before it; empty until it is written
};

}  // namespace cfsgate::store
