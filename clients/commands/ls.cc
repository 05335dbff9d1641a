// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdio>

#include "clients/commands.h"
#include "clients/listing.h"
#include "clients/offline_store.h"
#include "store/model/path.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

/// As the mount would show it, but for what is not stored: virtual files and links.
json to_json(const Entry& entry, const std::string& path) {
    const bool directory = entry.inode.is_directory();
    const bool is_private = is_private_path(path);
    const unsigned for_group = directory ? 0055U : 0040U;
    const unsigned for_owner = directory ? 0700U : 0600U;
    return {{"name", entry.inode.name},
            {"kind", directory ? "directory" : "file"},
            {"mode", for_owner | (is_private ? 0U : for_group)},
            {"size", entry.inode.size},
            {"mtime", entry.inode.mtime},
            {"version", entry.inode.version.value()}};
}

Answer list_offline(const Arguments& arguments, const std::string& path) {
    const OfflineTree offline = read_state(arguments);
    if (!offline.store) return {{}, offline.error};
    const store::SavedTree& tree = offline.store->tree;
    const auto found = store::resolve(tree, path);
    if (!found) return {{}, {kFailed, found.error().detail}};
    json entries = json::array();
    const Entry* entry = store::find_entry(tree, *found);
    if (entry != nullptr && !entry->inode.is_directory()) {
        entries.push_back(to_json(*entry, path));
    } else {
        for (const Entry* child : store::children_of(tree, *found)) {
            entries.push_back(to_json(*child, join_path(path, child->inode.name)));
        }
    }
    return {json{{"ok", true}, {"entries", std::move(entries)}}, {}};
}

void print(const json& entry) {
    const std::string target = entry.value("target", "");
    std::printf("%s %9llu %s %s%s%s\n",
                mode_text(entry.value("kind", ""), entry.value("mode", 0U)).c_str(),
                static_cast<unsigned long long>(entry.value("size", std::uint64_t{0})),
                time_text(entry.value("mtime", 0U)).c_str(), entry.value("name", "").c_str(),
                target.empty() ? "" : " -> ", target.c_str());
}

}  // namespace

int run_ls(const Arguments& arguments) {
    const std::string path =
        arguments.operands.empty() ? "" : tree_path(arguments, arguments.operands[0]);
    Answer answer;
    if (is_for_files(arguments, {{"command", "ls"}, {"path", path}}, answer)) {
        answer = list_offline(arguments, path);
    }
    if (!answer.response) return report(answer.error);
    if (arguments.json) {
        std::printf("%s\n",
                    answer.response->dump(2, ' ', false, json::error_handler_t::replace).c_str());
        return kOk;
    }
    for (const auto& entry : answer.response->value("entries", json::array())) print(entry);
    return kOk;
}

}  // namespace cfsgate::clients
