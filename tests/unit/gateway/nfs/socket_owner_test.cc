// SPDX-License-Identifier: Apache-2.0
// Real sockets and the real kernel.
#include "gateway/nfs/socket_owner.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>

#include <gtest/gtest.h>

namespace cfsgate::gateway::nfs {
namespace {

constexpr uid_t kUser = 1000;

struct Endpoint {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);

    sockaddr* get() { return reinterpret_cast<sockaddr*>(&address); }
};

int need(int result, const char* what) {
    if (result < 0) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
    return result;
}

Endpoint endpoint(const char* text) {
    Endpoint out;
    out.address = SocketAddress::parse(text).value().to_sockaddr(out.size);
    return out;
}

/// An IPv4 address as an IPv6 socket has it.
Endpoint mapped(const SocketAddress& address) {
    Endpoint out;
    out.address =
        SocketAddress::parse("[::]:" + std::to_string(address.port)).value().to_sockaddr(out.size);
    auto& in = reinterpret_cast<sockaddr_in6&>(out.address);
    const auto bytes = address.ip.bytes();
    in.sin6_addr.s6_addr[10] = in.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(&in.sin6_addr.s6_addr[12], bytes.data(), bytes.size());
    return out;
}

SocketAddress name_of(int socket, int (*ask)(int, sockaddr*, socklen_t*)) {
    Endpoint found;
    need(ask(socket, found.get(), &found.size), "name of a socket");
    return SocketAddress::from(found.address).value();
}

/// A TCP socket that takes connections.
class Listener {
public:
    explicit Listener(const char* text) {
        Endpoint at = endpoint(text);
        fd_.reset(need(::socket(at.address.ss_family, SOCK_STREAM, 0), "socket"));
        need(::bind(fd_.get(), at.get(), at.size), "bind");
        need(::listen(fd_.get(), 8), "listen");
    }

    SocketAddress address() const { return name_of(fd_.get(), ::getsockname); }
    UniqueFd accept() const {
        return UniqueFd(need(::accept(fd_.get(), nullptr, nullptr), "accept"));
    }

private:
    UniqueFd fd_;
};

UniqueFd connect_to(Endpoint server) {
    UniqueFd client(need(::socket(server.address.ss_family, SOCK_STREAM, 0), "socket"));
    need(::connect(client.get(), server.get(), server.size), "connect");
    return client;
}

Endpoint endpoint(const SocketAddress& address) { return endpoint(address.to_string().c_str()); }

/// A child that is another user, connected until the object goes.
class OtherUser {
public:
    OtherUser(uid_t uid, const Listener& listener) {
        int ends[2];
        need(::pipe(ends), "pipe");
        alive_.reset(ends[1]);
        const UniqueFd end(ends[0]);
        pid_ = need(::fork(), "fork");
        if (pid_ == 0) live(uid, listener, end.get());
    }
    ~OtherUser() {
        alive_.reset();
        ::waitpid(pid_, nullptr, 0);
    }
    OtherUser(const OtherUser&) = delete;
    OtherUser& operator=(const OtherUser&) = delete;

private:
    [[noreturn]] void live(uid_t uid, const Listener& listener, int end) {
        alive_.reset();
        if (::setgid(uid) != 0 || ::setuid(uid) != 0) ::_exit(1);
        const UniqueFd client = connect_to(endpoint(listener.address()));
        char byte = 0;
        ::_exit(::read(end, &byte, 1) == 0 ? 0 : 1);
    }

    UniqueFd alive_;
    pid_t pid_ = -1;
};

class SocketOwnerTest : public ::testing::Test {
protected:
    void SetUp() override {
        auto opened = SocketOwners::open();
        if (!opened) GTEST_SKIP() << "no socket diagnosis: " << opened.error().detail;
        owners.emplace(std::move(*opened));
    }

    /// What the server finds out about an accepted connection.
    Result<uid_t> owner(const UniqueFd& accepted) {
        return owners->owner_of(name_of(accepted.get(), ::getpeername),
                                name_of(accepted.get(), ::getsockname));
    }
    /// The same, asked by the client.
    Result<uid_t> owner_of_server(const UniqueFd& client) { return owner(client); }

    static void expect_refused(const Result<uid_t>& owner) {
        ASSERT_FALSE(owner) << "uid " << *owner;
        EXPECT_EQ(owner.error().code, Errno::NoAccess);
    }

    std::optional<SocketOwners> owners;
};

TEST_F(SocketOwnerTest, AConnectionBelongsToWhoMadeIt) {
    for (const char* address : {"127.0.0.1:0", "127.1.2.3:0", "[::1]:0"}) {
        const Listener listener(address);
        const UniqueFd client = connect_to(endpoint(listener.address()));
        const UniqueFd accepted = listener.accept();
        const auto found = owner(accepted);
        ASSERT_TRUE(found) << address << ": " << found.error().detail;
        EXPECT_EQ(*found, ::getuid());
    }
}

TEST_F(SocketOwnerTest, FamiliesMayDiffer) {
    const Listener four("127.0.0.1:0");
    const UniqueFd six_to_four = connect_to(mapped(four.address()));
    EXPECT_EQ(owner(four.accept()).value(), ::getuid());

    const Listener six("[::]:0");
    const std::string port = std::to_string(six.address().port);
    const UniqueFd four_to_six = connect_to(endpoint(("127.0.0.1:" + port).c_str()));
    EXPECT_EQ(owner(six.accept()).value(), ::getuid());
    const UniqueFd six_to_six =
        connect_to(mapped(SocketAddress::parse("127.0.0.1:" + port).value()));
    EXPECT_EQ(owner(six.accept()).value(), ::getuid());
}

TEST_F(SocketOwnerTest, AnotherUsersConnectionIsThatUsers) {
    if (::getuid() != 0) GTEST_SKIP() << "needs root";
    for (const char* address : {"127.0.0.1:0", "[::1]:0"}) {
        const Listener listener(address);
        const UniqueFd own = connect_to(endpoint(listener.address()));
        const UniqueFd accepted_own = listener.accept();
        const OtherUser user(kUser, listener);
        const UniqueFd accepted = listener.accept();
        EXPECT_EQ(owner(accepted).value(), kUser);
        EXPECT_EQ(owner(accepted_own).value(), 0U);
    }
}

TEST_F(SocketOwnerTest, WhoClosesBeforeTheLookUpIsNobody) {
    for (const bool reads : {false, true}) {
        const Listener listener("127.0.0.1:0");
        UniqueFd client = connect_to(endpoint(listener.address()));
        ASSERT_EQ(::send(client.get(), "call", 4, 0), 4);
        client.reset();
        const UniqueFd accepted = listener.accept();
        if (reads) {
            char bytes[4];
            ASSERT_EQ(::recv(accepted.get(), bytes, sizeof(bytes), MSG_WAITALL), 4);
        }
        expect_refused(owner(accepted));
    }
}

TEST_F(SocketOwnerTest, AProcessThatEndsLeavesNoOwner) {
    if (::getuid() != 0) GTEST_SKIP() << "needs root";
    const Listener listener("127.0.0.1:0");
    std::optional<OtherUser> user(std::in_place, kUser, listener);
    const UniqueFd accepted = listener.accept();
    EXPECT_EQ(owner(accepted).value(), kUser);
    user.reset();
    expect_refused(owner(accepted));
}

TEST_F(SocketOwnerTest, HalfAConnectionIsNone) {
    const Listener listener("127.0.0.1:0");
    {
        const UniqueFd client = connect_to(endpoint(listener.address()));
        const UniqueFd accepted = listener.accept();
        ASSERT_EQ(::shutdown(client.get(), SHUT_RD), 0);
        EXPECT_TRUE(owner(accepted)) << "still sends";
        ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0);
        expect_refused(owner(accepted));
    }
    const UniqueFd client = connect_to(endpoint(listener.address()));
    const UniqueFd accepted = listener.accept();
    ASSERT_EQ(::shutdown(accepted.get(), SHUT_WR), 0);
    expect_refused(owner(accepted));
}

TEST_F(SocketOwnerTest, ASocketThatNobodyHasOpenHasNoOwner) {
    const Listener listener("127.0.0.1:0");
    const UniqueFd client = connect_to(endpoint(listener.address()));
    // Connected, but in the listener's queue: no process has it yet.
    expect_refused(owner_of_server(client));
    const UniqueFd accepted = listener.accept();
    EXPECT_TRUE(owner_of_server(client));
}

TEST_F(SocketOwnerTest, OnlyThatVerySocketCounts) {
    const Listener listener("127.0.0.1:0");
    const SocketAddress here = listener.address();
    const SocketAddress elsewhere = SocketAddress::parse("127.0.0.1:9").value();
    // The listener is what the kernel finds where no connection is.
    expect_refused(owners->owner_of(here, elsewhere));
    expect_refused(owners->owner_of(elsewhere, here));
    const UniqueFd client = connect_to(endpoint(here));
    const UniqueFd accepted = listener.accept();
    expect_refused(owners->owner_of(name_of(client.get(), ::getsockname), elsewhere));
    EXPECT_TRUE(owner(accepted));
    const auto mixed = owners->owner_of(here, SocketAddress::parse("[::1]:9").value());
    ASSERT_FALSE(mixed);
    EXPECT_EQ(mixed.error().code, Errno::Invalid);
}

TEST_F(SocketOwnerTest, AClosedConnectionHasNoOwner) {
    const Listener listener("127.0.0.1:0");
    UniqueFd client = connect_to(endpoint(listener.address()));
    UniqueFd accepted = listener.accept();
    const SocketAddress peer = name_of(accepted.get(), ::getpeername);
    client.reset();
    accepted.reset();
    expect_refused(owners->owner_of(peer, listener.address()));
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
