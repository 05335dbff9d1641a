// SPDX-License-Identifier: Apache-2.0
// The cluster's part of `status`, for people. No I/O.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cfsgate::clients {

/// Empty in local mode. `status`: the daemon's whole answer.
std::vector<std::string> cluster_lines(const nlohmann::json& status);

/// Such as "node2 (2)"; the number alone where nobody knows the name.
std::string member_text(const nlohmann::json& status, std::uint64_t id);

/// Such as "yes, since 2026-01-31 13:45:00", or "no, since ...: why".
std::string quorum_text(const nlohmann::json& status);

}  // namespace cfsgate::clients
