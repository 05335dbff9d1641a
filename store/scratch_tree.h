// SPDX-License-Identifier: Apache-2.0
// A tree in LMDB that lies in memory alone: to work on what a state directory holds, without
// changing it and without leaving what only root may read in a temporary file.
#pragma once

#include <memory>
#include <string>

#include "store/base/unique_fd.h"
#include "store/saved_tree.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

class ScratchTree {
public:
    /// Errors: as those of TreeWriter; the entries must be a tree.
    static Result<std::unique_ptr<ScratchTree>> make(const SavedTree& tree);
    /// A copy of a tree.mdb as it is. Reading damaged pages may end the process: see salvage.cc.
    static Result<std::unique_ptr<ScratchTree>> copy_of(const std::string& tree_file);

    Result<std::unique_ptr<TreeReader>> read() const;
    Result<std::unique_ptr<TreeWriter>> write();

private:
    explicit ScratchTree(UniqueFd memory) : memory_(std::move(memory)) {}
    Status open();

    UniqueFd memory_;
    std::unique_ptr<lmdb::Environment> environment_;
};

/// The tree with its place in the journal.
Result<SavedTree> copy_tree(const TreeReader& tree);

}  // namespace cfsgate::store
