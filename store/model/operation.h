// SPDX-License-Identifier: Apache-2.0
// One change as replicated. Paths are relative to the root, without a leading slash.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>

#include "store/base/ids.h"

namespace cfsgate {

using Digest = std::array<unsigned char, 32>;  ///< SHA-256

struct CreateFile {
    std::string path;
};
struct WriteFile {
    std::string path;
    std::string data;
    std::uint32_t offset = 0;
    bool truncate = false;  ///< cut the file behind the data; with no data: length := offset
};
struct MakeDirectory {
    std::string path;
};
struct Delete {
    std::string path;
};
struct Rename {
    std::string path;
    std::string target;
};
struct SetMtime {
    std::string path;
    std::uint32_t mtime = 0;
};
/// Deletes a lock directory if it still has this entry checksum; else does nothing.
struct Unlock {
    std::string path;
    Digest checksum{};
};

using Operation =
    std::variant<CreateFile, WriteFile, MakeDirectory, Delete, Rename, SetMtime, Unlock>;

/// Who sent an operation and when; the only time and origin that apply sees.
struct Stamp {
    NodeId node;             ///< 0 in local mode
    std::uint32_t time = 0;  ///< sender's clock, seconds since 1970
};

}  // namespace cfsgate
