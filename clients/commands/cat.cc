// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "clients/commands.h"
#include "clients/offline_store.h"
#include "store/base/base64.h"

namespace cfsgate::clients {
namespace {

/// As the daemon answers.
Answer read_offline(const Arguments& arguments, const std::string& path) {
    const OfflineTree offline = read_state(arguments);
    if (!offline.store) return {{}, offline.error};
    const store::SavedTree& tree = offline.store->tree;
    const auto found = store::resolve(tree, path);
    if (!found) return {{}, {kFailed, found.error().detail}};
    const Entry* entry = store::find_entry(tree, *found);
    if (entry == nullptr || entry->inode.is_directory()) {
        return {{}, {kFailed, path + ": is a directory"}};
    }
    const std::string content =
        entry->inode.unbacked ? std::string(entry->inode.size, '\0') : entry->content;
    return {nlohmann::json{{"ok", true}, {"data", encode_base64(content)}}, {}};
}

int print(const Arguments& arguments, const std::string& path, const nlohmann::json& response) {
    if (arguments.json) {
        std::printf("%s\n", response.dump(2).c_str());
        return kOk;
    }
    const auto content = decode_base64(response.value("data", ""));
    if (!content) return report({kFailed, path + ": the answer does not decode"});
    const std::size_t written = std::fwrite(content->data(), 1, content->size(), stdout);
    if (written != content->size() || std::fflush(stdout) != 0) {
        return report({kFailed, "stdout: cannot be written"});
    }
    return kOk;
}

}  // namespace

int run_cat(const Arguments& arguments) {
    const std::string path = tree_path(arguments, arguments.operands[0]);
    Answer answer;
    if (is_for_files(arguments, {{"command", "get"}, {"path", path}}, answer)) {
        answer = read_offline(arguments, path);
    }
    return answer.response ? print(arguments, path, *answer.response) : report(answer.error);
}

}  // namespace cfsgate::clients
