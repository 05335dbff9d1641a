// SPDX-License-Identifier: Apache-2.0
// Digests of entries and of the whole tree, computed when first asked for and kept by version.
#pragma once

#include <optional>
#include <unordered_map>

#include "store/base/mutex.h"
#include "store/model/index.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

/// Threads: any.
class DigestCache {
public:
    Result<Index> index(const TreeReader& tree) CFSGATE_EXCLUDES(mutex_);
    Result<Digest> tree_checksum(const TreeReader& tree) CFSGATE_EXCLUDES(mutex_);
    /// Another history has replaced entries: the same version may now mean other content.
    void clear() CFSGATE_EXCLUDES(mutex_);

private:
    struct Known {
        Version version;
        Digest digest{};
    };
    Mutex mutex_;
    std::unordered_map<InodeNumber, Known> entries_ CFSGATE_GUARDED_BY(mutex_);
    std::optional<Known> tree_ CFSGATE_GUARDED_BY(mutex_);
};

}  // namespace cfsgate::store
