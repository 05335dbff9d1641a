// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <ctime>
#include <functional>

namespace cfsgate {

/// Seconds since 1970, as the wire and the tree carry them. Passed in, so that tests choose it.
using WallClock = std::function<std::uint32_t()>;

inline WallClock system_wall_clock() {
    return [] { return static_cast<std::uint32_t>(std::time(nullptr)); };
}

}  // namespace cfsgate
