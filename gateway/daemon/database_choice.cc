// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/database_choice.h"

#include <ctime>
#include <string>

#include "store/checker.h"
#include "store/config_db/config_db.h"
#include "store/config_db/import_mark.h"
#include "store/store_files.h"

namespace cfsgate::gateway::daemon {
namespace {

Status import_database(const store::StoreOptions& options, const store::ConfigDb& database,
                       const std::string& fingerprint, const Logger& log) {
    // The mark first: without a store it means nothing, so a crash in between does no harm.
    CFSGATE_TRY(store::write_import_mark(options.directory, fingerprint));
    CFSGATE_TRY(store::Store::create_from(options, database.head, database.entries, log));
    log->info("{}: imported version {}, {} entries", store::config_db_path(options.directory),
              database.head.version.value(), database.entries.size());
    return {};
}

std::string version_of_store(const std::string& directory) {
    const auto report = store::check_directory(directory);
    return report ? std::to_string(report->version) : "unknown (" + report.error().detail + ")";
}

std::string version_of_database(const std::string& file) {
    const auto database = store::read_config_db(file);
    return database ? std::to_string(database->head.version.value())
                    : "unknown (" + database.error().detail + ")";
}

tl::unexpected<Error> refuse_both(const std::string& directory) {
    const std::string file = store::config_db_path(directory);
    return fail(Errno::Busy,
                directory +
                    " holds two databases, and config.db has changed since the store last "
                    "knew it: the store is at version " +
                    version_of_store(directory) + ", config.db at version " +
                    version_of_database(file) +
                    ". Start once with --use=store (config.db is left alone) or with "
                    "--use=config.db (the store is moved aside, config.db is imported)");
}

Status replace_store(const store::StoreOptions& options, const std::string& fingerprint,
                     const Logger& log) {
    // Read it before anything moves: a database that is refused changes nothing.
    const auto database =
        CFSGATE_TRY(store::read_config_db(store::config_db_path(options.directory)));
    const std::string folder = CFSGATE_TRY(
        store::move_store_aside(options.directory, store::folder_time(std::time(nullptr))));
    log->warn("{}: the former store is kept in {}", options.directory, folder);
    return import_database(options, database, fingerprint, log);
}

Status choose_between(const store::StoreOptions& options, DatabaseChoice choice,
                      const std::string& fingerprint, const Logger& log) {
    const auto known = CFSGATE_TRY(store::read_import_mark(options.directory));
    if (known == fingerprint) {
        if (choice == DatabaseChoice::ConfigDb) {
            log->warn("{}: has not changed since it was imported or exported; using the store",
                      store::config_db_path(options.directory));
        }
        return {};
    }
    switch (choice) {
        case DatabaseChoice::Ask: return refuse_both(options.directory);
        case DatabaseChoice::Store:
            log->warn("{}: left alone, as --use=store asks",
                      store::config_db_path(options.directory));
            return store::write_import_mark(options.directory, fingerprint);
        case DatabaseChoice::ConfigDb: return replace_store(options, fingerprint, log);
    }
    return {};
}

}  // namespace

Status choose_database(const store::StoreOptions& options, DatabaseChoice choice,
                       const Logger& log) {
    const std::string& directory = options.directory;
    const bool has_store = store::Store::exists(directory);
    const auto fingerprint = CFSGATE_TRY(store::config_db_fingerprint(directory));
    if (choice == DatabaseChoice::ConfigDb && !fingerprint) {
        return fail(Errno::NotFound, store::config_db_path(directory) +
                                         ": not there, but --use=config.db asks for it");
    }
    if (choice == DatabaseChoice::Store && !has_store) {
        return fail(Errno::NotFound, directory + ": no store there, but --use=store asks for it");
    }
    if (!fingerprint) return {};
    if (has_store) return choose_between(options, choice, *fingerprint, log);
    const auto database = CFSGATE_TRY(store::read_config_db(store::config_db_path(directory)));
    return import_database(options, database, *fingerprint, log);
}

}  // namespace cfsgate::gateway::daemon
