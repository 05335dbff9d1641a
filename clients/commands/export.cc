// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>

#include "clients/commands.h"
#include "clients/offline_store.h"
#include "store/config_db/config_db.h"
#include "store/config_db/import_mark.h"
#include "store/store.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

Result<store::ConfigDb> copy_tree(const store::Store& store) {
    const auto view = CFSGATE_TRY(store.read());
    store::ConfigDb tree{.head = view->head(), .entries = {}};
    CFSGATE_TRY(view->for_each([&](const Inode& inode, std::string_view content) -> Status {
        if (inode.number != kRootInode) tree.entries.push_back({inode, std::string(content)});
        return {};
    }));
    return tree;
}

Result<store::ConfigDb> read_offline(const std::string& directory) {
    if (!store::Store::exists(directory))
        return fail(Errno::NotFound, directory + ": there is no store (--state)");
    store::StoreOptions options;
    options.directory = directory;
    const auto store = CFSGATE_TRY(store::Store::open(options, null_logger()));
    auto tree = copy_tree(*store);
    CFSGATE_TRY(store->close());
    return tree;
}

Result<json> export_offline(const std::string& directory, const std::string& file) {
    const store::ConfigDb tree = CFSGATE_TRY(read_offline(directory));
    CFSGATE_TRY(store::write_config_db(file, tree));
    CFSGATE_TRY(store::mark_as_known(directory, file));
    return json{
        {"ok", true}, {"version", tree.head.version.value()}, {"entries", tree.entries.size()}};
}

int print_answer(const Arguments& arguments, const std::string& file, const json& answer) {
    if (arguments.json) {
        std::printf("%s\n", answer.dump(2).c_str());
    } else {
        std::printf("%s: wrote version %s, %s entries\n", file.c_str(),
                    answer["version"].dump().c_str(), answer["entries"].dump().c_str());
    }
    return kOk;
}

}  // namespace

int run_export(const Arguments& arguments) {
    std::error_code error;
    const std::string file = std::filesystem::absolute(arguments.operands[0], error).string();
    const OfflineAccess access = lock_state(arguments);
    if (access.lock) {
        const auto done = export_offline(arguments.state, file);
        if (!done) return report({kFailed, done.error().detail});
        return print_answer(arguments, file, *done);
    }
    if (access.error.code != kInUse) return report(access.error);
    const Answer answer =
        ask_holder(arguments, {{"command", "export"}, {"file", file}}, access.error);
    if (!answer.response) return report(answer.error);
    return print_answer(arguments, file, *answer.response);
}

}  // namespace cfsgate::clients
