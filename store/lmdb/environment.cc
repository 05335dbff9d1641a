// SPDX-License-Identifier: Apache-2.0
#include "store/lmdb/environment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include <lmdb.h>

#include "store/base/unique_fd.h"

namespace cfsgate::store::lmdb {
namespace {

constexpr unsigned kReadersMax = 1022;
/// More than one of LMDB's writes.
constexpr off_t kProbeBytes = 4 << 20;
constexpr std::chrono::seconds kReadersPatience{1};
constexpr const char* kTableNames[kTables] = {nullptr, "inode", "content", "dirent", "child"};

tl::unexpected<Error> fail_lmdb(int code, const std::string& what) {
    const std::string detail = what + ": " + mdb_strerror(code);
    switch (code) {
        case MDB_MAP_FULL: return fail(Errno::NoSpace, detail);
        case MDB_CORRUPTED:
        case MDB_PAGE_NOTFOUND:
        case MDB_INVALID:
        case MDB_VERSION_MISMATCH: return fail(Errno::Corrupt, detail);
        case MDB_PANIC: return fail(Errno::InputOutput, detail);
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

/// LMDB writes as much as fits and calls what does not an I/O error, so the disk has to be asked.
bool disk_is_full(const std::string& beside) {
    const std::string path = beside + ".probe";
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.valid()) return errno == ENOSPC || errno == EDQUOT;
    const int code = ::posix_fallocate(fd.get(), 0, kProbeBytes);
    ::unlink(path.c_str());
    return code == ENOSPC || code == EDQUOT;
}

}  // namespace

struct Environment::Handle {
    ~Handle() {
        for (MDB_txn* txn : idle_readers) mdb_txn_abort(txn);
        if (env != nullptr) mdb_env_close(env);
    }
    static Result<std::shared_ptr<Handle>> open(const EnvironmentOptions& options);
    Status open_tables(const EnvironmentOptions& options);
    std::uint64_t bytes_needed() const;
    Status check_size(const std::string& file);
    void keep_size(const std::string& file);

    MDB_env* env = nullptr;
    unsigned tables[kTables] = {};
    std::uint64_t bytes = 0;  ///< the file has at least so many; the writer's own
    /// Ended read transactions, kept for renewal: that costs no lock of LMDB's reader table. Guarded
    /// by the environment's mutex.
    std::vector<MDB_txn*> idle_readers;
};

Result<std::shared_ptr<Environment::Handle>> Environment::Handle::open(
    const EnvironmentOptions& options) {
    auto handle = std::make_shared<Handle>();
    const auto step = [&](int code) -> Status {
        if (code == 0) return {};
        return fail_lmdb(code, options.file);
    };
    CFSGATE_TRY(step(mdb_env_create(&handle->env)));
    MDB_env* env = handle->env;
    CFSGATE_TRY(step(mdb_env_set_maxdbs(env, kTables)));
    CFSGATE_TRY(step(mdb_env_set_maxreaders(env, kReadersMax)));
    CFSGATE_TRY(step(mdb_env_set_mapsize(env, options.map_bytes)));
    const unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC |
                           (options.read_only ? unsigned{MDB_RDONLY} : 0U) |
                           (options.alone ? unsigned{MDB_NOLOCK} : 0U);
    CFSGATE_TRY(step(mdb_env_open(env, options.file.c_str(), flags, 0600)));
    if (!options.alone) CFSGATE_TRY(handle->check_size(options.file));
    CFSGATE_TRY(handle->open_tables(options));
    return handle;
}

std::uint64_t Environment::Handle::bytes_needed() const {
    MDB_envinfo info{};
    MDB_stat stat{};
    mdb_env_info(env, &info);
    mdb_env_stat(env, &stat);
    return (std::uint64_t{info.me_last_pgno} + 1) * stat.ms_psize;
}

/// LMDB does not look: a page behind the end of the file would end the process when it is read.
Status Environment::Handle::check_size(const std::string& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) return fail_posix(errno, file);
    bytes = static_cast<std::uint64_t>(status.st_size);
    if (bytes >= bytes_needed()) return {};
    return fail(Errno::Corrupt, file + ": cut short: " + std::to_string(bytes) + " bytes of " +
                                    std::to_string(bytes_needed()));
}

/// LMDB does not write a page at the end that was taken and given back in one transaction. With the
/// file as long as it says, one that is shorter is one that was cut.
void Environment::Handle::keep_size(const std::string& file) {
    const std::uint64_t needed = bytes_needed();
    if (bytes >= needed) return;
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) return;
    bytes = static_cast<std::uint64_t>(status.st_size);
    if (bytes < needed && ::truncate(file.c_str(), static_cast<off_t>(needed)) == 0) bytes = needed;
}

Status Environment::Handle::open_tables(const EnvironmentOptions& options) {
    MDB_txn* txn = nullptr;
    if (const int code = mdb_txn_begin(env, nullptr, options.read_only ? MDB_RDONLY : 0, &txn)) {
        return fail_lmdb(code, options.file);
    }
    for (std::size_t i = 0; i < kTables; ++i) {
        const unsigned create =
            options.read_only || kTableNames[i] == nullptr ? 0U : unsigned{MDB_CREATE};
        if (const int code = mdb_dbi_open(txn, kTableNames[i], create, &tables[i])) {
            mdb_txn_abort(txn);
            return fail_lmdb(code == MDB_NOTFOUND ? MDB_INVALID : code, options.file);
        }
    }
    const int code = mdb_txn_commit(txn);
    if (code == EIO && disk_is_full(options.file)) return fail_lmdb(ENOSPC, options.file);
    if (code != 0) return fail_lmdb(code, options.file);
    return {};
}

Result<std::unique_ptr<Environment>> Environment::open(const EnvironmentOptions& options) {
    std::unique_ptr<Environment> environment(new Environment);
    environment->options_ = options;
    auto handle = CFSGATE_TRY(Handle::open(options));
    const MutexLock lock(environment->mutex_);
    environment->handle_ = std::move(handle);
    return environment;
}

Environment::~Environment() = default;

std::shared_ptr<Environment::Handle> Environment::handle() const {
    const MutexLock lock(mutex_);
    return handle_;
}

Status Environment::sync() {
    if (const int code = mdb_env_sync(handle()->env, 1)) return fail_to_write(code, "sync");
    return {};
}

/// Readers of the retired handle stand in a table that writers of the new one do not look at.
Status Environment::wait_for_retired() {
    const auto deadline = std::chrono::steady_clock::now() + kReadersPatience;
    while (retired_ != nullptr && retired_.use_count() > 1) {
        if (std::chrono::steady_clock::now() > deadline) {
            return fail(Errno::Busy, options_.file + ": is still being read as it was");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    retired_.reset();
    return {};
}

Status Environment::unstick() {
    if (!stuck_) return {};
    if (retired_ == nullptr) {
        // With the old one two handles in one process would take each other's locks.
        const std::string locks = options_.file + "-lock";
        if (::unlink(locks.c_str()) != 0 && errno != ENOENT) return fail_posix(errno, locks);
        auto fresh = CFSGATE_TRY(Handle::open(options_));
        const MutexLock lock(mutex_);
        retired_ = std::exchange(handle_, std::move(fresh));
        for (MDB_txn* txn : retired_->idle_readers) mdb_txn_abort(txn);
        retired_->idle_readers.clear();
    }
    CFSGATE_TRY(wait_for_retired());
    stuck_ = false;
    return {};
}

tl::unexpected<Error> Environment::fail_to_write(int code, const char* what) const {
    if (code == EIO && disk_is_full(options_.file)) code = ENOSPC;
    return fail_lmdb(code, options_.file + ": " + what);
}

Result<MDB_txn*> Environment::begin_read(std::shared_ptr<Handle>& handle) {
    MDB_txn* txn = nullptr;
    {
        const MutexLock lock(mutex_);
        handle = handle_;
        if (!handle_->idle_readers.empty()) {
            txn = handle_->idle_readers.back();
            handle_->idle_readers.pop_back();
        }
    }
    if (txn != nullptr) {
        if (const int code = mdb_txn_renew(txn)) {
            mdb_txn_abort(txn);
            return fail_lmdb(code, options_.file + ": read transaction");
        }
        return txn;
    }
    if (const int code = mdb_txn_begin(handle->env, nullptr, MDB_RDONLY, &txn)) {
        return fail_lmdb(code, options_.file + ": read transaction");
    }
    return txn;
}

void Environment::end_read(const std::shared_ptr<Handle>& handle, MDB_txn* txn) noexcept {
    mdb_txn_reset(txn);
    const MutexLock lock(mutex_);
    if (handle == handle_) {
        handle_->idle_readers.push_back(txn);
    } else {
        mdb_txn_abort(txn);
    }
}

Result<std::unique_ptr<Transaction>> Transaction::read(Environment& environment) {
    std::shared_ptr<Environment::Handle> handle;
    MDB_txn* txn = CFSGATE_TRY(environment.begin_read(handle));
    return std::unique_ptr<Transaction>(
        new Transaction(environment, std::move(handle), txn, false));
}

Result<std::unique_ptr<Transaction>> Transaction::write(Environment& environment) {
    auto handle = environment.handle();
    MDB_txn* txn = nullptr;
    if (const int code = mdb_txn_begin(handle->env, nullptr, 0, &txn)) {
        return fail_lmdb(code, environment.options_.file + ": write transaction");
    }
    return std::unique_ptr<Transaction>(new Transaction(environment, std::move(handle), txn, true));
}

Transaction::~Transaction() {
    if (txn_ == nullptr) return;
    if (writing_) {
        mdb_txn_abort(txn_);
    } else {
        environment_.end_read(handle_, txn_);
    }
}

unsigned Transaction::id_of(Table table) const {
    return handle_->tables[static_cast<std::size_t>(table)];
}

tl::unexpected<Error> Transaction::fail_to(const char* what, int code) const {
    return fail_lmdb(code, environment_.options_.file + ": " + what);
}

Result<std::optional<std::string_view>> Transaction::get(Table table, std::string_view key) const {
    MDB_val raw_key = to_val(key);
    MDB_val value{};
    const int code = mdb_get(txn_, id_of(table), &raw_key, &value);
    if (code == MDB_NOTFOUND) return std::optional<std::string_view>();
    if (code != 0) return fail_to("get", code);
    return std::optional<std::string_view>(to_view(value));
}

Transaction::Lookups::Lookups(const Transaction& transaction, Table table)
    : transaction_(transaction),
      failure_(mdb_cursor_open(transaction.txn_, transaction.id_of(table), &cursor_)) {}

Transaction::Lookups::~Lookups() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
}

Result<std::optional<std::string_view>> Transaction::Lookups::get(std::string_view key) {
    MDB_val raw_key = to_val(key);
    MDB_val value{};
    if (failure_ != 0) return transaction_.fail_to("look-up", failure_);
    // Mostly it is the next one.
    MDB_val next_key{};
    if (positioned_ && mdb_cursor_get(cursor_, &next_key, &value, MDB_NEXT) == 0 &&
        to_view(next_key) == key) {
        return std::optional<std::string_view>(to_view(value));
    }
    const int code = mdb_cursor_get(cursor_, &raw_key, &value, MDB_SET_KEY);
    positioned_ = code == 0;
    if (code == MDB_NOTFOUND) return std::optional<std::string_view>();
    if (code != 0) return transaction_.fail_to("look-up", code);
    return std::optional<std::string_view>(to_view(value));
}

Status Transaction::put(Table table, std::string_view key, std::string_view value) {
    MDB_val raw_key = to_val(key);
    MDB_val raw_value = to_val(value);
    const int code = mdb_put(txn_, id_of(table), &raw_key, &raw_value, 0);
    if (code != 0) return environment_.fail_to_write(code, "put");
    return {};
}

Status Transaction::erase(Table table, std::string_view key) {
    MDB_val raw_key = to_val(key);
    const int code = mdb_del(txn_, id_of(table), &raw_key, nullptr);
    if (code == MDB_NOTFOUND)
        return fail(Errno::Corrupt, environment_.options_.file + ": a key is missing");
    if (code != 0) return fail_to("delete", code);
    return {};
}

Status Transaction::scan(
    Table table, std::string_view from,
    const std::function<bool(std::string_view key, std::string_view value)>& sink) const {
    Cursor cursor;
    if (const int code = cursor.open(txn_, id_of(table))) {
        return fail_to("cursor", code);
    }
    MDB_val key = to_val(from);
    MDB_val value{};
    int code = cursor.get(key, value, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
    while (code == 0 && sink(to_view(key), to_view(value))) {
        code = cursor.get(key, value, MDB_NEXT);
    }
    if (code != 0 && code != MDB_NOTFOUND) return fail_to("scan", code);
    return {};
}

Result<std::uint64_t> Transaction::count(Table table) const {
    MDB_stat stat{};
    const int code = mdb_stat(txn_, id_of(table), &stat);
    if (code != 0) return fail_to("stat", code);
    return std::uint64_t{stat.ms_entries};
}

Status Transaction::commit() {
    MDB_txn* txn = txn_;
    txn_ = nullptr;
    if (const int code = mdb_txn_commit(txn)) {
        MDB_txn* next = nullptr;
        const int then = mdb_txn_begin(handle_->env, nullptr, MDB_RDONLY, &next);
        if (then == 0) mdb_txn_abort(next);
        if (then == MDB_PANIC) environment_.stuck_ = true;
        return environment_.fail_to_write(code, "commit");
    }
    if (writing_) handle_->keep_size(environment_.options_.file);
    return {};
}

}  // namespace cfsgate::store::lmdb
