// SPDX-License-Identifier: Apache-2.0
// Whether a file is to the byte as it was left. LMDB's pages have no checksum of their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/base/result.h"

namespace cfsgate::store {

struct FileSum {
    std::uint64_t bytes = 0;
    std::vector<std::uint32_t> pieces;  ///< CRC-32C of each 16 MiB

    friend bool operator==(const FileSum&, const FileSum&) = default;
};

/// Reads the whole file, on two threads where it is large. Errors: what the system says.
Result<FileSum> sum_file(const std::string& path);

}  // namespace cfsgate::store
