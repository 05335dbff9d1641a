// SPDX-License-Identifier: Apache-2.0
// Fields of an answer. What is missing, or not as agreed, shows as nothing and does not end the
// program: the daemon may be of another version.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace cfsgate::clients {

/// From the outside in.
using FieldPath = std::initializer_list<const char*>;

/// Null where it is missing.
const nlohmann::json& field(const nlohmann::json& from, FieldPath path);

std::optional<std::uint64_t> number_field(const nlohmann::json& from, FieldPath path);
bool is_true(const nlohmann::json& from, FieldPath path);
/// Text as it is, another value as JSON; empty for null.
std::string text_field(const nlohmann::json& from, FieldPath path);
/// Empty where it is none.
const nlohmann::json::array_t& list_field(const nlohmann::json& from, FieldPath path);

}  // namespace cfsgate::clients
