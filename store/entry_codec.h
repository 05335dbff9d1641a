// SPDX-License-Identifier: Apache-2.0
// One entry of the tree in snapshots and journal records:
//   u64 inode | u64 parent | u64 version | u32 writer | u32 mtime | u32 size | u8 type | u8 flags |
//   name and content, each a u32 length and the bytes. Flag 1: unbacked.
#pragma once

#include <string_view>

#include "store/base/bytes.h"
#include "store/model/inode.h"

namespace cfsgate::store {

void put_entry(ByteWriter& out, const Inode& inode, std::string_view content);

/// Sets `content`, borrowed from the reader's bytes. What does not fit together shows in the reader
/// and in content_fits().
Inode take_entry(ByteReader& in, std::string_view* content);

/// As many bytes as the entry's size says, none where it is unbacked.
bool content_fits(const Inode& inode, std::string_view content);

}  // namespace cfsgate::store
