// SPDX-License-Identifier: Apache-2.0
// The index: what members compare when they synchronise.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/model/inode.h"
#include "store/model/operation.h"

namespace cfsgate {

struct IndexEntry {
    InodeNumber inode;
    Digest digest{};

    friend bool operator==(const IndexEntry&, const IndexEntry&) = default;
};

/// Entries ascend by inode, the root (inode 0) included.
struct Index {
    TreeHead head;
    InodeNumber last_inode;
    std::vector<IndexEntry> entries;

    friend bool operator==(const Index&, const Index&) = default;
};

/// 32 bytes of header and 40 for each entry.
std::string encode_index(const Index& index);

/// Errors: BadMessage where lengths or counts disagree, or inodes do not ascend.
Result<Index> decode_index(std::string_view bytes);

}  // namespace cfsgate
