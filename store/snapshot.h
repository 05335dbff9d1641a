// SPDX-License-Identifier: Apache-2.0
// The whole tree at one journal position, in one checksummed file `snapshot.<sequence>`.
//
// 16 bytes of magic | u32 format | u64 store id | u64 journal sequence | u64 version | u32 writer |
// u32 mtime | u64 entries (root not counted), then the entries ascending by inode (entry_codec.h),
// and last the SHA-256 of everything before.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "store/base/result.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

struct SnapshotHeader {
    std::uint64_t store_id = 0;
    Sequence journal;
    TreeHead head;
    std::uint64_t entries = 0;
};

/// Written beside and renamed, synced. Returns the file's name.
Result<std::string> write_snapshot_file(const std::string& directory, std::uint64_t store_id,
                                        const TreeReader& tree);

using EntryReader = std::function<Status(const Inode&, std::string_view content)>;

/// Checks the whole file before the first entry is handed out. Errors: Corrupt; the sink's.
Result<SnapshotHeader> read_snapshot_file(const std::string& path, const EntryReader& sink);

/// Names of the snapshot files, newest first.
Result<std::vector<std::string>> snapshot_files(const std::string& directory);

}  // namespace cfsgate::store
