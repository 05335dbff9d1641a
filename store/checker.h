// SPDX-License-Identifier: Apache-2.0
// Looks at every invariant of a store and says what is wrong, and where.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/base/result.h"

namespace cfsgate::store {

class ReadView;

struct Finding {
    std::string where;  ///< a path, an inode, or a file of the state directory
    std::string what;
};

struct CheckReport {
    std::vector<Finding> findings;  ///< empty: clean
    std::uint64_t entries = 0;
    std::uint64_t content_bytes = 0;
    std::uint64_t version = 0;
    std::string tree_checksum;  ///< hex
    std::uint64_t journal_segments = 0;
    std::uint64_t journal_records = 0;
    std::uint64_t snapshots = 0;
    std::string state;  ///< "clean", "in use", ...
};

/// The tree alone, in one view: safe while the daemon runs.
Result<CheckReport> check_tree(const ReadView& view);

class TreeReader;
/// The same, and the records that belong to no entry.
Result<CheckReport> check_tree_and_tables(const TreeReader& tree);

/// Everything in a state directory that nobody uses (the caller holds its lock): the tree, the
/// journal's records and their order, the snapshots, the state file. Changes nothing.
/// Errors: NotFound where there is no store, InputOutput.
Result<CheckReport> check_directory(const std::string& directory);

}  // namespace cfsgate::store
