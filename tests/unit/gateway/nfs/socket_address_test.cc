// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/socket_address.h"

#include <netinet/in.h>

#include <cstring>

#include <gtest/gtest.h>

namespace cfsgate::gateway::nfs {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
Network network(std::string_view text) { return Network::parse(text).value(); }
SocketAddress address(std::string_view text) { return SocketAddress::parse(text).value(); }

TEST(SocketAddressTest, AddressesReadAndPrint) {
    for (const char* text : {"0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "::1", "2001:db8::1",
                             "fe80::1", "::fffe:1.2.3.4"}) {
        EXPECT_EQ(ip(ip(text).to_string()), ip(text)) << text;
    }
    EXPECT_EQ(ip("192.0.2.1").to_string(), "192.0.2.1");
    EXPECT_EQ(ip("2001:DB8:0::1").to_string(), "2001:db8::1");
    for (const char* text : {"", " ", "1.2.3", "1.2.3.256", "1.2.3.4.5", "01.2.3.4", "1.2.3.4 ",
                             "localhost", ":::", "::g", "[::1]", "fe80::1%eth0", "1.2.3.4/8"}) {
        EXPECT_FALSE(IpAddress::parse(text)) << text;
    }
    EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0x", 9)));
}

TEST(SocketAddressTest, AMappedAddressIsTheIpv4Address) {
    EXPECT_EQ(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
    EXPECT_TRUE(ip("::ffff:127.0.0.1").is_loopback());
    EXPECT_NE(ip("::192.0.2.1"), ip("192.0.2.1"));
    EXPECT_NE(ip("::"), ip("0.0.0.0"));
    EXPECT_TRUE(network("10.0.0.0/8").contains(ip("::ffff:10.1.2.3")));
    EXPECT_EQ(network("::ffff:10.0.0.0/104"), network("10.0.0.0/8"));
}

TEST(SocketAddressTest, LoopbackIsThisHost) {
    for (const char* text : {"127.0.0.1", "127.255.255.255", "::1"}) {
        EXPECT_TRUE(ip(text).is_loopback()) << text;
    }
    for (const char* text : {"126.255.255.255", "128.0.0.0", "0.0.0.0", "::", "::2", "1::1",
                             "fe80::1", "::127.0.0.1", "7f00::1"}) {
        EXPECT_FALSE(ip(text).is_loopback()) << text;
    }
}

TEST(SocketAddressTest, AddressesWithPorts) {
    EXPECT_EQ(address("127.0.0.1:2049").to_string(), "127.0.0.1:2049");
    EXPECT_EQ(address("[::1]:0").to_string(), "[::1]:0");
    EXPECT_EQ(address("[::ffff:1.2.3.4]:65535").to_string(), "1.2.3.4:65535");
    for (const char* text : {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                             "127.0.0.1:+1", "127.0.0.1:1x", "127.0.0.1:01", "::1:2049", "[::1]",
                             "[::1]2049", "[127.0.0.1]:1", "[]:1", "[::1:1", "host:1"}) {
        EXPECT_FALSE(SocketAddress::parse(text)) << text;
    }
}

TEST(SocketAddressTest, ReservedPortsAreBelow1024) {
    const auto reserved = [](const char* text) { return address(text).reserved_port(); };
    EXPECT_FALSE(reserved("1.2.3.4:0"));
    EXPECT_TRUE(reserved("1.2.3.4:1"));
    EXPECT_TRUE(reserved("1.2.3.4:1023"));
    EXPECT_FALSE(reserved("1.2.3.4:1024"));
}

TEST(SocketAddressTest, TheSystemsFormGoesThereAndBack) {
    for (const char* text : {"192.0.2.1:2049", "[2001:db8::1]:2049", "[::]:1"}) {
        socklen_t size = 0;
        const sockaddr_storage system = address(text).to_sockaddr(size);
        EXPECT_EQ(SocketAddress::from(system).value(), address(text));
        EXPECT_EQ(size, address(text).ip.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    }
    sockaddr_storage local{};
    local.ss_family = AF_UNIX;
    EXPECT_FALSE(SocketAddress::from(local));
}

TEST(SocketAddressTest, NetworksHoldWhatBeginsWithTheirBits) {
    struct Row {
        const char* network;
        const char* address;
        bool contains;
    };
    for (const Row& row : std::initializer_list<Row>{
             {"0.0.0.0/0", "1.2.3.4", true},
             {"0.0.0.0/0", "::1", false},
             {"::/0", "2001:db8::1", true},
             {"::/0", "1.2.3.4", false},
             {"10.0.0.0/8", "10.255.255.255", true},
             {"10.0.0.0/8", "11.0.0.0", false},
             {"10.0.0.0/9", "10.127.255.255", true},
             {"10.0.0.0/9", "10.128.0.0", false},
             {"192.0.2.128/25", "192.0.2.128", true},
             {"192.0.2.128/25", "192.0.2.127", false},
             {"192.0.2.1", "192.0.2.1", true},
             {"192.0.2.1", "192.0.2.0", false},
             {"192.0.2.4/31", "192.0.2.5", true},
             {"192.0.2.4/31", "192.0.2.6", false},
             {"2001:db8::/33", "2001:db8:7fff::", true},
             {"2001:db8::/33", "2001:db8:8000::", false},
             {"2001:db8::1", "2001:db8::1", true},
             {"2001:db8::1", "2001:db8::2", false},
         }) {
        EXPECT_EQ(network(row.network).contains(ip(row.address)), row.contains)
            << row.network << " " << row.address;
    }
    EXPECT_EQ(network("10.0.0.0/8").to_string(), "10.0.0.0/8");
    EXPECT_EQ(network("::1").to_string(), "::1/128");
    for (const char* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08",
                             "10.0.0.0/8/8", "10.0.0.1/31", "10.0.0.0/x", "10.0.0.0/4", "::/129",
                             "2001:db8::1/127", "::ffff:10.0.0.0/95", "lan/24"}) {
        EXPECT_FALSE(Network::parse(text)) << text;
    }
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
