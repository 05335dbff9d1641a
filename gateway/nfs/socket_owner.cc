// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/socket_owner.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

namespace cfsgate::gateway::nfs {
namespace {

// The kernel answers within the call that asks; waiting is for what should not happen.
constexpr timeval kWaitMax{.tv_sec = 1, .tv_usec = 0};
constexpr int kAnswersMax = 8;  // ours, and those that came too late before
constexpr std::size_t kAnswerBytesMax = 8192;

struct Question {
    nlmsghdr header;
    inet_diag_req_v2 request;
};

/// The kernel has all addresses in four words.
void set_address(__be32 (&words)[4], const IpAddress& address) {
    const auto bytes = address.bytes();
    std::memcpy(words, bytes.data(), bytes.size());
}

IpAddress to_address(std::uint8_t family, const __be32 (&words)[4]) {
    if (family == AF_INET) {
        std::array<std::uint8_t, 4> bytes{};
        std::memcpy(bytes.data(), words, bytes.size());
        return IpAddress::v4(bytes);
    }
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), words, bytes.size());
    return IpAddress::v6(bytes);
}

template <class T>
std::optional<T> take_front(std::string_view bytes) {
    if (bytes.size() < sizeof(T)) return {};
    T value{};
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
}

/// One datagram from the kernel; empty for one from elsewhere.
Result<std::string_view> receive(int socket, std::array<char, kAnswerBytesMax>& buffer) {
    sockaddr_nl from{};
    socklen_t from_size = sizeof(from);
    const ssize_t size = ::recvfrom(socket, buffer.data(), buffer.size(), 0,
                                    reinterpret_cast<sockaddr*>(&from), &from_size);
    if (size < 0 && errno == EINTR) return std::string_view();
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return fail(Errno::TimedOut, "no answer from the kernel's socket diagnosis");
    }
    if (size < 0) return fail_posix(errno, "socket diagnosis");
    if (from.nl_pid != 0) return std::string_view();
    return std::string_view(buffer.data(), static_cast<std::size_t>(size));
}

Result<uid_t> read_refusal(std::string_view body) {
    const auto refusal = take_front<nlmsgerr>(body);
    if (!refusal || refusal->error >= 0) {
        return fail(Errno::InputOutput, "socket diagnosis: an error that is none");
    }
    if (refusal->error == -ENOENT) return fail(Errno::NoAccess, "the peer's socket is gone");
    return fail_posix(-refusal->error, "socket diagnosis");
}

Result<uid_t> read_socket(std::string_view body, const SocketAddress& peer,
                          const SocketAddress& local) {
    const auto socket = take_front<inet_diag_msg>(body);
    if (!socket) return fail(Errno::InputOutput, "socket diagnosis: an answer cut short");
    const std::uint8_t family = socket->idiag_family;
    if (family != AF_INET && family != AF_INET6) {
        return fail(Errno::InputOutput, "socket diagnosis: an unknown family");
    }
    if (socket->idiag_state != TCP_ESTABLISHED) {
        return fail(Errno::NoAccess, "the peer's socket is not connected");
    }
    const SocketAddress source{to_address(family, socket->id.idiag_src),
                               ntohs(socket->id.idiag_sport)};
    const SocketAddress target{to_address(family, socket->id.idiag_dst),
                               ntohs(socket->id.idiag_dport)};
    if (source != peer || target != local) {
        return fail(Errno::NoAccess, "the kernel knows another socket only");
    }
    // One that its process has closed already; its owner reads as root.
    if (socket->idiag_inode == 0) return fail(Errno::NoAccess, "the peer's socket is closed");
    return uid_t{socket->idiag_uid};
}

}  // namespace

Result<SocketOwners> SocketOwners::open() {
    UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!socket.valid()) return fail_posix(errno, "socket diagnosis");
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kWaitMax, sizeof(kWaitMax)) != 0) {
        return fail_posix(errno, "socket diagnosis");
    }
    return SocketOwners(std::move(socket));
}

Result<uid_t> SocketOwners::owner_of(const SocketAddress& peer, const SocketAddress& local) {
    CFSGATE_TRY(ask(peer, local));
    return answer(peer, local);
}

Status SocketOwners::ask(const SocketAddress& peer, const SocketAddress& local) {
    if (peer.ip.is_v4() != local.ip.is_v4()) {
        return fail(Errno::Invalid, "the two ends are of different families");
    }
    Question question{};
    question.header.nlmsg_len = sizeof(question);
    question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    question.header.nlmsg_flags = NLM_F_REQUEST;  // one socket by its addresses, no list
    question.header.nlmsg_seq = ++sequence_;
    // Finds an IPv6 socket that is connected to a mapped IPv4 address, too.
    question.request.sdiag_family = peer.ip.is_v4() ? AF_INET : AF_INET6;
    question.request.sdiag_protocol = IPPROTO_TCP;
    question.request.idiag_states = ~0U;
    inet_diag_sockid& id = question.request.id;
    id.idiag_sport = htons(peer.port);
    id.idiag_dport = htons(local.port);
    set_address(id.idiag_src, peer.ip);
    set_address(id.idiag_dst, local.ip);
    id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;

    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    const ssize_t sent = ::sendto(socket_.get(), &question, sizeof(question), 0,
                                  reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel));
    if (sent < 0) return fail_posix(errno, "socket diagnosis");
    return {};
}

Result<uid_t> SocketOwners::answer(const SocketAddress& peer, const SocketAddress& local) {
    alignas(nlmsghdr) std::array<char, kAnswerBytesMax> buffer;
    for (int i = 0; i < kAnswersMax; ++i) {
        const std::string_view bytes = CFSGATE_TRY(receive(socket_.get(), buffer));
        const auto header = take_front<nlmsghdr>(bytes);
        if (!header || header->nlmsg_seq != sequence_) continue;
        if (header->nlmsg_len < sizeof(nlmsghdr) || header->nlmsg_len > bytes.size()) {
            return fail(Errno::InputOutput, "socket diagnosis: an answer cut short");
        }
        const auto body = bytes.substr(0, header->nlmsg_len).substr(NLMSG_HDRLEN);
        if (header->nlmsg_type == NLMSG_ERROR) return read_refusal(body);
        if (header->nlmsg_type == SOCK_DIAG_BY_FAMILY) return read_socket(body, peer, local);
        return fail(Errno::InputOutput, "socket diagnosis: an unknown answer");
    }
    return fail(Errno::TimedOut, "no answer to this question from the kernel's socket diagnosis");
}

}  // namespace cfsgate::gateway::nfs
