// SPDX-License-Identifier: Apache-2.0
// File handles: the same on every node and after every restart. They hold no secret; access is
// checked by path at each use.
//
//   u8 format (1) | 3 zero bytes | u64 file-system id | u64 file id | u32 CRC-32C of what precedes
//
// Little-endian, 24 bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/file_id.h"
#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

inline constexpr std::size_t kHandleBytes = 24;

std::string encode_handle(std::uint64_t file_system, FileId id);

struct FileHandle {
    std::uint64_t file_system = 0;
    FileId id;
};
/// Errors: BadMessage for bytes that were never a handle.
Result<FileHandle> decode_handle(std::string_view bytes);
/// Errors: also StaleHandle for one of another file system.
Result<FileId> decode_handle(std::string_view bytes, std::uint64_t file_system);

}  // namespace cfsgate::gateway::nfs
