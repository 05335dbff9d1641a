// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "clients/commands.h"
#include "clients/offline_store.h"
#include "store/config_db/config_db.h"
#include "store/config_db/import_mark.h"
#include "store/store.h"

namespace cfsgate::clients {
namespace {

Status import_into(const std::string& directory, const std::string& file,
                   const store::ConfigDb& database) {
    // A config.db in the state directory itself must not look changed at the next start.
    CFSGATE_TRY(store::mark_as_known(directory, file));
    store::StoreOptions options;
    options.directory = directory;
    return store::Store::create_from(options, database.head, database.entries, null_logger());
}

void print_done(const Arguments& arguments, const store::ConfigDb& database) {
    const auto version = database.head.version.value();
    if (arguments.json) {
        const nlohmann::json done = {
            {"ok", true}, {"version", version}, {"entries", database.entries.size()}};
        std::printf("%s\n", done.dump(2).c_str());
        return;
    }
    std::printf("%s: imported version %llu, %zu entries\n", arguments.state.c_str(),
                static_cast<unsigned long long>(version), database.entries.size());
}

}  // namespace

int run_import(const Arguments& arguments) {
    const std::string& file = arguments.operands[0];
    const auto database = store::read_config_db(file);
    if (!database) return report({kFailed, database.error().detail});
    std::error_code error;
    std::filesystem::create_directories(arguments.state, error);
    if (error) return report({kFailed, arguments.state + ": " + error.message()});
    const OfflineAccess access = lock_state(arguments);
    if (!access.lock) return report(access.error);
    if (store::Store::exists(arguments.state)) {
        return report({kFailed, arguments.state +
                                    ": there is a store already; import into a new directory, or "
                                    "start the daemon with --use=config.db"});
    }
    const Status done = import_into(arguments.state, file, *database);
    if (!done) return report({kFailed, done.error().detail});
    print_done(arguments, *database);
    return kOk;
}

}  // namespace cfsgate::clients
