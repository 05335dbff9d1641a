// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "clients/cluster_text.h"
#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/table.h"

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

void print_status(nlohmann::json status) {
    const auto cluster = cluster_lines(status);
    status.erase("cluster");
    print(status, "");
    if (cluster.empty()) return;
    std::puts("");
    print_lines(cluster);
}

}  // namespace

int run_status(const Arguments& arguments) {
    int code = kOk;
    auto response =
        ask_and_report(arguments, {{"command", "status"}, {"checksum", arguments.checksum}}, code);
    if (response && !arguments.json) print_status(std::move(*response));
    return code;
}

}  // namespace cfsgate::clients
