// SPDX-License-Identifier: Apache-2.0
// A whole tree in memory, away from any store: what backups, recovery and repair work on.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/checker.h"
#include "store/model/digest.h"
#include "store/model/inode.h"
#include "store/store.h"

namespace cfsgate::store {

struct SavedTree {
    TreeHead head;
    Sequence journal;            ///< the last journal record that is in it
    std::vector<Entry> entries;  ///< the root left out; ascending by inode unless said otherwise
};

/// Without `journal`.
Result<SavedTree> copy_tree(const ReadView& view);

/// The checksum that `status --checksum` shows.
Digest checksum_of(const SavedTree& tree);
std::uint64_t content_bytes_of(const SavedTree& tree);

/// Null for the root, and for what is not there.
const Entry* find_entry(const SavedTree& tree, InodeNumber inode);
/// Follows the components of `path`. Errors: NotFound, with the path in the detail.
Result<InodeNumber> resolve(const SavedTree& tree, std::string_view path);
/// What is in a directory, by name.
std::vector<const Entry*> children_of(const SavedTree& tree, InodeNumber directory);

/// What mend_tree() did.
struct Mending {
    struct TakenOut {
        std::string path;  ///< as far as it is known
        std::string why;
        Entry entry;
    };
    std::vector<TakenOut> taken_out;  ///< what has no place in the tree
    std::vector<Finding> changed;     ///< what is there under another name, or in another form

    bool nothing() const { return taken_out.empty() && changed.empty(); }
};

/// Makes of any entries a tree that the checker finds nothing wrong with, and keeps all it can:
/// - what hangs in nothing, or in a circle, is taken out, and so is a file that is too large;
/// - a name that cannot be becomes `inode-NUMBER`;
/// - of two entries with one name, or two configurations of one guest, the newer one keeps it; the
///   other becomes `NAME.duplicate-NUMBER` in the same directory, so that nobody new may read it;
/// - a directory loses its content; the tree's version is at least that of its entries.
/// Sorts the entries. A tree that is well stays as it is.
Mending mend_tree(SavedTree& tree);

}  // namespace cfsgate::store
