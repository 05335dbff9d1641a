// SPDX-License-Identifier: Apache-2.0
// The NFSv3 and MOUNT server: one event loop for all connections.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gateway/file_system.h"
#include "gateway/nfs/caller.h"
#include "gateway/nfs/export_rules.h"
#include "gateway/nfs/lock_manager_options.h"
#include "gateway/nfs/record_reader.h"
#include "gateway/nfs/socket_address.h"
#include "store/base/log.h"
#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

/// What clients may take. Times are rounded up to whole seconds.
struct ServerLimits {
    std::size_t connections = 4096;
    std::size_t connections_kept_for_root = 64;
    RecordLimits record;
    std::size_t calls_in_work = 128;        ///< changes, of one connection
    std::size_t work_bytes = 8UL << 20;     ///< arguments of those
    std::size_t reply_bytes = 4UL << 20;    ///< not yet sent to one connection
    std::size_t all_calls_in_work = 16384;  ///< of all connections, also of those that are gone
    std::size_t all_work_bytes = 128UL << 20;
    std::size_t all_bytes = 256UL << 20;      ///< all of the above, of all connections
    std::chrono::seconds record_time{30};     ///< from a record's first byte to its last
    std::chrono::seconds reply_time{60};      ///< without a byte that the client takes
    std::chrono::seconds idle_time{20 * 60};  ///< without a request
};

struct ServerOptions {
    std::vector<SocketAddress> listen;
    ExportRules rules;
    std::vector<std::string> networks;  ///< of the rules, as written
    CallerPolicy policy;
    std::chrono::milliseconds deadline{30000};  ///< then "try again later", where that does no harm
    ServerLimits limits;
    LockManagerOptions locks;
};

struct ServerCounters {
    std::atomic<std::uint64_t> connections{0};  ///< open now
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> refused{0};  ///< connections that nobody proved or admitted
    std::atomic<std::uint64_t> dropped{0};  ///< closed by us: limits, time, malformed
    std::atomic<std::uint64_t> requests{0};
    std::atomic<std::uint64_t> malformed{0};  ///< records that are no call
    std::atomic<std::uint64_t> bad_arguments{0};
    std::atomic<std::uint64_t> beyond_proof{0};      ///< claims of more than is proven
    std::atomic<std::uint64_t> repeats_replayed{0};  ///< got the first answer once more
    std::atomic<std::uint64_t> repeats_dropped{0};   ///< the first one was still in work
    std::atomic<std::uint64_t> late{0};              ///< answered "try again later"
};

/// Who is connected, and how it goes.
struct ClientStatus {
    SocketAddress address;
    enum class Kind : std::uint8_t { Everybody, User, Remote } kind = Kind::User;
    uid_t owner = 0;  ///< not for Remote
    std::int64_t connected_seconds = 0;
    std::uint64_t requests = 0;
    std::uint64_t errors = 0;
    std::string last_error;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
};

/// Serves from start() on. Threads: any.
class Server {
public:
    /// Borrows the façade. Errors: Busy where a port is taken; what the system says.
    static Result<std::unique_ptr<Server>> start(FileSystem& files, ServerOptions options,
                                                 Logger log);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// Closes every connection; changes in work go on, and their replies are kept for the repeat.
    void stop();

    /// Where it listens; with the port that port 0 became.
    std::vector<SocketAddress> addresses() const;
    const ServerCounters& counters() const;
    /// Waits for the loop. Errors: TimedOut.
    Result<std::vector<ClientStatus>> clients() const;

private:
    class Loop;
    explicit Server(std::unique_ptr<Loop> loop);

    std::unique_ptr<Loop> loop_;
};

}  // namespace cfsgate::gateway::nfs
