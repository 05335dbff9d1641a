// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "clients/commands.h"
#include "clients/control_client.h"

namespace cfsgate::clients {
namespace {

std::string to_text(const nlohmann::json& value) {
    if (value.is_null()) return "none";
    if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
    return value.is_string() ? value.get<std::string>() : value.dump();
}

/// "store.journal.segments: 1", one line for each value.
void print(const nlohmann::json& part, const std::string& prefix) {
    for (const auto& [key, value] : part.items()) {
        if (value.is_object()) {
            print(value, prefix + key + ".");
        } else if (key != "ok" || !prefix.empty()) {
            std::printf("%s%s: %s\n", prefix.c_str(), key.c_str(), to_text(value).c_str());
        }
    }
}

}  // namespace

int run_status(const Arguments& arguments) {
    int code = kOk;
    const auto response =
        ask_and_report(arguments, {{"command", "status"}, {"checksum", arguments.checksum}}, code);
    if (response && !arguments.json) print(*response, "");
    return code;
}

}  // namespace cfsgate::clients
