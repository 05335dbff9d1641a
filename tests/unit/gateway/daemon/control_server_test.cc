// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <mutex>

#include <gtest/gtest.h>

#include "store/base/files.h"
#include "tests/support/temp_directory.h"

namespace cfsgate::gateway::daemon {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

/// Answers "echo" with the request, "fail" with an error, and lets "wait" wait for the end.
Result<json> handle(const json& request, const std::stop_token& stop) {
    if (request["command"] == "fail") return fail(Errno::NotFound, "nothing here");
    if (request["command"] == "wait") {
        std::mutex mutex;
        std::condition_variable_any changed;
        std::unique_lock lock(mutex);
        changed.wait(lock, stop, [] { return false; });
        return fail(Errno::Interrupted, "stopped");
    }
    return json{{"echo", request}};
}

class AnswerLineTest : public ::testing::Test {
protected:
    json answer(std::string_view line) {
        const std::string response = answer_line(line, handle, {}, counters);
        EXPECT_TRUE(response.ends_with('\n'));
        EXPECT_EQ(response.find('\n'), response.size() - 1) << "one line";
        return json::parse(response);
    }
    ControlCounters counters;
};

TEST_F(AnswerLineTest, HandsARequestToTheHandler) {
    const json response = answer(R"({"command":"echo","path":"a b"})");
    EXPECT_EQ(response["ok"], true);
    EXPECT_EQ(response["echo"]["path"], "a b");
    EXPECT_EQ(counters.requests, 1U);
}

TEST_F(AnswerLineTest, AnErrorCarriesItsCode) {
    const json response = answer(R"({"command":"fail"})");
    EXPECT_EQ(response["ok"], false);
    EXPECT_EQ(response["code"], "NotFound");
    EXPECT_EQ(response["error"], "nothing here");
}

TEST_F(AnswerLineTest, GarbageIsAnsweredAndCounted) {
    const std::string nested(200000, '[');
    const std::vector<std::string> garbage{"",
                                           " ",
                                           "{",
                                           "}",
                                           "[]",
                                           "null",
                                           "42",
                                           "\"status\"",
                                           "{}",
                                           R"({"command":42})",
                                           R"({"command":null})",
                                           R"({"command":"echo"} x)",
                                           R"({"command":"echo")",
                                           std::string("\0\0\0", 3),
                                           "\xff\xfe",
                                           std::string(R"({"command":")") + "\xc3\x28\"}",
                                           nested};
    for (const std::string& line : garbage) {
        const json response = answer(line);
        EXPECT_EQ(response["ok"], false) << line.substr(0, 40);
        EXPECT_EQ(response["code"], "BadMessage") << line.substr(0, 40);
    }
    EXPECT_EQ(counters.bad_requests, garbage.size());
    EXPECT_EQ(counters.requests, 0U);
}

TEST_F(AnswerLineTest, NamesThatAreNoUtf8DoNotBreakTheResponse) {
    const std::string response = make_response(json{{"name",
                                                     "a\xff"
                                                     "b"}});
    EXPECT_FALSE(json::parse(response, nullptr, false).is_discarded());
}

/// A client that says exactly what the test wants.
class Peer {
public:
    explicit Peer(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(&address.sun_path[0], path.data(), path.size());
        const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
        connected_ = ::connect(socket_.get(), generic, sizeof(address)) == 0;
        const timeval limit{.tv_sec = 20, .tv_usec = 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    }
    bool connected() const { return connected_; }
    bool say(std::string_view text) {
        return ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(text.size());
    }
    /// One line without its LF; "closed" at the end.
    std::string hear() {
        std::string line;
        char letter = 0;
        while (::recv(socket_.get(), &letter, 1, 0) == 1) {
            if (letter == '\n') return line;
            line += letter;
        }
        return "closed";
    }

private:
    UniqueFd socket_;
    bool connected_ = false;
};

class ControlServerTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root: the server answers nobody else";
        limits.connections_max = 3;
        limits.request_bytes_max = 1000;
        limits.request_time = milliseconds(100);
        start();
    }
    void start() {
        auto started = ControlServer::start(path, handle, limits, counters, null_logger());
        ASSERT_TRUE(started) << started.error().detail;
        server = std::move(*started);
    }

    test::TempDirectory directory;
    std::string path = directory.file("control");
    ControlLimits limits;
    ControlCounters counters;
    std::unique_ptr<ControlServer> server;
};

TEST_F(ControlServerTest, AnswersSeveralRequestsOnOneConnection) {
    Peer peer(path);
    ASSERT_TRUE(peer.say("{\"command\":\"echo\"}\n{\"command\":\"fail\"}\n"));
    EXPECT_EQ(json::parse(peer.hear())["ok"], true);
    EXPECT_EQ(json::parse(peer.hear())["ok"], false);
    ASSERT_TRUE(peer.say("{\"comm"));
    ASSERT_TRUE(peer.say("and\":\"echo\"}\n"));
    EXPECT_EQ(json::parse(peer.hear())["ok"], true);
}

TEST_F(ControlServerTest, GoesOnAfterGarbage) {
    Peer peer(path);
    ASSERT_TRUE(peer.say("garbage\n{\"command\":\"echo\"}\n"));
    EXPECT_EQ(json::parse(peer.hear())["code"], "BadMessage");
    EXPECT_EQ(json::parse(peer.hear())["ok"], true);
}

TEST_F(ControlServerTest, OnlyRootMayOpenTheSocket) {
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U);
}

TEST_F(ControlServerTest, ARequestThatIsTooLongEndsTheConnection) {
    Peer peer(path);
    ASSERT_TRUE(peer.say(std::string(1500, 'x')));
    EXPECT_EQ(json::parse(peer.hear())["code"], "BadMessage");
    EXPECT_EQ(peer.hear(), "closed");
    EXPECT_EQ(counters.bad_requests, 1U);
}

TEST_F(ControlServerTest, AHalfSentRequestIsGivenUp) {
    Peer peer(path);
    ASSERT_TRUE(peer.say("{\"command\":"));
    EXPECT_EQ(peer.hear(), "closed");
    EXPECT_EQ(counters.bad_requests, 1U);
}

TEST_F(ControlServerTest, OneConnectionTooManyIsToldSo) {
    std::list<Peer> peers;
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(peers.emplace_back(path).say("{\"command\":\"echo\"}\n"));
        EXPECT_EQ(json::parse(peers.back().hear())["ok"], true);
    }
    Peer refused(path);
    EXPECT_EQ(json::parse(refused.hear())["code"], "Busy");
    EXPECT_EQ(refused.hear(), "closed");
    EXPECT_EQ(counters.refused, 1U);
}

TEST_F(ControlServerTest, AClosedConnectionMakesRoomAgain) {
    for (int i = 0; i < 20; ++i) {
        Peer peer(path);
        ASSERT_TRUE(peer.say("{\"command\":\"echo\"}\n"));
        std::string answer = peer.hear();
        // The thread of an earlier peer may not have noticed yet that it has gone.
        while (json::parse(answer).value("code", "") == "Busy") {
            Peer again(path);
            ASSERT_TRUE(again.connected());
            again.say("{\"command\":\"echo\"}\n");
            answer = again.hear();
        }
        EXPECT_EQ(json::parse(answer)["ok"], true);
    }
}

TEST_F(ControlServerTest, TheEndInterruptsARequestAndRemovesTheSocket) {
    Peer peer(path);
    ASSERT_TRUE(peer.say("{\"command\":\"wait\"}\n"));
    while (counters.requests == 0) std::this_thread::yield();
    server.reset();
    EXPECT_EQ(json::parse(peer.hear())["code"], "Interrupted");
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST_F(ControlServerTest, ALivingSocketIsNotTakenOver) {
    const auto second = ControlServer::start(path, handle, limits, counters, null_logger());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errno::Busy);
    Peer peer(path);
    ASSERT_TRUE(peer.say("{\"command\":\"echo\"}\n"));
    EXPECT_EQ(json::parse(peer.hear())["ok"], true);
}

TEST_F(ControlServerTest, TheSocketOfADeadDaemonIsReplaced) {
    server.reset();
    {
        const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(&address.sun_path[0], path.data(), path.size());
        const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
        ASSERT_EQ(::bind(dead.get(), generic, sizeof(address)), 0);
    }
    start();
    EXPECT_TRUE(Peer(path).connected());
}

TEST_F(ControlServerTest, AFileInTheWayIsNotRemoved) {
    const std::string file = directory.file("file");
    ASSERT_TRUE(write_file_atomically(file, "precious", 0600, Flush::No));
    EXPECT_FALSE(ControlServer::start(file, handle, limits, counters, null_logger()));
    EXPECT_EQ(read_small_file(file).value_or(""), "precious");
}

}  // namespace
}  // namespace cfsgate::gateway::daemon
