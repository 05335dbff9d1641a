// SPDX-License-Identifier: Apache-2.0
#include "clients/json_fields.h"

namespace cfsgate::clients {

using nlohmann::json;

const json& field(const json& from, FieldPath path) {
    static const json kNone;
    const json* place = &from;
    for (const char* const key : path) {
        if (!place->is_object()) return kNone;
        const auto found = place->find(key);
        if (found == place->end()) return kNone;
        place = &*found;
    }
    return *place;
}

std::optional<std::uint64_t> number_field(const json& from, FieldPath path) {
    const json& value = field(from, path);
    if (!value.is_number_unsigned()) return {};
    return value.get<std::uint64_t>();
}

bool is_true(const json& from, FieldPath path) {
    const json& value = field(from, path);
    return value.is_boolean() && value.get<bool>();
}

std::string text_field(const json& from, FieldPath path) {
    const json& value = field(from, path);
    if (value.is_null()) return "";
    return value.is_string() ? value.get<std::string>() : value.dump();
}

const json::array_t& list_field(const json& from, FieldPath path) {
    static const json::array_t kNone;
    const json& value = field(from, path);
    return value.is_array() ? value.get_ref<const json::array_t&>() : kNone;
}

}  // namespace cfsgate::clients
