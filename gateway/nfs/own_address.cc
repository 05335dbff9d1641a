// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/own_address.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "store/base/unique_fd.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr timeval kWaitMax{.tv_sec = 1, .tv_usec = 0};
constexpr std::size_t kAnswerBytesMax = 4096;

struct Question {
    nlmsghdr header;
    rtmsg route;
    rtattr destination;
    std::array<std::uint8_t, 16> address;
};

Question make_question(const IpAddress& address) {
    const std::size_t size = address.is_v4() ? 4 : 16;
    Question question{};
    question.header.nlmsg_len =
        static_cast<std::uint32_t>(NLMSG_LENGTH(sizeof(rtmsg)) + RTA_LENGTH(size));
    question.header.nlmsg_type = RTM_GETROUTE;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.route.rtm_family = address.is_v4() ? AF_INET : AF_INET6;
    question.route.rtm_dst_len = static_cast<unsigned char>(size * 8);
    question.destination.rta_len = static_cast<unsigned short>(RTA_LENGTH(size));
    question.destination.rta_type = RTA_DST;
    std::memcpy(question.address.data(), address.bytes().data(), size);
    return question;
}

Result<bool> read_answer(const char* bytes, std::size_t size) {
    nlmsghdr header{};
    if (size < sizeof(header)) return fail(Errno::InputOutput, "routing: an answer cut short");
    std::memcpy(&header, bytes, sizeof(header));
    const char* const body = bytes + NLMSG_HDRLEN;
    const std::size_t body_size = size - NLMSG_HDRLEN;
    if (header.nlmsg_type == NLMSG_ERROR && body_size >= sizeof(nlmsgerr)) {
        nlmsgerr refusal{};
        std::memcpy(&refusal, body, sizeof(refusal));
        return fail_posix(-refusal.error, "routing");
    }
    rtmsg route{};
    if (header.nlmsg_type != RTM_NEWROUTE || body_size < sizeof(route)) {
        return fail(Errno::InputOutput, "routing: an unknown answer");
    }
    std::memcpy(&route, body, sizeof(route));
    return route.rtm_type == RTN_LOCAL;
}

}  // namespace

Result<bool> is_own_address(const IpAddress& address) {
    const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket.valid()) return fail_posix(errno, "routing");
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kWaitMax, sizeof(kWaitMax)) != 0) {
        return fail_posix(errno, "routing");
    }
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    // To nobody else, so that only the kernel can answer on this socket.
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel)) != 0) {
        return fail_posix(errno, "routing");
    }
    const Question question = make_question(address);
    if (::send(socket.get(), &question, question.header.nlmsg_len, 0) < 0) {
        return fail_posix(errno, "routing");
    }
    alignas(nlmsghdr) std::array<char, kAnswerBytesMax> buffer{};
    const ssize_t size = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (size < 0) return fail_posix(errno, "routing");
    return read_answer(buffer.data(), static_cast<std::size_t>(size));
}

}  // namespace cfsgate::gateway::nfs
