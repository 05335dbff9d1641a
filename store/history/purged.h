// SPDX-License-Identifier: Apache-2.0
// The file `purged`: whose content was taken out of the past. The records and snapshots themselves
// do not show it: where content was, zeros are, or what the entry has now.
//
// Text: "format 1", and a line for each purge: the journal record where it ends, and the inodes.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "store/base/ids.h"
#include "store/base/result.h"

namespace cfsgate::store {

class Purged {
public:
    /// The content that `inode` had before `upto`.
    void add(InodeNumber inode, Sequence upto) {
        Sequence& known = upto_[inode];
        known = std::max(known, upto);
    }
    /// Whether what the tree at `at` says of the content is not true any more.
    bool has(InodeNumber inode, Sequence at) const {
        const auto found = upto_.find(inode);
        return found != upto_.end() && at < found->second;
    }
    const std::map<InodeNumber, Sequence>& all() const { return upto_; }

private:
    std::map<InodeNumber, Sequence> upto_;
};

inline constexpr const char* kPurgedFileName = "purged";

/// No file is nothing purged. Errors: Corrupt.
Result<Purged> read_purged(const std::string& directory);
/// Durable when it returns.
Status write_purged(const std::string& directory, const Purged& purged);

}  // namespace cfsgate::store
