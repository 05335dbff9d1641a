// SPDX-License-Identifier: Apache-2.0
// Operands that name a place in the past.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

namespace cfsgate::clients {

/// A time, in seconds since 1970: "2026-01-31 13:45:00" or "2026-01-31T13:45" (local; with "Z" at the
/// end UTC), "2026-01-31" (its first second), "13:45" (today), "90m ago" or "90m" (s, m, h, d), or
/// the seconds with "@" before them. Nothing where it is none of that, or cannot be.
std::optional<std::uint32_t> parse_moment(std::string_view text, std::time_t now);

/// "a/b@17" is the path "a/b" at the position "17". The last '@' counts; behind it is no slash.
struct PathAt {
    std::string path;
    std::string position;  ///< empty: none was named
};
PathAt split_position(std::string_view operand);

}  // namespace cfsgate::clients
