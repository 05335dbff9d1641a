// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "store/base/ids.h"

namespace cfsgate {

/// The values are those of the wire and of the old database.
enum class EntryType : std::uint8_t { Directory = 4, File = 8 };

/// One entry of the tree without its content. The root is inode 0 with an empty name; its version,
/// writer and mtime describe the last change of any entry.
struct Inode {
    InodeNumber number;
    InodeNumber parent;
    Version version;          ///< tree version at the entry's last change
    NodeId writer;            ///< who sent the last change
    std::uint32_t mtime = 0;  ///< seconds since 1970
    std::uint32_t size = 0;   ///< bytes of content; 0 for directories
    EntryType type = EntryType::File;
    /// A size without stored bytes: what a peer's truncation of an empty file leaves. Reads give
    /// zeros, digests leave the bytes out. Never made here.
    bool unbacked = false;
    std::string name;

    bool is_directory() const { return type == EntryType::Directory; }
    friend bool operator==(const Inode&, const Inode&) = default;
};

/// An entry with its content, for import, export, snapshots and state transfer.
struct Entry {
    Inode inode;
    std::string content;

    friend bool operator==(const Entry&, const Entry&) = default;
};

/// What the root's record says about the whole tree.
struct TreeHead {
    Version version{1};
    NodeId writer;
    std::uint32_t mtime = 0;

    friend bool operator==(const TreeHead&, const TreeHead&) = default;
};

}  // namespace cfsgate
