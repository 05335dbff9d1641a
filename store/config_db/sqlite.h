// SPDX-License-Identifier: Apache-2.0
// Owners for what SQLite hands out, for import and export only.
#pragma once

#include <memory>
#include <string>

#include <sqlite3.h>

#include "store/base/result.h"

namespace cfsgate::store::sqlite {

struct CloseDatabase {
    void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

struct FinalizeStatement {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

/// The last error of `database`: Corrupt for a damaged or foreign file, NoSpace, else InputOutput.
inline tl::unexpected<Error> fail_last(sqlite3* database, const std::string& what) {
    const std::string detail = what + ": " + sqlite3_errmsg(database);
    switch (sqlite3_errcode(database)) {
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return fail(Errno::Corrupt, detail);
        case SQLITE_FULL: return fail(Errno::NoSpace, detail);
        default: return fail(Errno::InputOutput, detail);
    }
}

inline Result<Database> open(const std::string& name, int flags, const std::string& what) {
    sqlite3* raw = nullptr;
    const int code = sqlite3_open_v2(name.c_str(), &raw, flags, nullptr);
    Database database(raw);
    if (code != SQLITE_OK) return fail_last(database.get(), what);
    return database;
}

inline Result<Statement> prepare(sqlite3* database, const char* sql, const std::string& what) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(database, sql, -1, &raw, nullptr) != SQLITE_OK) {
        return fail_last(database, what);
    }
    return Statement(raw);
}

/// True: there is a row; false: there is none left.
inline Result<bool> step(sqlite3_stmt* statement, const std::string& what) {
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return fail_last(sqlite3_db_handle(statement), what);
}

inline Status execute(sqlite3* database, const char* sql, const std::string& what) {
    if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
    return fail_last(database, what);
}

}  // namespace cfsgate::store::sqlite
