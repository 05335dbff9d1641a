// SPDX-License-Identifier: Apache-2.0
// Fields of a request of the control socket.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "store/base/result.h"

namespace cfsgate::gateway::daemon {

/// Errors: Invalid where it is missing or no text.
inline Result<std::string> text_of(const nlohmann::json& request, const char* key) {
    const auto field = request.find(key);
    if (field == request.end() || !field->is_string()) {
        return fail(Errno::Invalid, std::string("the request has no text \"") + key + "\"");
    }
    return field->get<std::string>();
}

/// Errors: Invalid where it is there, and no number from 0 to `most`.
inline Result<std::uint64_t> number_of(const nlohmann::json& request, const char* key,
                                       std::uint64_t otherwise, std::uint64_t most) {
    const auto field = request.find(key);
    if (field == request.end()) return otherwise;
    if (!field->is_number_unsigned() || field->get<std::uint64_t>() > most) {
        return fail(Errno::Invalid,
                    std::string("\"") + key + "\" is no number from 0 to " + std::to_string(most));
    }
    return field->get<std::uint64_t>();
}

inline bool is_set(const nlohmann::json& request, const char* key) {
    const auto field = request.find(key);
    return field != request.end() && field->is_boolean() && field->get<bool>();
}

}  // namespace cfsgate::gateway::daemon
