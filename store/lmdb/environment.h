// SPDX-License-Identifier: Apache-2.0
// Thin owners of an LMDB environment and its transactions; the only users of <lmdb.h>.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/mutex.h"
#include "store/base/result.h"

struct MDB_cursor;
struct MDB_env;
struct MDB_txn;

namespace cfsgate::store::lmdb {

/// The trees of the environment. Meta is LMDB's own root tree, whose page every commit rewrites
/// anyhow.
enum class Table : std::uint8_t { Meta, Inode, Content, Dirent, Child };
inline constexpr std::size_t kTables = 5;

/// LMDB's compiled-in limit.
inline constexpr std::size_t kKeyBytesMax = 511;

struct EnvironmentOptions {
    std::string file;
    std::uint64_t map_bytes = 0;
    bool read_only = false;
    bool alone = false;  ///< nobody else has the file: needs no file with locks beside it
};

/// One environment, opened once per process. Commits are not flushed: the journal is what makes a
/// change durable. Threads: any; one write transaction at a time.
class Environment {
public:
    /// Errors: Corrupt where the file is no LMDB file of ours or is cut short, else what the system
    /// says.
    static Result<std::unique_ptr<Environment>> open(const EnvironmentOptions& options);
    ~Environment();
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

    /// Forces everything to stable storage.
    Status sync();

    /// After a commit that failed at its very end LMDB refuses every further transaction.
    bool is_stuck() const { return stuck_; }
    /// Opens the file anew if it is stuck. Read transactions that are open end as they began; a write
    /// transaction must not be open. Errors: Busy while readers of before are there; as open().
    Status unstick();
    /// Opens the file anew in any case: then nothing of earlier pages is in LMDB's buffers, from
    /// where it could come into the file again. As unstick(); after an error it is stuck.
    Status renew() {
        stuck_ = true;
        return unstick();
    }

private:
    friend class Transaction;
    struct Handle;
    Environment() = default;
    std::shared_ptr<Handle> handle() const;
    Result<MDB_txn*> begin_read(std::shared_ptr<Handle>& handle);
    void end_read(const std::shared_ptr<Handle>& handle, MDB_txn* txn) noexcept;
    tl::unexpected<Error> fail_to_write(int code, const char* what) const;
    Status wait_for_retired();

    EnvironmentOptions options_;
    mutable Mutex mutex_;
    std::shared_ptr<Handle> handle_ CFSGATE_GUARDED_BY(mutex_);
    std::shared_ptr<Handle> retired_;  ///< of before unstick(), while it has readers
    std::atomic<bool> stuck_{false};
};

/// Ends with abort unless committed. Views of values live until the next write or the end.
class Transaction {
public:
    static Result<std::unique_ptr<Transaction>> read(Environment& environment);
    /// Waits for another writer. Begin and end it on one thread.
    static Result<std::unique_ptr<Transaction>> write(Environment& environment);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    Result<std::optional<std::string_view>> get(Table table, std::string_view key) const;
    /// Errors: NoSpace where the map is full.
    Status put(Table table, std::string_view key, std::string_view value);
    /// The key must exist: Corrupt if not.
    Status erase(Table table, std::string_view key);
    /// Pairs with a key ≥ `from`, ascending, until `sink` returns false.
    Status scan(
        Table table, std::string_view from,
        const std::function<bool(std::string_view key, std::string_view value)>& sink) const;
    /// Get for many keys that lie close together: from one to the next it stays in the page. Ends
    /// before its transaction; nothing may be changed meanwhile.
    class Lookups {
    public:
        Lookups(const Transaction& transaction, Table table);
        ~Lookups();
        Lookups(const Lookups&) = delete;
        Lookups& operator=(const Lookups&) = delete;
        Result<std::optional<std::string_view>> get(std::string_view key);

    private:
        const Transaction& transaction_;
        MDB_cursor* cursor_ = nullptr;
        int failure_;
        bool positioned_ = false;
    };
    Result<std::uint64_t> count(Table table) const;
    /// Errors: NoSpace, InputOutput; nothing was changed then.
    Status commit();

private:
    Transaction(Environment& environment, std::shared_ptr<Environment::Handle> handle, MDB_txn* txn,
                bool writing)
        : environment_(environment), handle_(std::move(handle)), txn_(txn), writing_(writing) {}
    unsigned id_of(Table table) const;
    tl::unexpected<Error> fail_to(const char* what, int code) const;

    Environment& environment_;
    std::shared_ptr<Environment::Handle> handle_;
    MDB_txn* txn_;
    bool writing_;
};

}  // namespace cfsgate::store::lmdb
