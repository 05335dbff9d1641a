// SPDX-License-Identifier: Apache-2.0
// How entries of a directory are shown.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace cfsgate::clients {

/// Such as "-rw-r-----". `kind` is "file", "directory" or "symlink".
std::string mode_text(std::string_view kind, std::uint32_t mode);

/// Local time, such as "2026-01-31 13:45:00".
std::string time_text(std::time_t seconds);

/// Name of a user or group as this host knows it, else the number.
std::string user_text(std::uint32_t uid);
std::string group_text(std::uint32_t gid);

}  // namespace cfsgate::clients
