// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdio>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/listing.h"

namespace cfsgate::clients {
namespace {

void print(const nlohmann::json& entry) {
    const std::string target = entry.value("target", "");
    std::printf("%s %9llu %s %s%s%s\n",
                mode_text(entry.value("kind", ""), entry.value("mode", 0U)).c_str(),
                static_cast<unsigned long long>(entry.value("size", std::uint64_t{0})),
                time_text(entry.value("mtime", 0U)).c_str(), entry.value("name", "").c_str(),
                target.empty() ? "" : " -> ", target.c_str());
}

}  // namespace

int run_ls(const Arguments& arguments) {
    int code = kOk;
    const std::string path =
        arguments.operands.empty() ? "" : tree_path(arguments, arguments.operands[0]);
    const auto response = ask_and_report(arguments, {{"command", "ls"}, {"path", path}}, code);
    if (!response || arguments.json) return code;
    for (const auto& entry : response->value("entries", nlohmann::json::array())) print(entry);
    return code;
}

}  // namespace cfsgate::clients
