// SPDX-License-Identifier: Apache-2.0
#include "clients/rpc_session.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

namespace cfsgate::clients {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kAuthGroupsMax = 16;        // RFC 5531, AUTH_SYS
constexpr milliseconds kTick{100};                // also: libnfs looks at its time-outs
constexpr milliseconds kAfterInterruption{2000};  // for the call in flight

/// The default of libnfs names no groups, and the real user.
AUTH* own_credentials() {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
    const int count = std::max(::getgroups(0, nullptr), 0);
    std::vector<gid_t> groups(static_cast<std::size_t>(count));
    const int found = ::getgroups(count, groups.data());
    groups.resize(std::min(static_cast<std::size_t>(std::max(found, 0)), kAuthGroupsMax));
    return libnfs_authunix_create(host.data(), ::geteuid(), ::getegid(),
                                  static_cast<std::uint32_t>(groups.size()), groups.data());
}

/// Numeric addresses. Not left to libnfs: it would take the first alone.
Result<std::vector<std::string>> resolve(const std::string& host) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
    if (error != 0) return fail(Errno::Invalid, host + ": " + ::gai_strerror(error));
    std::vector<std::string> addresses;
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
        std::array<char, NI_MAXHOST> text{};
        if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, text.data(), text.size(), nullptr, 0,
                          NI_NUMERICHOST) == 0) {
            addresses.emplace_back(text.data());
        }
    }
    ::freeaddrinfo(found);
    return addresses;
}

std::string system_text(int posix_errno) { return std::system_category().message(posix_errno); }

/// Reading it clears it, so it is read before libnfs can.
int socket_error(int fd) {
    int error = 0;
    socklen_t size = sizeof(error);
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

RpcSession::RpcSession(const RpcServer& server) : server_(server), context_(rpc_init_context()) {
    if (context_ != nullptr) rpc_set_auth(context_, own_credentials());
}

RpcSession::~RpcSession() {
    if (context_ != nullptr) rpc_destroy_context(context_);
}

Result<std::unique_ptr<RpcSession>> RpcSession::connect(const RpcServer& server,
                                                        std::uint32_t program,
                                                        std::uint32_t version) {
    const auto addresses = CFSGATE_TRY(resolve(server.host));
    Status last = fail(Errno::InputOutput, server.host + ": has no address");
    for (const std::string& address : addresses) {
        std::unique_ptr<RpcSession> session(new RpcSession(server));
        if (session->context_ == nullptr) return fail(Errno::InputOutput, "libnfs does not start");
        last = session->connect_to(address, program, version);
        if (last) return session;
    }
    return tl::unexpected(last.error());
}

Status RpcSession::connect_to(const std::string& address, std::uint32_t program,
                              std::uint32_t version) {
    int refused = 0;
    const auto start = [&](rpc_cb callback, void* private_data) {
        errno = 0;
        const int result = rpc_connect_port_async(
            context_, address.c_str(), server_.port, static_cast<int>(program),
            static_cast<int>(version), callback, private_data);
        if (result != 0) refused = errno;  // on loopback connect() itself often fails
        return result;
    };
    auto done = exchange(start, [](void*) {});
    if (!done && refused != 0) return broken(Errno::InputOutput, system_text(refused));
    return done;
}

std::string RpcSession::server_text() const {
    return server_.host + " port " + std::to_string(server_.port);
}

tl::unexpected<Error> RpcSession::broken(Errno code, const std::string& why) {
    usable_ = false;
    return fail(code, server_text() + ": " + why);
}

void RpcSession::on_reply(rpc_context* /*context*/, int status, void* data,
                          void* private_data) noexcept {
    auto& reply = *static_cast<Reply*>(private_data);
    reply.done = true;
    reply.status = status;
    if (status == RPC_STATUS_SUCCESS && reply.take != nullptr) (*reply.take)(data);
    if (status == RPC_STATUS_ERROR && data != nullptr) reply.text = static_cast<const char*>(data);
}

Status RpcSession::exchange(const Start& start, const Take& take) {
    if (interrupted()) return fail(Errno::Interrupted, "interrupted");
    if (!usable_) return fail(Errno::InputOutput, server_text() + ": the connection is lost");
    reply_ = Reply{.take = &take, .done = false, .status = 0, .text = {}};
    if (start(&RpcSession::on_reply, &reply_) != 0) {
        return broken(Errno::InputOutput, rpc_get_error(context_));
    }
    auto waited = wait();
    reply_.take = nullptr;
    if (!waited) return waited;
    return outcome();
}

Status RpcSession::outcome() const {
    if (reply_.status == RPC_STATUS_SUCCESS) return {};
    if (reply_.text.find("not accepted") != std::string::npos) {
        return fail(Errno::NoAccess, server_text() + ": the server does not accept calls of uid " +
                                         std::to_string(::geteuid()) + " from here");
    }
    return fail(Errno::InputOutput, server_text() + ": " + reply_.text);
}

Status RpcSession::wait() {
    const milliseconds limit = std::chrono::seconds(server_.timeout_seconds);
    auto end = Clock::now() + limit;
    bool told = false;
    while (!reply_.done) {
        pollfd place{rpc_get_fd(context_), static_cast<short>(rpc_which_events(context_)), 0};
        if (::poll(&place, 1, static_cast<int>(kTick.count())) < 0 && errno != EINTR) {
            return broken(Errno::InputOutput, system_text(errno));
        }
        CFSGATE_TRY(serve(place.revents));
        const auto now = Clock::now();
        if (place.revents != 0 && !told) end = now + limit;
        if (!told && interrupted()) {
            told = true;
            end = std::min(end, now + kAfterInterruption);
        }
        if (tick_) tick_();
        if (!reply_.done && now >= end) return broken(Errno::TimedOut, "no answer in time");
    }
    return {};
}

Status RpcSession::serve(int events) {
    const bool failed = (events & (POLLERR | POLLHUP)) != 0;
    const int error = failed ? socket_error(rpc_get_fd(context_)) : 0;
    if (rpc_service(context_, events) == 0 && !failed) return {};
    return broken(Errno::InputOutput,
                  error != 0 ? system_text(error) : "the server closed the connection");
}

Status RpcSession::pause(int milliseconds) {
    if (interrupted()) return fail(Errno::Interrupted, "interrupted");
    ::poll(nullptr, 0, milliseconds);
    if (tick_) tick_();
    return {};
}

}  // namespace cfsgate::clients
