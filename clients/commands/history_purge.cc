// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/json_fields.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

std::string names(const json& nodes, const char* key) {
    std::string text;
    for (const json& name : list_field(nodes, {key})) {
        text += (text.empty() ? "" : ", ") + name.get<std::string>();
    }
    return text;
}

void print(const Arguments& arguments, const json& answer, const std::string& path) {
    std::printf("'%s': %s journal records and %zu snapshots of this node have lost content\n",
                path.c_str(), text_field(answer, {"records"}).c_str(),
                list_field(answer, {"snapshots"}).size());
    for (const json& file : list_field(answer, {"still_there"})) {
        std::printf("still in the tree, with its present content: %s\n",
                    file.get<std::string>().c_str());
    }
    if (is_true(answer, {"config_db"})) {
        std::puts("config.db in the state directory, of an import or export, is as it was");
    }
    if (!arguments.all_nodes) {
        return void(
            std::puts("Other nodes keep their past, and backups what they have: do the "
                      "same on every node, or use --all-nodes."));
    }
    const std::string asked = names(field(answer, {"nodes"}), "asked");
    if (!asked.empty()) {
        std::printf("asked to do the same, with the result in their logs: %s\n", asked.c_str());
    }
    std::puts("Backups keep what they have, and so do nodes that run pmxcfs.");
}

int report_missed(const json& answer) {
    const std::string missed = names(field(answer, {"nodes"}), "missed");
    if (missed.empty()) return kOk;
    return report({kFailed, "not in the group, so not asked, and they keep their past: " + missed});
}

}  // namespace

int run_history_purge(const Arguments& arguments) {
    int code = kOk;
    const std::string path = tree_path(arguments, arguments.operands[0]);
    const auto response = ask_and_report(
        arguments,
        {{"command", "history-purge"}, {"path", path}, {"all_nodes", arguments.all_nodes}}, code);
    if (!response) return code;
    if (!arguments.json) print(arguments, *response, path);
    code = report_missed(*response);
    for (const json& file : list_field(*response, {"unreadable"})) {
        code = report({kFailed, file.get<std::string>() +
                                    ": is damaged, and may still hold what should go; delete it "
                                    "if you do not need it"});
    }
    return code;
}

}  // namespace cfsgate::clients
