// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/out_queue.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>

#include "gateway/nfs/xdr_writer.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::uint32_t kLastFragment = 0x80000000;
/// Small replies share a part; large ones stay where they are.
constexpr std::size_t kCopiedBytesMax = 8192;
constexpr std::size_t kPartBytes = 64U << 10;
constexpr std::size_t kPartsAtOnce = 64;

}  // namespace

void OutQueue::append(std::string part) {
    bytes_ += part.size();
    if (!parts_.empty() && part.size() <= kCopiedBytesMax &&
        parts_.back().size() + part.size() <= kPartBytes) {
        parts_.back().append(part);
    } else {
        parts_.push_back(std::move(part));
    }
}

void OutQueue::push(Reply reply) {
    const std::size_t padding = xdr_padding(reply.data.size());
    const std::size_t size = reply.head.size() + reply.data.size() + padding;
    std::string marker;
    XdrWriter(marker).put(kLastFragment | static_cast<std::uint32_t>(size));
    append(std::move(marker));
    append(std::move(reply.head));
    if (reply.data.empty()) return;
    append(std::move(reply.data));
    append(std::string(padding, '\0'));
}

Result<bool> OutQueue::send(int socket) {
    bool any = false;
    while (bytes_ > 0) {
        std::array<iovec, kPartsAtOnce> vectors{};
        std::size_t count = 0;
        std::size_t skip = sent_;
        for (std::string& part : parts_) {
            if (count == vectors.size()) break;
            vectors[count++] = {part.data() + skip, part.size() - skip};
            skip = 0;
        }
        msghdr message{};
        message.msg_iov = vectors.data();
        message.msg_iovlen = count;
        const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return any;
        if (sent < 0) return fail_posix(errno, "send");
        any = true;
        bytes_ -= static_cast<std::size_t>(sent);
        sent_ += static_cast<std::size_t>(sent);
        while (!parts_.empty() && sent_ >= parts_.front().size()) {
            sent_ -= parts_.front().size();
            parts_.pop_front();
        }
    }
    return any;
}

}  // namespace cfsgate::gateway::nfs
