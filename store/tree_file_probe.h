// SPDX-License-Identifier: Apache-2.0
// Reads a tree.mdb that may be damaged. LMDB trusts its pages, so a bad one can end the process that
// reads it: a child does it, and hands over what it got.
#pragma once

#include <string>
#include <vector>

#include "store/saved_tree.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

struct TreeFileProbe {
    StoreIds ids;    ///< zero where they cannot be read
    SavedTree tree;  ///< every entry that can be read, as it is
    std::vector<Finding> unreadable;
    std::vector<Finding> findings;  ///< the checker's; also of what is unreadable

    bool is_sound() const { return unreadable.empty() && findings.empty(); }
};

/// Works on a copy in memory. Not for a process with other threads. Errors: NotFound; Corrupt where
/// nothing can be read.
Result<TreeFileProbe> probe_tree_file(const std::string& path);

}  // namespace cfsgate::store
