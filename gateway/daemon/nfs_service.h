// SPDX-License-Identifier: Apache-2.0
// The NFS export as a part of the daemon: its options, its start, and what `status` says of it.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gateway/file_system.h"
#include "gateway/nfs/server.h"
#include "store/base/log.h"

namespace cfsgate::gateway::daemon {

struct NfsOptions {
    bool on = true;
    std::uint16_t port = 2049;  ///< 0: any that is free
    std::vector<std::string> listen{"127.0.0.1", "::1"};
    std::vector<std::string> allow;  ///< export rules, as written
    nfs::BeyondProof beyond_proof = nfs::BeyondProof::Refuse;
    bool root_from_high_ports = false;
    std::chrono::seconds grace{45};  ///< for the locks of other hosts, after a restart
    bool rpcbind = false;
    std::string state_directory;
};

/// Errors: Invalid, with a text that names the key.
Result<nfs::ServerOptions> to_server_options(const NfsOptions& options,
                                             std::chrono::milliseconds deadline);

/// The daemon works without it: where it cannot start, it says so and is off. Threads: any.
class NfsService {
public:
    /// Borrows the façade.
    NfsService(FileSystem& files, const NfsOptions& options, std::chrono::milliseconds deadline,
               const Logger& log);

    nlohmann::json status() const;
    /// Errors: TimedOut; NotSupported where it is off.
    Result<nlohmann::json> clients() const;
    /// "127.0.0.1:2049 and [::1]:2049"; empty where it is off.
    std::string addresses() const;

private:
    std::unique_ptr<nfs::Server> server_;
    std::string why_off_;
};

/// Before any other thread is there. A mount of this host writes its pages back to this daemon
/// when memory is short; then it must need none itself, and wait for none.
void prepare_for_memory_pressure(const Logger& log);

}  // namespace cfsgate::gateway::daemon
