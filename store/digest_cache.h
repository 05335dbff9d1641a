// SPDX-License-Identifier: Apache-2.0
// The digests of all entries and of the whole tree, kept from one question to the next. Commits say
// which inodes they change; only those are hashed again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "store/base/mutex.h"
#include "store/model/index.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

/// Computed from nothing: hashes every entry.
Result<Index> compute_index(const TreeReader& tree);

/// States of the tree are told apart by their journal record: another history may have given another
/// content to the same version. Threads: any.
class DigestCache {
public:
    /// Opens a view of the tree as published.
    using OpenReader = std::function<Result<std::unique_ptr<TreeReader>>()>;
    explicit DigestCache(OpenReader open) : open_(std::move(open)) {}

    Result<Index> index() CFSGATE_EXCLUDES(mutex_, marks_mutex_);
    Result<std::string> encoded_index() CFSGATE_EXCLUDES(mutex_, marks_mutex_);
    Result<Digest> tree_checksum() CFSGATE_EXCLUDES(mutex_, marks_mutex_);

    /// The index of a tree that was made from the published one, and is not published yet, by
    /// changing these inodes.
    Result<Index> index_of(const TreeReader& tree, const std::vector<InodeNumber>& changed)
        CFSGATE_EXCLUDES(mutex_, marks_mutex_);

    /// These inodes are other ones, or gone, when the journal record is published. To be called
    /// before that; if it is never published, nothing is lost.
    void mark(Sequence record, const std::vector<InodeNumber>& changed)
        CFSGATE_EXCLUDES(marks_mutex_);
    /// So much is marked that somebody should ask for the index, to have that done.
    bool is_behind() const CFSGATE_EXCLUDES(marks_mutex_);

private:
    /// Brings index_ to the tree as published.
    Status refresh() CFSGATE_REQUIRES(mutex_) CFSGATE_EXCLUDES(marks_mutex_);
    /// Those marked by a record up to `seen`, ascending; they are marked no longer.
    std::vector<InodeNumber> take_marked(Sequence seen) CFSGATE_EXCLUDES(marks_mutex_);

    const OpenReader open_;

    Mutex mutex_;  ///< held while hashing; commits never wait for it
    std::optional<Sequence> index_at_ CFSGATE_GUARDED_BY(mutex_);
    Index index_ CFSGATE_GUARDED_BY(mutex_);
    std::optional<Sequence> checksum_at_ CFSGATE_GUARDED_BY(mutex_);
    Digest checksum_ CFSGATE_GUARDED_BY(mutex_){};

    /// Changed by the records first, last, and maybe some between.
    struct Mark {
        Sequence first;
        Sequence last;
    };
    mutable Mutex marks_mutex_;
    bool marking_ CFSGATE_GUARDED_BY(marks_mutex_) = false;  ///< from the first question on
    std::map<InodeNumber, Mark> marks_ CFSGATE_GUARDED_BY(marks_mutex_);
};

}  // namespace cfsgate::store
