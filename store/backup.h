// SPDX-License-Identifier: Apache-2.0
// One file that holds the whole tree of a node and says whose it is.
//
// 16 bytes of magic | u32 format | u32 time | u64 file-system id | u32 count, and that many former
// ones | node | cluster | program, each a u32 length and text | u64 version | u32 writer | u32 mtime |
// u64 entries (root not counted) | u64 bytes of content, then the entries ascending by inode
// (entry_codec.h), and last the SHA-256 of everything before.
//
// It holds what only root may read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "store/saved_tree.h"

namespace cfsgate::store {

/// What a backup says of itself.
struct BackupHeader {
    std::uint32_t time = 0;         ///< when it was made, seconds since 1970
    std::uint64_t file_system = 0;  ///< in file handles of that time
    std::vector<std::uint64_t> former;
    std::string node;     ///< whose it is; empty where nobody knows
    std::string cluster;  ///< of corosync.conf; empty without one
    std::string program;  ///< "cfsgate 0.1.0"
    TreeHead head;
    std::uint64_t entries = 0;
    std::uint64_t content_bytes = 0;
};

struct Backup {
    BackupHeader header;
    SavedTree tree;
};

/// Told the bytes of content done so far, and of all; its error ends the backup.
using BackupProgress = std::function<Status(std::uint64_t done, std::uint64_t all)>;

struct BackupTarget {
    std::string file;
    /// Where it is written until it is whole: beside `file`, and not there yet.
    std::string temporary;
    bool replace = false;  ///< an existing `file`
    BackupProgress progress;
};

/// A name for BackupTarget::temporary that this process alone uses.
std::string temporary_beside(const std::string& file);

/// Writes the tree of the view. `header`: what the tree does not say itself; the rest is filled in
/// and returned. Mode 0600, on stable storage when it returns; where it fails nothing is left.
/// Errors: Exists; NoSpace, InputOutput and what the system says.
Result<BackupHeader> write_backup(const BackupTarget& target, BackupHeader header,
                                  const ReadView& view);

/// Checks the whole of it before anything is believed. Errors: Corrupt, which says what is wrong.
Result<Backup> decode_backup(std::string_view bytes, const std::string& path);
Result<Backup> read_backup(const std::string& path);
/// The bytes that write_backup() writes.
std::string encode_backup(const Backup& backup);

/// The cluster that the tree's corosync.conf names, or "".
std::string cluster_of(const ReadView& view);
std::string cluster_of(const SavedTree& tree);

}  // namespace cfsgate::store
