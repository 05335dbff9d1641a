// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/rpc_client.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <rpc/rpc.h>

#include "gateway/nfs/xdr.h"
#include "gateway/nfs/xdr_writer.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::uint32_t kLastFragment = 1U << 31;
/// Replies to what is asked here are a few words.
constexpr std::size_t kReplyBytesMax = 64U << 10;
/// RFC 1833. Version 2 asks by protocol number; version 4 registers by name, also for IPv6.
constexpr std::uint16_t kPortMapperPort = 111;
constexpr RpcProcedure kGetPort{100000, 2, 3};
constexpr RpcProcedure kSet{100000, 4, 1};
constexpr RpcProcedure kUnset{100000, 4, 2};
constexpr const char* kPortMapperSocket = "/run/rpcbind.sock";

Status wait_for(int fd, short events, RpcStream::Deadline deadline) {
    while (true) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) return fail(Errno::TimedOut, "no answer in time");
        pollfd wait{fd, events, 0};
        const int ready =
            ::poll(&wait, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 60'000)));
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return fail_posix(errno, "poll");
    }
}

Status connect_by(int fd, const sockaddr* to, socklen_t size, RpcStream::Deadline deadline) {
    if (::connect(fd, to, size) == 0) return {};
    if (errno != EINPROGRESS) return fail_posix(errno, "connect");
    CFSGATE_TRY(wait_for(fd, POLLOUT, deadline));
    int error = 0;
    socklen_t length = sizeof(error);
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
    if (error != 0) return fail_posix(error, "connect");
    return {};
}

Status call_from(int fd, const IpAddress& address) {
    socklen_t size = 0;
    sockaddr_storage raw = SocketAddress{address, 0}.to_sockaddr(size);
    if (::bindresvport_sa(fd, reinterpret_cast<sockaddr*>(&raw)) == 0) return {};
    raw = SocketAddress{address, 0}.to_sockaddr(size);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&raw), size) == 0) return {};
    return fail_posix(errno, "bind");
}

std::uint32_t first_word(std::string_view bytes) {
    std::uint32_t word = 0;
    for (const char byte : bytes.substr(0, 4)) word = word << 8 | static_cast<unsigned char>(byte);
    return word;
}

/// RFC 5665, 5.2.3: the port's bytes behind the address, in decimal.
std::string universal_address(const std::string& protocol, std::uint16_t port) {
    const std::string any = protocol.ends_with('6') ? "::" : "0.0.0.0";
    return any + "." + std::to_string(port >> 8) + "." + std::to_string(port & 255);
}

Result<bool> ask_portmapper(const RpcProcedure& what, const std::string& protocol,
                            std::uint32_t program, std::uint32_t version,
                            const std::string& address, RpcStream::Deadline deadline) {
    std::string arguments;
    XdrWriter out(arguments);
    out.put(program);
    out.put(version);
    out.put_opaque(protocol);
    out.put_opaque(address);
    out.put_opaque("superuser");  // it goes by the socket's owner
    auto stream = CFSGATE_TRY(RpcStream::connect_local(kPortMapperSocket, deadline));
    const std::string results = CFSGATE_TRY(stream.call(what, arguments, deadline));
    return first_word(results) != 0;
}

}  // namespace

Result<RpcStream> RpcStream::connect(const SocketAddress& to, const std::optional<IpAddress>& from,
                                     Deadline deadline) {
    socklen_t size = 0;
    const sockaddr_storage raw = to.to_sockaddr(size);
    UniqueFd fd(::socket(raw.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return fail_posix(errno, "socket");
    if (from) CFSGATE_TRY(call_from(fd.get(), *from));
    CFSGATE_TRY(connect_by(fd.get(), reinterpret_cast<const sockaddr*>(&raw), size, deadline));
    return RpcStream(std::move(fd));
}

Result<RpcStream> RpcStream::connect_local(const std::string& path, Deadline deadline) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    if (path.size() >= sizeof(to.sun_path)) return fail(Errno::NameTooLong, path);
    std::memcpy(to.sun_path, path.c_str(), path.size() + 1);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return fail_posix(errno, "socket");
    CFSGATE_TRY(connect_by(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to), deadline));
    return RpcStream(std::move(fd));
}

Status RpcStream::send_all(std::string_view bytes, Deadline deadline) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        } else if (errno == EAGAIN) {
            CFSGATE_TRY(wait_for(fd_.get(), POLLOUT, deadline));
        } else if (errno != EINTR) {
            return fail_posix(errno, "send");
        }
    }
    return {};
}

Result<std::string> RpcStream::receive(std::size_t size, Deadline deadline) {
    std::string bytes(size, '\0');
    std::size_t have = 0;
    while (have < size) {
        CFSGATE_TRY(wait_for(fd_.get(), POLLIN, deadline));
        const ssize_t got = ::recv(fd_.get(), bytes.data() + have, size - have, 0);
        if (got == 0) return fail(Errno::InputOutput, "the connection was closed");
        if (got > 0) have += static_cast<std::size_t>(got);
        if (got < 0 && errno != EAGAIN && errno != EINTR) return fail_posix(errno, "recv");
    }
    return bytes;
}

Result<std::string> RpcStream::receive_record(Deadline deadline) {
    std::string record;
    while (true) {
        const std::uint32_t mark = first_word(CFSGATE_TRY(receive(4, deadline)));
        const std::size_t size = mark & ~kLastFragment;
        if (size > kReplyBytesMax - record.size()) return fail(Errno::BadMessage, "a long reply");
        record += CFSGATE_TRY(receive(size, deadline));
        if ((mark & kLastFragment) != 0) return record;
    }
}

Result<std::string> RpcStream::call(const RpcProcedure& procedure, std::string_view arguments,
                                    Deadline deadline) {
    const std::uint32_t xid = xid_++;
    std::string message;
    XdrWriter out(message);
    out.put(std::uint32_t{0});  // the mark, when the size is known
    for (const std::uint32_t word :
         {xid, std::uint32_t{RPC2_CALL}, std::uint32_t{RPC2_VERSION}, procedure.program,
          procedure.version, procedure.procedure, 0U, 0U, 0U, 0U}) {  // AUTH_NONE, twice
        out.put(word);
    }
    message.append(arguments);
    std::string mark;
    XdrWriter(mark).put(static_cast<std::uint32_t>(message.size() - 4) | kLastFragment);
    message.replace(0, 4, mark);
    CFSGATE_TRY(send_all(message, deadline));
    const std::string record = CFSGATE_TRY(receive_record(deadline));
    std::string_view rest = record;
    const auto reply = CFSGATE_TRY(Decoded<rpc2_reply>::front(rest));
    if (reply->xid != xid) return fail(Errno::BadMessage, "a reply to something else");
    if (reply->body.stat != RPC2_MSG_ACCEPTED ||
        reply->body.rpc2_reply_body_u.accepted.data.stat != RPC2_SUCCESS) {
        return fail(Errno::NotSupported, "the call was refused");
    }
    return std::string(rest);
}

Result<std::uint16_t> find_port(const IpAddress& host, const std::optional<IpAddress>& from,
                                std::uint32_t program, std::uint32_t version,
                                RpcStream::Deadline deadline) {
    std::string arguments;
    XdrWriter out(arguments);
    for (const std::uint32_t word : {program, version, std::uint32_t{IPPROTO_TCP}, 0U})
        out.put(word);
    auto stream = CFSGATE_TRY(RpcStream::connect({host, kPortMapperPort}, from, deadline));
    const std::uint32_t port = first_word(CFSGATE_TRY(stream.call(kGetPort, arguments, deadline)));
    if (port == 0 || port > 65535) return fail(Errno::NotFound, "the program is not registered");
    return static_cast<std::uint16_t>(port);
}

Status register_program(const std::string& protocol, std::uint32_t program, std::uint32_t version,
                        std::uint16_t port, RpcStream::Deadline deadline) {
    const bool done = CFSGATE_TRY(ask_portmapper(kSet, protocol, program, version,
                                                 universal_address(protocol, port), deadline));
    if (!done) return fail(Errno::Exists, "another server is registered");
    return {};
}

Status unregister_program(const std::string& protocol, std::uint32_t program, std::uint32_t version,
                          RpcStream::Deadline deadline) {
    CFSGATE_TRY(ask_portmapper(kUnset, protocol, program, version, "", deadline));
    return {};
}

}  // namespace cfsgate::gateway::nfs
