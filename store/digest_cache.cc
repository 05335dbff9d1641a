// SPDX-License-Identifier: Apache-2.0
#include "store/digest_cache.h"

#include <algorithm>

#include "store/model/digest.h"

namespace cfsgate::store {
namespace {

constexpr std::size_t kMarksMax = 16384;

/// Hashes `changed` (ascending) anew, and the root, whose record is another one after every change.
Status update_index(Index& index, const TreeReader& tree, const std::vector<InodeNumber>& changed) {
    std::vector<IndexEntry> entries;
    entries.reserve(index.entries.size() + changed.size());
    entries.push_back({kRootInode, index_digest(CFSGATE_TRY(tree.inode(kRootInode)), {})});
    auto old = index.entries.begin();
    if (old != index.entries.end()) ++old;
    for (const InodeNumber number : changed) {
        if (number == kRootInode) continue;
        const auto next = std::lower_bound(
            old, index.entries.end(), number,
            [](const IndexEntry& entry, InodeNumber wanted) { return entry.inode < wanted; });
        entries.insert(entries.end(), old, next);
        old = next;
        if (old != index.entries.end() && old->inode == number) ++old;
        const auto inode = tree.inode(number);
        if (!inode && inode.error().code == Errno::NotFound) continue;
        if (!inode) return tl::unexpected(inode.error());
        const auto content = CFSGATE_TRY(tree.stored_content(*inode));
        entries.push_back({number, index_digest(*inode, content)});
    }
    entries.insert(entries.end(), old, index.entries.end());
    index.entries = std::move(entries);
    index.head = tree.head();
    index.last_inode = index.entries.back().inode;
    return {};
}

}  // namespace

Result<Index> compute_index(const TreeReader& tree) {
    Index index;
    index.head = tree.head();
    CFSGATE_TRY(tree.for_each([&](const Inode& inode, std::string_view content) -> Status {
        index.entries.push_back({inode.number, index_digest(inode, content)});
        return {};
    }));
    index.last_inode = index.entries.back().inode;
    return index;
}

Status DigestCache::refresh() {
    {
        MutexLock lock(marks_mutex_);
        marking_ = true;
    }
    // Opened after the one before, so never older than what index_ is made from; and what it shows
    // was marked before it was published.
    const auto tree = CFSGATE_TRY(open_());
    const Sequence seen = tree->journal();
    if (index_at_ == seen) return {};
    const std::vector<InodeNumber> changed = take_marked(seen);
    if (!index_at_) {
        index_ = CFSGATE_TRY(compute_index(*tree));
    } else if (const auto updated = update_index(index_, *tree, changed); !updated) {
        index_at_.reset();  // the marks are gone
        return updated;
    }
    index_at_ = seen;
    return {};
}

Result<Index> DigestCache::index() {
    MutexLock lock(mutex_);
    CFSGATE_TRY(refresh());
    return index_;
}

Result<std::string> DigestCache::encoded_index() {
    MutexLock lock(mutex_);
    CFSGATE_TRY(refresh());
    return encode_index(index_);
}

Result<Index> DigestCache::index_of(const TreeReader& tree,
                                    const std::vector<InodeNumber>& changed) {
    Index index = CFSGATE_TRY(this->index());
    CFSGATE_TRY(update_index(index, tree, changed));
    return index;
}

Result<Digest> DigestCache::tree_checksum() {
    MutexLock lock(mutex_);
    const auto tree = CFSGATE_TRY(open_());
    if (checksum_at_ == tree->journal()) return checksum_;
    Sha256 sum;
    CFSGATE_TRY(tree->for_each([&](const Inode& inode, std::string_view content) -> Status {
        add_to_tree_checksum(sum, inode, content);
        return {};
    }));
    checksum_ = sum.finish();
    checksum_at_ = tree->journal();
    return checksum_;
}

void DigestCache::mark(Sequence record, const std::vector<InodeNumber>& changed) {
    MutexLock lock(marks_mutex_);
    if (!marking_) return;
    for (const InodeNumber inode : changed) {
        const auto [mark, added] = marks_.try_emplace(inode, Mark{record, record});
        if (!added) mark->second.last = record;
    }
}

bool DigestCache::is_behind() const {
    MutexLock lock(marks_mutex_);
    return marks_.size() > kMarksMax;
}

std::vector<InodeNumber> DigestCache::take_marked(Sequence seen) {
    std::vector<InodeNumber> marked;
    MutexLock lock(marks_mutex_);
    for (auto at = marks_.begin(); at != marks_.end();) {
        Mark& mark = at->second;
        if (mark.first > seen) {
            ++at;
            continue;
        }
        marked.push_back(at->first);
        if (mark.last <= seen) {
            at = marks_.erase(at);
        } else {
            mark.first = Sequence(seen.value() + 1);  // or later: too early costs one hash more
            ++at;
        }
    }
    return marked;
}

}  // namespace cfsgate::store
