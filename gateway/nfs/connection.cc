// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/connection.h"

#include "store/base/bytes.h"

namespace cfsgate::gateway::nfs {

Connection::Connection(std::uint64_t number, UniqueFd socket, SocketAddress from, Peer who,
                       RecordLimits limits, SteadyTime now)
    : id(number),
      fd(std::move(socket)),
      address(from),
      ip(from.ip.to_string()),
      peer(std::move(who)),
      reader(limits),
      since(now),
      last_request(now),
      record_since(now),
      progress(now) {}

std::size_t Connection::memory() const {
    return reader.held_bytes() + unread.capacity() + out.bytes() + work_bytes;
}

std::string Connection::client_key() const {
    ByteWriter key;
    const auto bytes = address.ip.bytes();
    key.put_sized({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (const auto* local = std::get_if<LocalPeer>(&peer)) {
        // All of this host share one address. The kernel's client comes back from the same
        // reserved port; other ports are anybody's.
        key.put(std::uint8_t{1});
        key.put(std::uint32_t{local->owner});
        key.put(static_cast<std::uint16_t>(address.reserved_port() ? address.port : 0));
    } else {
        key.put(std::uint8_t{2});
    }
    return key.take();
}

std::string Connection::describe() const {
    std::string text = address.to_string();
    if (const auto* local = std::get_if<LocalPeer>(&peer)) {
        text = "uid " + std::to_string(local->owner) + " at " + text;
    }
    return text;
}

ClientStatus Connection::status(SteadyTime now) const {
    ClientStatus status;
    status.address = address;
    if (const auto* local = std::get_if<LocalPeer>(&peer)) {
        status.owner = local->owner;
        status.kind = local->owner == 0 && local->reserved_port ? ClientStatus::Kind::Everybody
                                                                : ClientStatus::Kind::User;
    } else {
        status.kind = ClientStatus::Kind::Remote;
    }
    status.connected_seconds =
        std::chrono::duration_cast<std::chrono::seconds>(now - since).count();
    status.requests = requests;
    status.errors = errors;
    status.last_error = last_error;
    status.bytes_in = bytes_in;
    status.bytes_out = bytes_out;
    return status;
}

LockClient Connection::lock_client(std::string name) const {
    LockClient client{std::move(name), address.ip, {}, "-"};
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0) {
        if (const auto local = SocketAddress::from(own)) client.server = local->ip;
    }
    // What any user may have connected speaks for nobody's lock manager but its own.
    if (const auto* local = std::get_if<LocalPeer>(&peer)) {
        if (local->owner != 0 || !local->reserved_port) {
            client.mark = "uid" + std::to_string(local->owner);
        }
    } else if (!address.reserved_port()) {
        client.mark = "high";
    }
    return client;
}

}  // namespace cfsgate::gateway::nfs
