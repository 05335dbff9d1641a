// SPDX-License-Identifier: Apache-2.0
// What the network lock protocol (NLM 4) and the status monitor (NSM 1) know: which hosts hold
// locks, whom a lock must still be handed to, and whether it is the time to claim locks again.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/file_system.h"
#include "gateway/lock_table.h"
#include "gateway/nfs/chores.h"
#include "gateway/nfs/lock_clients.h"
#include "gateway/nfs/lock_manager_options.h"
#include "gateway/nfs/rpc_client.h"
#include "gateway/nfs/xdr_types.h"
#include "store/base/log.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway::nfs {

/// A lock as a client writes it.
struct LockWords {
    LockClient client;
    FileId file;
    std::string handle;
    std::string owner;  ///< `oh`
    std::int32_t svid = 0;
    bool exclusive = false;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  ///< 0: to the end

    /// Beyond what an off_t can say: to the end.
    LockRange range() const;
    LockOwner lock_owner() const;
};

enum class Monitored : std::uint8_t {
    No,  ///< NM_LOCK: the client does not say when it restarts, and is not told when we do
    Yes,
};

struct LockMode {
    bool block = false;
    bool reclaim = false;
    Monitored monitored = Monitored::Yes;
    std::int32_t client_state = 0;
};

/// A request that comes twice is answered as if it came once: what is asked for is there already.
///
/// After a start, for the grace period, only those may lock who held locks before; nobody did: no
/// grace period. Programs of this host are not held up: their locks ended with the daemon, and they
/// may take one that a host was about to claim again.
///
/// Threads: any. No call waits for another host; remember() waits for the disk.
class LockManager : public std::enable_shared_from_this<LockManager> {
public:
    /// Borrows the façade, whose lock table it uses.
    static std::shared_ptr<LockManager> make(FileSystem& files, LockManagerOptions options,
                                             Logger log);

    /// Registers the programs, which listen there, and tells clients of before that we are back.
    void start(const std::vector<SocketAddress>& addresses);
    void stop();

    /// Whether the client is in the list: it must be before it holds a lock.
    bool knows(const LockClient& client) const CFSGATE_EXCLUDES(mutex_);
    /// Errors: NoSpace where there are too many; what the system says.
    Status remember(const LockClient& client) CFSGATE_EXCLUDES(mutex_);

    std::optional<LockHolder> test(const LockWords& words) const;
    nlm4_stats lock(const LockWords& words, const LockMode& mode) CFSGATE_EXCLUDES(mutex_);
    nlm4_stats cancel(const LockWords& words) CFSGATE_EXCLUDES(mutex_);
    nlm4_stats unlock(const LockWords& words) CFSGATE_EXCLUDES(mutex_);
    /// The answer to GRANTED_MSG.
    void granted_result(std::string_view cookie, std::uint32_t stat) CFSGATE_EXCLUDES(mutex_);
    /// All that a client holds and waits for.
    void free_all(const LockClient& client) CFSGATE_EXCLUDES(mutex_);
    /// The client has restarted: what it held is nobody's.
    void restarted(const LockClient& client, std::int32_t client_state) CFSGATE_EXCLUDES(mutex_);
    /// Calls a procedure of the client's lock manager, later; nobody looks at what it says.
    void send(const LockClient& client, std::uint32_t procedure, std::string arguments);

    bool in_grace() const CFSGATE_EXCLUDES(mutex_);
    std::int32_t state() const CFSGATE_EXCLUDES(mutex_);

private:
    /// A lock that a client waits for, or that it has got and does not know of yet.
    struct Blocked {
        LockWords words;
        LockTable::WaitId wait;  ///< 0: not known yet
        bool granted = false;
        bool called_off = false;  ///< while `wait` was not known
        int attempts = 0;
        std::chrono::steady_clock::time_point granted_at;
    };
    using BlockedMap = std::map<std::uint64_t, Blocked>;
    struct Known {
        LockClient client;
        std::int32_t state = 0;  ///< of the client, with its last lock
        std::chrono::steady_clock::time_point used{};
    };

    LockManager(FileSystem& files, LockManagerOptions options, Logger log);

    nlm4_stats wait(const LockWords& words) CFSGATE_EXCLUDES(mutex_);
    BlockedMap::iterator find_blocked(const LockWords& words) CFSGATE_REQUIRES(mutex_);
    void on_granted(std::uint64_t id) CFSGATE_EXCLUDES(mutex_);
    void hand_over(std::uint64_t id) CFSGATE_EXCLUDES(mutex_);
    void hand_over_result(std::uint64_t id, std::uint32_t stat) CFSGATE_EXCLUDES(mutex_);
    void release(const LockClient& client) CFSGATE_EXCLUDES(mutex_);

    void load() CFSGATE_EXCLUDES(mutex_);
    Status save() CFSGATE_EXCLUDES(mutex_);
    void forget_idle(std::chrono::seconds idle_for) CFSGATE_EXCLUDES(mutex_);
    void look_after_list(std::chrono::milliseconds in);
    void notify(const LockClient& client, int attempt);
    void register_all(const std::vector<SocketAddress>& addresses);
    void unregister_all();
    Result<std::string> call(const LockClient& client, const RpcProcedure& procedure,
                             std::string_view arguments);
    /// Posts a chore that is dropped once nobody holds the manager.
    void later(std::chrono::milliseconds in, std::function<void(LockManager&)> chore);

    LockTable& table_;
    const LockManagerOptions options_;
    Logger log_;
    mutable Mutex mutex_;
    Mutex file_mutex_;  ///< one writer of the file at a time; taken before mutex_
    std::map<std::string, Known> clients_ CFSGATE_GUARDED_BY(mutex_);  ///< by key
    BlockedMap blocked_ CFSGATE_GUARDED_BY(mutex_);
    std::uint64_t last_id_ CFSGATE_GUARDED_BY(mutex_);
    std::int32_t state_ CFSGATE_GUARDED_BY(mutex_) = 1;
    std::chrono::steady_clock::time_point grace_end_ CFSGATE_GUARDED_BY(mutex_);
    bool registered_ = false;  ///< on the chores' thread, and after it
    Chores chores_;
};

}  // namespace cfsgate::gateway::nfs
