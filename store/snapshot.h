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

using EntryReader = std::function<Status(const Inode&, std::string_view content)>;

/// Hands every entry but the root to a reader, ascending by inode.
using EntrySource = std::function<Status(const EntryReader&)>;

/// The name of the automatic snapshot at a journal record.
std::string snapshot_name(Sequence journal);

/// Written beside (as `new.NAME`) and renamed, synced.
Status write_snapshot_entries(const std::string& directory, const std::string& name,
                              const SnapshotHeader& header, const EntrySource& source);

/// The same of a whole tree, under the name of an automatic snapshot unless another is given.
/// Returns the file's name.
Result<std::string> write_snapshot_file(const std::string& directory, std::uint64_t store_id,
                                        const TreeReader& tree, std::string name = {});

/// Checks the whole file before the first entry is handed out. Errors: Corrupt; the sink's.
Result<SnapshotHeader> read_snapshot_file(const std::string& path, const EntryReader& sink);

/// The same for a file's bytes; `path` is for messages.
Result<SnapshotHeader> decode_snapshot(std::string_view bytes, const std::string& path,
                                       const EntryReader& sink);

/// The header alone; nothing is checked by the checksum. Errors: Corrupt.
Result<SnapshotHeader> read_snapshot_header(const std::string& path);

/// Names of the automatic snapshots, newest first.
Result<std::vector<std::string>> snapshot_files(const std::string& directory);

}  // namespace cfsgate::store
