// SPDX-License-Identifier: Apache-2.0
#include "store/digest_cache.h"

#include <algorithm>

#include "store/model/digest.h"

namespace cfsgate::store {

Result<Index> DigestCache::index(const TreeReader& tree) {
    Index index;
    index.head = tree.head();
    MutexLock lock(mutex_);
    CFSGATE_TRY(tree.for_each(
        [&](const Inode& inode, std::string_view content) CFSGATE_REQUIRES(mutex_) -> Status {
            Known& known = entries_[inode.number];
            // The root's version says nothing about its writer and time after a state transfer.
            if (known.version != inode.version || inode.number == kRootInode) {
                known = {inode.version, index_digest(inode, content)};
            }
            index.entries.push_back({inode.number, known.digest});
            return {};
        }));
    index.last_inode = index.entries.back().inode;
    if (entries_.size() > 2 * index.entries.size() + 1024) {
        // Most of what is kept belongs to entries that are gone.
        std::unordered_map<InodeNumber, Known> living;
        for (const IndexEntry& entry : index.entries) living[entry.inode] = entries_[entry.inode];
        entries_ = std::move(living);
    }
    return index;
}

Result<Digest> DigestCache::tree_checksum(const TreeReader& tree) {
    const Version version = tree.head().version;
    {
        MutexLock lock(mutex_);
        if (tree_ && tree_->version == version) return tree_->digest;
    }
    Sha256 sum;
    CFSGATE_TRY(tree.for_each([&](const Inode& inode, std::string_view content) -> Status {
        add_to_tree_checksum(sum, inode, content);
        return {};
    }));
    const Digest digest = sum.finish();
    MutexLock lock(mutex_);
    tree_ = Known{version, digest};
    return digest;
}

void DigestCache::clear() {
    MutexLock lock(mutex_);
    entries_.clear();
    tree_.reset();
}

}  // namespace cfsgate::store
