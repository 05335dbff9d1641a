// SPDX-License-Identifier: Apache-2.0
// Addresses as values. An IPv4 address that comes mapped into IPv6 (::ffff:a.b.c.d) is the IPv4
// address, so that one host has one address whatever socket it meets.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

class IpAddress {
public:
    /// 0.0.0.0
    constexpr IpAddress() = default;
    static IpAddress v4(const std::array<std::uint8_t, 4>& bytes);
    /// Of a mapped address the IPv4 address.
    static IpAddress v6(const std::array<std::uint8_t, 16>& bytes);
    /// As inet_pton() reads it; no names, no scope. Errors: Invalid.
    static Result<IpAddress> parse(std::string_view text);

    bool is_v4() const { return v4_; }
    /// In network order, 4 or 16.
    std::span<const std::uint8_t> bytes() const { return {bytes_.data(), v4_ ? 4U : 16U}; }
    /// 127.0.0.0/8 or ::1
    bool is_loopback() const;
    std::string to_string() const;

    friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

private:
    bool v4_ = true;
    std::array<std::uint8_t, 16> bytes_{};  // the last twelve are 0 for IPv4
};

struct SocketAddress {
    IpAddress ip;
    std::uint16_t port = 0;

    /// Errors: Invalid for another family.
    static Result<SocketAddress> from(const sockaddr_storage& address);
    /// "192.0.2.1:2049" or "[2001:db8::1]:2049". Errors: Invalid.
    static Result<SocketAddress> parse(std::string_view text);

    /// For bind() and connect(); `size` is set to the part in use.
    sockaddr_storage to_sockaddr(socklen_t& size) const;
    std::string to_string() const;
    bool is_loopback() const { return ip.is_loopback(); }
    /// One that only a privileged process binds to.
    bool reserved_port() const { return port > 0 && port < 1024; }

    friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
};

/// All addresses that begin with the same bits. IPv4 and IPv6 are apart: ::/0 holds no IPv4
/// address.
class Network {
public:
    /// "192.0.2.0/24", or one address. Errors: Invalid, also for bits behind the prefix.
    static Result<Network> parse(std::string_view text);

    bool contains(const IpAddress& address) const;
    unsigned prefix_bits() const { return prefix_bits_; }
    const IpAddress& address() const { return address_; }
    std::string to_string() const;

    friend bool operator==(const Network&, const Network&) = default;

private:
    Network(const IpAddress& address, unsigned prefix_bits)
        : address_(address), prefix_bits_(prefix_bits) {}

    IpAddress address_;
    unsigned prefix_bits_;
};

}  // namespace cfsgate::gateway::nfs
