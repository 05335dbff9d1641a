// SPDX-License-Identifier: Apache-2.0
// Calls that the server itself makes: to the lock managers of its clients and to portmappers. They
// block, each with a deadline, and so have no place on the event loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/nfs/socket_address.h"
#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace cfsgate::gateway::nfs {

struct RpcProcedure {
    std::uint32_t program = 0;
    std::uint32_t version = 0;
    std::uint32_t procedure = 0;
};

/// One connection. Threads: one at a time.
class RpcStream {
public:
    using Deadline = std::chrono::steady_clock::time_point;

    /// `from`: the address to call from, since lock managers look at it; from a reserved port where
    /// that can be had. Errors: what the system says; TimedOut.
    static Result<RpcStream> connect(const SocketAddress& to, const std::optional<IpAddress>& from,
                                     Deadline deadline);
    static Result<RpcStream> connect_local(const std::string& path, Deadline deadline);

    /// The results of a call without credentials. Errors: TimedOut; NotSupported where the other
    /// side does not have the procedure; BadMessage; what the system says.
    Result<std::string> call(const RpcProcedure& procedure, std::string_view arguments,
                             Deadline deadline);

private:
    explicit RpcStream(UniqueFd fd) : fd_(std::move(fd)) {}
    Status send_all(std::string_view bytes, Deadline deadline);
    Result<std::string> receive(std::size_t size, Deadline deadline);
    Result<std::string> receive_record(Deadline deadline);

    UniqueFd fd_;
    std::uint32_t xid_ = 1;
};

/// Asks the portmapper at `host` (port 111) where a program listens on TCP. Errors: those of a call;
/// NotFound where it is not registered.
Result<std::uint16_t> find_port(const IpAddress& host, const std::optional<IpAddress>& from,
                                std::uint32_t program, std::uint32_t version,
                                RpcStream::Deadline deadline);

/// Registers a program with rpcbind on this host, under all its addresses. Errors: Exists where
/// somebody else is registered; those of a call where nobody answers.
Status register_program(const std::string& protocol, std::uint32_t program, std::uint32_t version,
                        std::uint16_t port, RpcStream::Deadline deadline);
Status unregister_program(const std::string& protocol, std::uint32_t program, std::uint32_t version,
                          RpcStream::Deadline deadline);

}  // namespace cfsgate::gateway::nfs
