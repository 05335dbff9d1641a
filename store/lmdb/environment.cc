// SPDX-License-Identifier: Apache-2.0
#include "store/lmdb/environment.h"

#include <cerrno>

#include <lmdb.h>

namespace cfsgate::store::lmdb {
namespace {

constexpr unsigned kReadersMax = 1022;
constexpr const char* kTableNames[kTables] = {nullptr, "inode", "content", "dirent", "child"};

tl::unexpected<Error> fail_lmdb(int code, const std::string& what) {
    const std::string detail = what + ": " + mdb_strerror(code);
    switch (code) {
        case MDB_MAP_FULL: return fail(Errno::NoSpace, detail);
        case MDB_CORRUPTED:
        case MDB_PAGE_NOTFOUND:
        case MDB_INVALID:
        case MDB_VERSION_MISMATCH:
        case MDB_PANIC: return fail(Errno::Corrupt, detail);
        default: return fail(code > 0 ? from_posix(code) : Errno::InputOutput, detail);
    }
}

MDB_val to_val(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }

std::string_view to_view(const MDB_val& value) {
    return {static_cast<const char*>(value.mv_data), value.mv_size};
}

class Cursor {
public:
    ~Cursor() {
        if (cursor_ != nullptr) mdb_cursor_close(cursor_);
    }
    int open(MDB_txn* txn, MDB_dbi table) { return mdb_cursor_open(txn, table, &cursor_); }
    int get(MDB_val& key, MDB_val& value, MDB_cursor_op op) {
        return mdb_cursor_get(cursor_, &key, &value, op);
    }

private:
    MDB_cursor* cursor_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Environment>> Environment::open(const EnvironmentOptions& options) {
    std::unique_ptr<Environment> environment(new Environment);
    environment->file_ = options.file;
    const auto step = [&](int code) -> Status {
        if (code == 0) return {};
        return fail_lmdb(code, options.file);
    };
    CFSGATE_TRY(step(mdb_env_create(&environment->env_)));
    MDB_env* env = environment->env_;
    CFSGATE_TRY(step(mdb_env_set_maxdbs(env, kTables)));
    CFSGATE_TRY(step(mdb_env_set_maxreaders(env, kReadersMax)));
    CFSGATE_TRY(step(mdb_env_set_mapsize(env, options.map_bytes)));
    const unsigned flags =
        MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC | (options.read_only ? unsigned{MDB_RDONLY} : 0U);
    CFSGATE_TRY(step(mdb_env_open(env, options.file.c_str(), flags, 0600)));

    MDB_txn* txn = nullptr;
    CFSGATE_TRY(step(mdb_txn_begin(env, nullptr, options.read_only ? MDB_RDONLY : 0, &txn)));
    for (std::size_t i = 0; i < kTables; ++i) {
        const unsigned create =
            options.read_only || kTableNames[i] == nullptr ? 0U : unsigned{MDB_CREATE};
        if (const int code = mdb_dbi_open(txn, kTableNames[i], create, &environment->tables_[i])) {
            mdb_txn_abort(txn);
            return fail_lmdb(code == MDB_NOTFOUND ? MDB_INVALID : code, options.file);
        }
    }
    CFSGATE_TRY(step(mdb_txn_commit(txn)));
    return environment;
}

Environment::~Environment() {
    for (MDB_txn* txn : idle_readers_) mdb_txn_abort(txn);
    if (env_ != nullptr) mdb_env_close(env_);
}

Status Environment::sync() {
    if (const int code = mdb_env_sync(env_, 1)) return fail_lmdb(code, file_ + ": sync");
    return {};
}

Result<MDB_txn*> Environment::begin_read() {
    MDB_txn* txn = nullptr;
    {
        MutexLock lock(mutex_);
        if (!idle_readers_.empty()) {
            txn = idle_readers_.back();
            idle_readers_.pop_back();
        }
    }
    if (txn != nullptr) {
        if (const int code = mdb_txn_renew(txn)) {
            mdb_txn_abort(txn);
            return fail_lmdb(code, file_ + ": read transaction");
        }
        return txn;
    }
    if (const int code = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn)) {
        return fail_lmdb(code, file_ + ": read transaction");
    }
    return txn;
}

void Environment::end_read(MDB_txn* txn) noexcept {
    mdb_txn_reset(txn);
    MutexLock lock(mutex_);
    idle_readers_.push_back(txn);
}

Result<std::unique_ptr<Transaction>> Transaction::read(Environment& environment) {
    MDB_txn* txn = CFSGATE_TRY(environment.begin_read());
    return std::unique_ptr<Transaction>(new Transaction(environment, txn, false));
}

Result<std::unique_ptr<Transaction>> Transaction::write(Environment& environment) {
    MDB_txn* txn = nullptr;
    if (const int code = mdb_txn_begin(environment.env_, nullptr, 0, &txn)) {
        return fail_lmdb(code, environment.file_ + ": write transaction");
    }
    return std::unique_ptr<Transaction>(new Transaction(environment, txn, true));
}

Transaction::~Transaction() {
    if (txn_ == nullptr) return;
    if (writing_) {
        mdb_txn_abort(txn_);
    } else {
        environment_.end_read(txn_);
    }
}

Result<std::optional<std::string_view>> Transaction::get(Table table, std::string_view key) const {
    MDB_val raw_key = to_val(key);
    MDB_val value{};
    const int code =
        mdb_get(txn_, environment_.tables_[static_cast<std::size_t>(table)], &raw_key, &value);
    if (code == MDB_NOTFOUND) return std::optional<std::string_view>();
    if (code != 0) return fail_lmdb(code, environment_.file_ + ": get");
    return std::optional<std::string_view>(to_view(value));
}

Transaction::Lookups::Lookups(const Transaction& transaction, Table table)
    : transaction_(transaction),
      failure_(mdb_cursor_open(transaction.txn_,
                               transaction.environment_.tables_[static_cast<std::size_t>(table)],
                               &cursor_)) {}

Transaction::Lookups::~Lookups() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
}

Result<std::optional<std::string_view>> Transaction::Lookups::get(std::string_view key) {
    MDB_val raw_key = to_val(key);
    MDB_val value{};
    if (failure_ != 0) return fail_lmdb(failure_, transaction_.environment_.file_ + ": look-up");
    // Mostly it is the next one.
    MDB_val next_key{};
    if (positioned_ && mdb_cursor_get(cursor_, &next_key, &value, MDB_NEXT) == 0 &&
        to_view(next_key) == key) {
        return std::optional<std::string_view>(to_view(value));
    }
    const int code = mdb_cursor_get(cursor_, &raw_key, &value, MDB_SET_KEY);
    positioned_ = code == 0;
    if (code == MDB_NOTFOUND) return std::optional<std::string_view>();
    if (code != 0) return fail_lmdb(code, transaction_.environment_.file_ + ": look-up");
    return std::optional<std::string_view>(to_view(value));
}

Status Transaction::put(Table table, std::string_view key, std::string_view value) {
    MDB_val raw_key = to_val(key);
    MDB_val raw_value = to_val(value);
    const int code = mdb_put(txn_, environment_.tables_[static_cast<std::size_t>(table)], &raw_key,
                             &raw_value, 0);
    if (code != 0) return fail_lmdb(code, environment_.file_ + ": put");
    return {};
}

Status Transaction::erase(Table table, std::string_view key) {
    MDB_val raw_key = to_val(key);
    const int code =
        mdb_del(txn_, environment_.tables_[static_cast<std::size_t>(table)], &raw_key, nullptr);
    if (code == MDB_NOTFOUND)
        return fail(Errno::Corrupt, environment_.file_ + ": a key is missing");
    if (code != 0) return fail_lmdb(code, environment_.file_ + ": delete");
    return {};
}

Status Transaction::scan(
    Table table, std::string_view from,
    const std::function<bool(std::string_view key, std::string_view value)>& sink) const {
    Cursor cursor;
    if (const int code = cursor.open(txn_, environment_.tables_[static_cast<std::size_t>(table)])) {
        return fail_lmdb(code, environment_.file_ + ": cursor");
    }
    MDB_val key = to_val(from);
    MDB_val value{};
    int code = cursor.get(key, value, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
    while (code == 0 && sink(to_view(key), to_view(value))) {
        code = cursor.get(key, value, MDB_NEXT);
    }
    if (code != 0 && code != MDB_NOTFOUND) return fail_lmdb(code, environment_.file_ + ": scan");
    return {};
}

Result<std::uint64_t> Transaction::count(Table table) const {
    MDB_stat stat{};
    const int code = mdb_stat(txn_, environment_.tables_[static_cast<std::size_t>(table)], &stat);
    if (code != 0) return fail_lmdb(code, environment_.file_ + ": stat");
    return std::uint64_t{stat.ms_entries};
}

Status Transaction::commit() {
    MDB_txn* txn = txn_;
    txn_ = nullptr;
    if (const int code = mdb_txn_commit(txn)) {
        return fail_lmdb(code, environment_.file_ + ": commit");
    }
    return {};
}

}  // namespace cfsgate::store::lmdb
