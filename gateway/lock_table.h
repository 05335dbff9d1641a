// SPDX-License-Identifier: Apache-2.0
// Advisory locks of this node: fcntl and flock of the mount, and those of the network's lock
// protocol, in one table, so that they hold between all of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gateway/file_id.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway {

enum class LockType : std::uint8_t { Shared, Exclusive };

/// Bytes `first` to `last`, both included. A `last` of kToTheEnd: however far the file will grow.
struct LockRange {
    static constexpr std::uint64_t kToTheEnd = UINT64_MAX;
    std::uint64_t first = 0;
    std::uint64_t last = kToTheEnd;

    bool overlaps(const LockRange& other) const {
        return first <= other.last && other.first <= last;
    }
    friend bool operator==(const LockRange&, const LockRange&) = default;
};

/// Whose lock it is. Locks of one owner never conflict with each other.
struct LockOwner {
    /// By which call. A range lock and a whole-file lock of this host's programs ignore each other,
    /// as in any local file system. A lock from the network conflicts with both: a client sends
    /// either as a range.
    enum class Kind : std::uint8_t { Range, WholeFile, Network };
    Kind kind = Kind::Range;
    std::string client;  ///< empty for programs of this host
    std::string bytes;   ///< what the client calls it

    friend auto operator<=>(const LockOwner&, const LockOwner&) = default;
};

struct LockRequest {
    FileId file;
    LockOwner owner;
    LockType type = LockType::Shared;
    LockRange range;
    std::int32_t pid = 0;    ///< for those who ask who holds it
    std::string charged_to;  ///< whose limit counts; the first request of an owner decides
};

struct LockHolder {
    LockOwner owner;
    LockType type = LockType::Shared;
    LockRange range;
    std::int32_t pid = 0;
};

struct LockLimits {
    std::size_t locks = 65536;
    std::size_t locks_of_one = 16384;  ///< charged to one
    std::size_t waiting = 8192;
    std::size_t waiting_of_one = 1024;
};

enum class LockOutcome : std::uint8_t {
    Granted,
    Conflict,
    Waiting,
    Deadlock,  ///< waiting would be for oneself, by way of others
    NoRoom,    ///< a limit
};

/// POSIX semantics: a new lock of an owner takes the place of what the owner has there, parts can
/// be unlocked. A whole-file lock (Kind::WholeFile) that changes its type is given up first and
/// stays so if the new one is refused, as flock(2) has it.
///
/// A request goes ahead of those who wait if it conflicts with no lock that is held; those who wait
/// get their turn in the order in which they came.
///
/// Locks are in memory, of this node alone. Threads: any; callbacks run on the thread that made
/// room, which holds nothing then.
class LockTable {
public:
    using WaitId = Id<struct LockWaitTag, std::uint64_t>;
    /// Called once, when the lock is held; must not block.
    using Granted = std::function<void()>;
    struct Attempt {
        LockOutcome outcome = LockOutcome::Granted;
        WaitId wait;  ///< where it waits
    };

    explicit LockTable(LockLimits limits = {}) : limits_(limits) {}

    /// Granted, Conflict or NoRoom.
    LockOutcome try_lock(const LockRequest& request) CFSGATE_EXCLUDES(mutex_);
    /// Granted (`granted` is not called then), Waiting, Deadlock or NoRoom. Deadlocks are found
    /// between those whose owners are processes: not for Kind::WholeFile.
    Attempt lock(const LockRequest& request, Granted granted) CFSGATE_EXCLUDES(mutex_);
    /// True: it waited, and `granted` will not be called. False: it is granted already, or unknown.
    bool cancel(WaitId wait) CFSGATE_EXCLUDES(mutex_);
    /// Granted, also where nothing was locked; NoRoom if one lock would become two too many.
    LockOutcome unlock(FileId file, const LockOwner& owner, LockRange range)
        CFSGATE_EXCLUDES(mutex_);
    /// A lock that the request would conflict with: the one that begins first.
    std::optional<LockHolder> test(const LockRequest& request) const CFSGATE_EXCLUDES(mutex_);

    /// All of one owner's locks on one file. What waits goes on waiting.
    void release(FileId file, const LockOwner& owner) CFSGATE_EXCLUDES(mutex_);
    /// All locks of a client from the network; what it waits for is forgotten.
    void release_client(const std::string& client) CFSGATE_EXCLUDES(mutex_);
    /// The file is gone. Programs of this host may still have it open, and then lock each other out;
    /// locks from the network end.
    void release_network(FileId file) CFSGATE_EXCLUDES(mutex_);

    struct Totals {
        std::size_t locks = 0;
        std::size_t waiting = 0;
    };
    Totals totals() const CFSGATE_EXCLUDES(mutex_);
    /// All locks of a file, by owner and range. For tests and lists.
    std::vector<LockHolder> holders(FileId file) const CFSGATE_EXCLUDES(mutex_);
    /// Whether a client from the network holds or waits for any lock.
    bool has_client(const std::string& client) const CFSGATE_EXCLUDES(mutex_);

private:
    struct Held {
        LockType type = LockType::Shared;
        LockRange range;
        std::int32_t pid = 0;
    };
    /// Disjoint, ascending; neighbours of the same type are one.
    using Locks = std::vector<Held>;
    struct OwnersLocks {
        std::string charged_to;
        Locks locks;
    };
    struct Waiter {
        WaitId id;
        LockRequest request;
        Granted granted;
    };
    struct File {
        std::map<LockOwner, OwnersLocks> owners;
        std::list<Waiter> waiters;  ///< in the order in which they came
    };
    struct Account {
        std::size_t locks = 0;
        std::size_t waiting = 0;
    };
    /// Callbacks to run when the mutex is free again.
    using Due = std::vector<Granted>;

    static void append(Locks& locks, Held held);
    static Locks replaced(const Locks& locks, LockRange range, const Held* put);
    static bool conflicts(const LockRequest& request, const LockOwner& owner, const Held& held);
    static bool has_conflict(const File& file, const LockRequest& request);

    LockOutcome attempt(const LockRequest& request, Due& due) CFSGATE_REQUIRES(mutex_);
    bool has_room(const std::string& charged_to, std::size_t before, std::size_t after) const
        CFSGATE_REQUIRES(mutex_);
    void put(File& file, const LockRequest& request) CFSGATE_REQUIRES(mutex_);
    void set(File& file, std::map<LockOwner, OwnersLocks>::iterator owners, Locks locks)
        CFSGATE_REQUIRES(mutex_);
    void drop(File& file, const LockOwner& owner) CFSGATE_REQUIRES(mutex_);
    void promote(FileId id, Due& due) CFSGATE_REQUIRES(mutex_);
    void forget_waiter(File& file, std::list<Waiter>::iterator waiter) CFSGATE_REQUIRES(mutex_);
    void forget_if_unused(FileId id) CFSGATE_REQUIRES(mutex_);
    bool would_deadlock(const LockRequest& request) const CFSGATE_REQUIRES(mutex_);
    void charge(const std::string& to, std::size_t Account::*what, std::size_t before,
                std::size_t after) CFSGATE_REQUIRES(mutex_);

    const LockLimits limits_;
    mutable Mutex mutex_;
    std::map<FileId, File> files_ CFSGATE_GUARDED_BY(mutex_);
    std::map<WaitId, FileId> waits_ CFSGATE_GUARDED_BY(mutex_);
    /// Who waits where: the edges of the graph in which a circle is a deadlock.
    std::multimap<LockOwner, WaitId> waits_of_ CFSGATE_GUARDED_BY(mutex_);
    std::map<std::string, Account> accounts_ CFSGATE_GUARDED_BY(mutex_);
    std::size_t locks_ CFSGATE_GUARDED_BY(mutex_) = 0;
    std::uint64_t last_wait_ CFSGATE_GUARDED_BY(mutex_) = 0;
    std::atomic<bool> used_{false};  ///< since most closes have nothing to release
};

}  // namespace cfsgate::gateway
