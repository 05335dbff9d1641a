// SPDX-License-Identifier: Apache-2.0
// What `top` shows. No I/O.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cfsgate::clients {

/// Of two answers to `status`, `seconds` apart. A rate is "-" where it is not known, such as
/// across a restart of the daemon.
std::vector<std::string> top_lines(const nlohmann::json& before, const nlohmann::json& now,
                                   double seconds);

}  // namespace cfsgate::clients
