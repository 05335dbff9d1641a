// SPDX-License-Identifier: Apache-2.0
// A tree as it once was, put together again in a temporary directory of the state directory.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "store/base/result.h"
#include "store/history/snapshots.h"
#include "store/store.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

/// What earlier processes have left behind of past trees and of files that they were writing. For a
/// directory that nobody else uses.
Status remove_leftovers(const std::string& directory);

/// Which store, and how its journal begins.
struct PastSource {
    std::string directory;
    StoreIds ids;
    bool from_empty = true;
};

/// Its directory goes away with it. Views are for one thread each.
class PastTree {
public:
    ~PastTree();
    PastTree(const PastTree&) = delete;
    PastTree& operator=(const PastTree&) = delete;

    /// A tree in a snapshot's place. `base`: none is the empty tree.
    static Result<std::unique_ptr<PastTree>> load(const PastSource& source,
                                                  const SnapshotFile* base);

    /// Seen after each record; the entry as replay_record() has it.
    using Watch = std::function<Status(const TreeReader&, Sequence, std::string_view payload,
                                       std::optional<InodeNumber> entry)>;
    /// Goes on to the tree after the journal record `upto`. Errors: NotFound where records are
    /// missing; Corrupt.
    Status advance(Sequence upto, const Watch& watch = {});

    Result<std::unique_ptr<TreeReader>> read() const;
    Sequence at() const { return at_; }

private:
    explicit PastTree(PastSource source) : source_(std::move(source)) {}
    Status make_environment();

    PastSource source_;
    std::string folder_;
    std::unique_ptr<lmdb::Environment> environment_;
    Sequence at_;
};

/// The tree after a journal record: from the newest snapshot up to there that can be read. Errors:
/// NotFound where the past does not reach back so far.
Result<std::unique_ptr<PastTree>> make_past_tree(const PastSource& source, Sequence at);

}  // namespace cfsgate::store
