// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/gateway/nfs/nfs_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <stdexcept>

namespace cfsgate::test {

using gateway::nfs::SocketAddress;

std::string encode_credential(const Credential& credential) {
    if (!credential.given) return words({0, 0});
    std::string body = words({0}) + opaque("test") + words({credential.uid, credential.gid}) +
                       words({static_cast<std::uint32_t>(credential.gids.size())});
    for (const std::uint32_t gid : credential.gids) body += words({gid});
    return words({1}) + opaque(body);
}

std::string encode_call(const Call& call) {
    return words({call.xid, 0, 2, call.program, call.version, call.procedure}) +
           encode_credential(call.as) + words({0, 0}) + call.arguments;
}

std::string as_record(const std::string& bytes) {
    return words({0x80000000U | static_cast<std::uint32_t>(bytes.size())}) + bytes;
}

NfsClient::NfsClient(const SocketAddress& server, std::uint16_t port) {
    for (port_ = port;; ++port_) {
        socket_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        // So that no old connection keeps the port: its end is a reset.
        const linger at_once{1, 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        const int yes = 1;
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        socklen_t size = 0;
        const sockaddr_storage own = SocketAddress{server.ip, port_}.to_sockaddr(size);
        const sockaddr_storage peer = server.to_sockaddr(size);
        if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&own), size) == 0 &&
            ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&peer), size) == 0) {
            return;
        }
        if (errno != EADDRINUSE && errno != EADDRNOTAVAIL)
            throw std::runtime_error("no connection");
    }
}

void NfsClient::send_bytes(const std::string& bytes) {
    std::string_view rest = bytes;
    while (!rest.empty()) {
        const ssize_t sent = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (sent <= 0) return;  // what is missing shows in the answer
        rest.remove_prefix(static_cast<std::size_t>(sent));
    }
}

std::optional<std::string> NfsClient::take(std::size_t count,
                                           std::chrono::steady_clock::time_point until) {
    using std::chrono::milliseconds;
    std::array<char, 65536> buffer{};
    while (received_.size() < count) {
        const auto left =
            std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
        pollfd wait{socket_.get(), POLLIN, 0};
        if (left.count() < 0 || ::poll(&wait, 1, static_cast<int>(left.count())) <= 0) return {};
        const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
        if (got <= 0) {
            ended_ = true;
            return {};
        }
        received_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    std::string front = received_.substr(0, count);
    received_.erase(0, count);
    return front;
}

std::optional<std::string> NfsClient::receive(std::chrono::milliseconds patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    const auto marker = take(4, until);
    if (!marker) return {};
    std::string_view at = *marker;
    const std::uint32_t word = take_word(at);
    if ((word & 0x80000000U) == 0) throw std::runtime_error("a reply in fragments");
    return take(word & 0x7fffffffU, until);
}

std::string NfsClient::ask(const Call& call) {
    send(call);
    auto reply = receive();
    if (!reply) throw std::runtime_error("no reply");
    return std::move(*reply);
}

bool NfsClient::is_closed() { return !receive() && ended_; }

std::string encode(const Wanted& wanted) {
    const auto number = [](std::optional<std::uint32_t> value) {
        return value ? words({1, *value}) : words({0});
    };
    std::string out = number(wanted.mode) + number(wanted.uid) + number(wanted.gid);
    out += wanted.size ? words({1}) + word64(*wanted.size) : words({0});
    out += words({0});  // the access time
    if (wanted.mtime) return out + words({2, *wanted.mtime, 0});
    return out + words({wanted.mtime_is_now ? 1U : 0U});
}

}  // namespace cfsgate::test
