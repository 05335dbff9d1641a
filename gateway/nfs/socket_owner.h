// SPDX-License-Identifier: Apache-2.0
// Who made the socket at the other end of a connection inside this host. The kernel knows; what
// the peer says of itself proves nothing.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "gateway/nfs/socket_address.h"
#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace cfsgate::gateway::nfs {

/// Asks the kernel's socket diagnosis for one socket at a time. Threads: one at a time.
class SocketOwners {
public:
    /// Errors: what the system says, where it has no socket diagnosis.
    static Result<SocketOwners> open();

    /// The user that owns the peer's socket, as this process's user namespace numbers it. `peer` is
    /// what accept() said, `local` our end. It holds for the connection: its two addresses belong
    /// to that very socket until both ends are closed.
    /// Errors: NoAccess unless that socket is connected and some process has it open: once closed
    /// it reads as root's. TimedOut; InputOutput for an answer that makes no sense.
    Result<uid_t> owner_of(const SocketAddress& peer, const SocketAddress& local);

private:
    explicit SocketOwners(UniqueFd socket) : socket_(std::move(socket)) {}

    Status ask(const SocketAddress& peer, const SocketAddress& local);
    Result<uid_t> answer(const SocketAddress& peer, const SocketAddress& local);

    UniqueFd socket_;
    std::uint32_t sequence_ = 0;  // of the last question; later answers to older ones are dropped
};

}  // namespace cfsgate::gateway::nfs
