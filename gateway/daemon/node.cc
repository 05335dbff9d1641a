// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/node.h"

#include <arpa/inet.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "store/model/path.h"

namespace cfsgate::gateway::daemon {
namespace {

template <class Address>
Address copy_address(const addrinfo& info) {
    Address address{};
    std::memcpy(&address, info.ai_addr, sizeof(address));
    return address;
}

std::string to_text(int family, const void* address) {
    char text[INET6_ADDRSTRLEN] = {};
    return ::inet_ntop(family, address, text, sizeof(text)) != nullptr ? text : "";
}

/// The address as text, or nothing for a loopback one: 127.*, also mapped into IPv6, and ::1.
std::optional<std::string> usable_address(const addrinfo& info) {
    if (info.ai_family == AF_INET && info.ai_addrlen >= sizeof(sockaddr_in)) {
        const auto address = copy_address<sockaddr_in>(info);
        if ((ntohl(address.sin_addr.s_addr) >> 24) == 127) return {};
        return to_text(AF_INET, &address.sin_addr);
    }
    if (info.ai_family == AF_INET6 && info.ai_addrlen >= sizeof(sockaddr_in6)) {
        const auto address = copy_address<sockaddr_in6>(info);
        const auto& bytes = address.sin6_addr.s6_addr;
        if (IN6_IS_ADDR_LOOPBACK(&address.sin6_addr)) return {};
        if (IN6_IS_ADDR_V4MAPPED(&address.sin6_addr) && bytes[12] == 127) return {};
        return to_text(AF_INET6, &address.sin6_addr);
    }
    return {};
}

}  // namespace

Result<std::string> find_node_name(const std::string& configured) {
    std::string name = configured;
    if (name.empty()) {
        utsname machine{};
        if (::uname(&machine) != 0) return fail_posix(errno, "uname");
        name = machine.nodename;
        name.resize(std::min(name.find('.'), name.size()));
    }
    if (!is_valid_node_name(name)) {
        return fail(Errno::Invalid, "'" + name +
                                        "' is no node name (letters, digits, inner hyphens); set "
                                        "the machine's name, or use --node-name");
    }
    return name;
}

Result<std::string> find_node_address(const std::string& node) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_V4MAPPED | AI_ALL;
    addrinfo* found = nullptr;
    const int error = ::getaddrinfo(node.c_str(), nullptr, &hints, &found);
    if (error != 0) {
        return fail(Errno::NotFound, "unable to resolve node name '" + node + "' to an address: " +
                                         ::gai_strerror(error) + "; add it to /etc/hosts");
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
        if (auto address = usable_address(*info)) return std::move(*address);
    }
    return fail(Errno::NotFound, "node name '" + node +
                                     "' resolves to loopback addresses only; give it its own "
                                     "address in /etc/hosts");
}

Result<gid_t> find_group(const std::string& name) {
    group entry{};
    group* found = nullptr;
    std::vector<char> buffer(4096);
    int error = ERANGE;
    while (error == ERANGE && buffer.size() <= 1UL << 20) {
        buffer.resize(buffer.size() * 2);
        error = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    }
    if (error != 0) return fail_posix(error, "group '" + name + "'");
    if (found == nullptr) {
        return fail(Errno::NotFound, "there is no group '" + name +
                                         "', which owns the tree; create it: groupadd --system " +
                                         name);
    }
    return entry.gr_gid;
}

}  // namespace cfsgate::gateway::daemon
