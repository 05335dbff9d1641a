// SPDX-License-Identifier: Apache-2.0
// Taking over another member's tree: what of it differs from the one here, and the change itself.
#pragma once

#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "store/journal_record.h"
#include "store/model/index.h"
#include "store/store.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

/// One inode before and after; never the same in both. Content is borrowed from the takeover.
struct TakeoverStep {
    std::optional<Inode> before;
    std::optional<Inode> after;
    std::string_view content;
    bool same_content = false;  ///< the file is there before and after, with these bytes

    bool is_same_kind() const { return before && after && before->type == after->type; }
};

struct TakeoverPlan {
    TreeHead head;  ///< afterwards
    std::map<InodeNumber, TakeoverStep> steps;

    std::vector<InodeNumber> inodes() const;
};

/// `index`: what the result should have, for files without bytes (see entry_as_stored()): an update
/// cannot say that a file has none, but its digest tells. Null: the entries say it themselves.
/// Errors: BadMessage for entries that cannot be; Corrupt, InputOutput.
Result<TakeoverPlan> plan_takeover(const TreeReader& tree, const std::vector<InodeNumber>& removed,
                                   const std::vector<Entry>& entries, const Index* index);

/// Errors: BadMessage where the result is no tree. After an error the transaction must be dropped.
Status apply_takeover(TreeWriter& tree, const TakeoverPlan& plan);

/// The lost entries and the changes. `before`: the tree as it was.
Result<TakeoverReport> report_takeover(const TreeReader& before, const TakeoverPlan& plan);

/// Tells the observer what vanishes, or loses its content.
Status observe_takeover(const TreeReader& before, const TakeoverPlan& plan,
                        const Store::RemovalObserver& observer);

/// Without `time`, `from` and `index`.
TakeoverRecord record_takeover(const TakeoverPlan& plan);

/// Repeats what a journal record says. Errors: Corrupt where it does not give the tree of that time.
Status replay_takeover(TreeWriter& tree, const TakeoverRecord& record);

}  // namespace cfsgate::store
