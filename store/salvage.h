// SPDX-License-Identifier: Apache-2.0
// What can be had from the files of a state directory, whatever has happened to them. Changes
// nothing, and works where nothing can be changed.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/saved_tree.h"
#include "store/state_file.h"

namespace cfsgate::store {

struct SalvageOptions {
    /// Also rebuilds the tree from snapshot and journal and compares: finds damage in tree.mdb that
    /// breaks no rule of the tree. Without it only what a start would read is read, if that is well.
    bool thorough = true;
    std::function<std::string()> boot_id;  ///< empty: this boot
};

struct Salvage {
    SavedTree tree;      ///< the newest good one, mended
    std::string source;  ///< of what it was made, in words
    /// tree.mdb as it is, or only lacking the journal's last records: a start would use it.
    bool is_tree_file = false;

    StateFile state;  ///< as read, or put together from what the other files say
    bool state_known = false;

    std::vector<Finding> damage;      ///< what is wrong with files
    Mending mending;                  ///< what was wrong with the tree
    std::vector<Finding> lost;        ///< changes that nothing has any more
    std::vector<std::string> unused;  ///< files that cannot belong to a good store any more
    Sequence last_known;              ///< the last journal record that anything tells of
    Version newest_known;             ///< the newest version of the tree that anything tells of
    std::uint64_t last_segment = 0;   ///< the highest number of a segment

    /// A start finds nothing wrong either.
    bool is_well() const { return damage.empty() && mending.nothing() && lost.empty(); }
    bool loses_something() const { return !lost.empty() || !mending.taken_out.empty(); }
};

/// The caller has seen to it that nobody uses the directory. Errors: NotFound where there is no
/// store; Corrupt where no tree can be had at all; InputOutput and what the system says.
Result<Salvage> salvage(const std::string& directory, const SalvageOptions& options = {});

}  // namespace cfsgate::store
