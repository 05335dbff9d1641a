// SPDX-License-Identifier: Apache-2.0
// Small files as a whole.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "store/base/result.h"

namespace cfsgate {

enum class Flush : std::uint8_t {
    No,   ///< for what a restart of the machine takes away anyway
    Yes,  ///< the file and its directory are on stable storage when the call returns
};

/// Replaces `path` by temporary file and rename: readers see the old content or the new, whole.
/// Errors: what the system says, with the path in the detail; the old file is then unchanged.
Status write_file_atomically(const std::string& path, std::string_view content, mode_t mode,
                             Flush flush);

/// At most `bytes_max` bytes from the start of a file. Errors: NotFound, and what the system says.
Result<std::string> read_small_file(const std::string& path, std::size_t bytes_max = 64UL << 10);

}  // namespace cfsgate
