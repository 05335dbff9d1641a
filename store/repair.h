// SPDX-License-Identifier: Apache-2.0
// Makes a good store of a damaged one. What cannot be kept is listed and moved aside; nothing is
// deleted, and until the very end nothing of the store is changed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/salvage.h"

namespace cfsgate::store {

struct RepairReport {
    Salvage found;
    bool repaired = false;  ///< false: nothing was wrong
    std::string aside;      ///< the folder in the state directory with what was moved aside
    /// The version that the tree goes on at.
    Version version;
};

struct RepairOptions {
    SalvageOptions salvage;
    /// Asked before each step that changes the store; an error stops there, as a crash would.
    std::function<Status()> before_step;
};

/// `folder_time`: names the folders, such as "20260131-134500". The caller holds the directory's
/// lock. Errors: those of salvage(); NoSpace and what the system says: the store is then as it was,
/// or the next repair goes on where this one stopped, and until then no start uses it.
Result<RepairReport> repair(const std::string& directory, const std::string& folder_time,
                            const RepairOptions& options = {});

/// Whether a repair has stopped while it exchanged files.
bool repair_is_under_way(const std::string& directory);

/// What is wrong, what becomes of it, and what is lost; one thing a line.
std::vector<std::string> describe(const Salvage& found);

}  // namespace cfsgate::store
