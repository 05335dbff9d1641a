// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr unsigned kMappedBits = 96;

tl::unexpected<Error> invalid(std::string_view text, const char* what) {
    return fail(Errno::Invalid, "\"" + std::string(text) + "\" is no " + what);
}

/// A decimal number without sign or leading zero, of at most `max`.
std::optional<unsigned> parse_number(std::string_view text, unsigned max) {
    unsigned value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || value > max) return {};
    if (text.size() > 1 && text.front() == '0') return {};
    return value;
}

/// Whether the first `bits` of both are the same.
bool same_bits(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, unsigned bits) {
    const std::size_t whole = bits / 8;
    if (!std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(whole), b.begin())) {
        return false;
    }
    const unsigned rest = bits % 8;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

bool has_bits_behind(std::span<const std::uint8_t> bytes, unsigned prefix_bits) {
    for (unsigned bit = prefix_bits; bit < bytes.size() * 8; ++bit) {
        if ((bytes[bit / 8] >> (7 - bit % 8) & 1) != 0) return true;
    }
    return false;
}

}  // namespace

IpAddress IpAddress::v4(const std::array<std::uint8_t, 4>& bytes) {
    IpAddress address;
    std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
    return address;
}

IpAddress IpAddress::v6(const std::array<std::uint8_t, 16>& bytes) {
    if (std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) {
        return v4({bytes[12], bytes[13], bytes[14], bytes[15]});
    }
    IpAddress address;
    address.v4_ = false;
    address.bytes_ = bytes;
    return address;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
    const std::string copy(text);  // ends with a NUL, and one inside is not the end
    std::array<std::uint8_t, 4> four{};
    std::array<std::uint8_t, 16> sixteen{};
    if (copy.find('\0') != std::string::npos) return invalid(text, "IP address");
    if (inet_pton(AF_INET, copy.c_str(), four.data()) == 1) return v4(four);
    if (inet_pton(AF_INET6, copy.c_str(), sixteen.data()) == 1) return v6(sixteen);
    return invalid(text, "IP address");
}

bool IpAddress::is_loopback() const {
    if (v4_) return bytes_[0] == 127;
    return bytes_.back() == 1 &&
           std::all_of(bytes_.begin(), bytes_.end() - 1, [](auto byte) { return byte == 0; });
}

std::string IpAddress::to_string() const {
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(v4_ ? AF_INET : AF_INET6, bytes_.data(), text, sizeof(text));
    return text;
}

Result<SocketAddress> SocketAddress::from(const sockaddr_storage& address) {
    if (address.ss_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, &address, sizeof(in));
        std::array<std::uint8_t, 4> bytes{};
        std::memcpy(bytes.data(), &in.sin_addr, bytes.size());
        return SocketAddress{IpAddress::v4(bytes), ntohs(in.sin_port)};
    }
    if (address.ss_family == AF_INET6) {
        sockaddr_in6 in{};
        std::memcpy(&in, &address, sizeof(in));
        std::array<std::uint8_t, 16> bytes{};
        std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
        return SocketAddress{IpAddress::v6(bytes), ntohs(in.sin6_port)};
    }
    return fail(Errno::Invalid, "no address of an IP socket");
}

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return invalid(text, "address and port");
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    const IpAddress ip = CFSGATE_TRY(IpAddress::parse(host));
    // Without the brackets the last colon may be one of the address.
    if (bracketed != (host.find(':') != std::string_view::npos)) {
        return invalid(text, "address and port");
    }
    const auto port = parse_number(text.substr(colon + 1), UINT16_MAX);
    if (!port) return invalid(text, "address and port");
    return SocketAddress{ip, static_cast<std::uint16_t>(*port)};
}

sockaddr_storage SocketAddress::to_sockaddr(socklen_t& size) const {
    sockaddr_storage out{};
    const auto bytes = ip.bytes();
    if (ip.is_v4()) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        std::memcpy(&in.sin_addr, bytes.data(), bytes.size());
        std::memcpy(&out, &in, sizeof(in));
        size = sizeof(in);
    } else {
        sockaddr_in6 in{};
        in.sin6_family = AF_INET6;
        in.sin6_port = htons(port);
        std::memcpy(&in.sin6_addr, bytes.data(), bytes.size());
        std::memcpy(&out, &in, sizeof(in));
        size = sizeof(in);
    }
    return out;
}

std::string SocketAddress::to_string() const {
    const std::string host = ip.is_v4() ? ip.to_string() : "[" + ip.to_string() + "]";
    return host + ":" + std::to_string(port);
}

Result<Network> Network::parse(std::string_view text) {
    const auto slash = text.find('/');
    const std::string_view host = text.substr(0, slash);
    const IpAddress address = CFSGATE_TRY(IpAddress::parse(host));
    const auto bits_max = static_cast<unsigned>(address.bytes().size()) * 8;
    if (slash == std::string_view::npos) return Network(address, bits_max);

    // A mapped address is written with the prefix of an IPv6 address.
    const bool mapped = address.is_v4() && host.find(':') != std::string_view::npos;
    const unsigned hidden = mapped ? kMappedBits : 0;
    const auto prefix = parse_number(text.substr(slash + 1), bits_max + hidden);
    if (!prefix || *prefix < hidden) return invalid(text, "network");
    const unsigned bits = *prefix - hidden;
    if (has_bits_behind(address.bytes(), bits)) {
        return fail(Errno::Invalid,
                    "\"" + std::string(text) + "\" has bits behind the network's prefix");
    }
    return Network(address, bits);
}

bool Network::contains(const IpAddress& address) const {
    return address.is_v4() == address_.is_v4() &&
           same_bits(address.bytes(), address_.bytes(), prefix_bits_);
}

std::string Network::to_string() const {
    return address_.to_string() + "/" + std::to_string(prefix_bits_);
}

}  // namespace cfsgate::gateway::nfs
