// SPDX-License-Identifier: Apache-2.0
// Files of the state directory: whole reads, whole writes, and what makes them durable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace cfsgate::store {

Result<UniqueFd> open_file(const std::string& path, int flags, unsigned mode = 0600);
/// Which file it is, whatever its name.
struct FileId {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;

    friend bool operator==(const FileId&, const FileId&) = default;
};
Result<FileId> file_id(int fd, const std::string& path);
/// Errors: NotFound, and what the system says.
Result<FileId> file_id(const std::string& path);

/// At most `bytes_max` from the start. Errors: NotFound.
Result<std::string> read_file(const std::string& path, std::uint64_t bytes_max = UINT64_MAX);
bool all_zero(std::string_view bytes);
/// A file of which most is zeros behind something else.
struct SparseBytes {
    std::string bytes;       ///< up to the last block that is not all zeros
    std::uint64_t size = 0;  ///< of the file
};
/// Reads all of it, and keeps what is not zero. Errors: NotFound.
Result<SparseBytes> read_sparse_file(const std::string& path);
Status write_all(int fd, std::string_view bytes, std::uint64_t offset, const std::string& path);
Status sync_data(int fd, const std::string& path);
/// Makes names in a directory durable.
Status sync_directory(const std::string& directory);
/// Temporary file, sync, rename, sync of the directory: the old or the new content, never a mix.
Status replace_file(const std::string& directory, const std::string& name, std::string_view bytes);
/// The names in `directory` that start with `prefix`, sorted.
Result<std::vector<std::string>> list_files(const std::string& directory, std::string_view prefix);
/// Not being there is no error.
Status remove_file(const std::string& path);

}  // namespace cfsgate::store
