// SPDX-License-Identifier: Apache-2.0
// What the event loop knows of one connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/nfs/adapter.h"
#include "gateway/nfs/lock_clients.h"
#include "gateway/nfs/out_queue.h"
#include "gateway/nfs/record_reader.h"
#include "gateway/nfs/server.h"
#include "store/base/unique_fd.h"

namespace cfsgate::gateway::nfs {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Whom a credential is served as; kept since a client sends the same ones over and over.
struct KnownCredential {
    std::string credential;
    ServedAsPtr as;  ///< null: refused
    rpc2_auth_stat refusal = RPC2_AUTH_OK;
    std::string key_part;  ///< of a request's key
};

/// On the loop's thread only.
struct Connection {
    Connection(std::uint64_t number, UniqueFd socket, SocketAddress from, Peer who,
               RecordLimits limits, SteadyTime now);

    const std::uint64_t id;
    UniqueFd fd;
    const SocketAddress address;
    const std::string ip;  ///< of the address, as text
    Peer peer;
    bool waiting_for_groups = false;
    SteadyTime groups_from;  ///< when they were asked for
    std::vector<KnownCredential> credentials;

    RecordReader reader;
    std::string unread;         ///< received, and put off
    bool has_its_turn = false;  ///< it is in the loop's list of those with something unread
    OutQueue out;
    std::size_t calls_in_work = 0;
    std::size_t work_bytes = 0;
    std::size_t charged = 0;    ///< of the server's memory
    std::uint32_t events = 0;   ///< what epoll watches
    bool peer_is_done = false;  ///< it sends nothing more
    bool said_beyond = false;

    const SteadyTime since;
    SteadyTime last_request;
    SteadyTime record_since;  ///< while the reader is in a record
    SteadyTime progress;      ///< of sending

    std::uint64_t requests = 0;
    std::uint64_t errors = 0;
    std::string last_error;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;

    std::size_t memory() const;
    /// Names this client among others in a request's key, over reconnects.
    std::string client_key() const;
    /// "uid 1000 at 127.0.0.1:700", for logs.
    std::string describe() const;
    ClientStatus status(SteadyTime now) const;
    /// Who it is for the lock manager, by the name that it gives itself.
    LockClient lock_client(std::string name) const;
};

}  // namespace cfsgate::gateway::nfs
