// SPDX-License-Identifier: Apache-2.0
// A new store from a backup.
#pragma once

#include <string>
#include <vector>

#include "store/backup.h"

namespace cfsgate::store {

struct RecoverOptions {
    std::string directory;   ///< without a store
    std::string node_name;   ///< the name of the host that takes the node's place; empty: the tree
                             ///< stays as it is
    std::uint32_t time = 0;  ///< seconds since 1970
};

struct RecoverReport {
    TreeHead head;
    std::uint64_t entries = 0;
    std::uint64_t content_bytes = 0;
    Mending mending;
    std::string moved_from;  ///< nodes/NAME that was renamed; empty where nothing was
    std::string moved_to;
    std::string why_not_moved;           ///< although it was asked for
    std::vector<std::string> still_old;  ///< paths of files that still name the old node
    std::string cluster;                 ///< of the tree's corosync.conf
};

/// Renames nodes/FROM to nodes/TO. Errors: NotFound without the first; Exists where the second has
/// something in it.
Status rename_node(SavedTree& tree, const std::string& from, const std::string& to,
                   std::uint32_t time);

/// Files outside of nodes/ in which `node` is a word; private ones left out.
std::vector<std::string> files_that_name(const SavedTree& tree, const std::string& node);

/// Whether recover() would refuse it. Errors: Invalid, and those of rename_node().
Status can_recover(const RecoverOptions& options, const Backup& backup);

/// New ids, but file handles of the backup's time stay good. Where the tree is no cluster's its
/// version jumps ahead, so that no number is given to an entry that a handle from after the backup
/// still means. Errors: Exists, and those of Store::create_from() and rename_node().
Result<RecoverReport> recover(const RecoverOptions& options, Backup backup);

}  // namespace cfsgate::store
