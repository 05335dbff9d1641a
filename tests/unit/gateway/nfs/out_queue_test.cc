// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/out_queue.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include <gtest/gtest.h>

#include "store/base/unique_fd.h"
#include "tests/support/prng.h"
#include "tests/unit/gateway/nfs/xdr_words.h"

namespace cfsgate::gateway::nfs {
namespace {

using test::words;

class OutQueueTest : public testing::Test {
protected:
    OutQueueTest() {
        std::array<int, 2> pair{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()), 0);
        ours = UniqueFd(pair[0]);
        theirs = UniqueFd(pair[1]);
        const int small = 1;  // the kernel makes it its smallest
        EXPECT_EQ(::setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    }

    /// What the other side can read now.
    std::string receive() {
        std::string all;
        std::array<char, 4096> buffer{};
        for (;;) {
            const ssize_t got = ::recv(theirs.get(), buffer.data(), buffer.size(), 0);
            if (got <= 0) return all;
            all.append(buffer.data(), static_cast<std::size_t>(got));
        }
    }
    std::string send_all() {
        std::string received;
        for (int i = 0; i < 100000 && !queue.empty(); ++i) {
            EXPECT_TRUE(queue.send(ours.get()).has_value());
            received += receive();
        }
        EXPECT_TRUE(queue.empty());
        return received;
    }

    UniqueFd ours;
    UniqueFd theirs;
    OutQueue queue;
};

std::string record(const std::string& bytes) {
    return words({0x80000000U | static_cast<std::uint32_t>(bytes.size())}) + bytes;
}

TEST_F(OutQueueTest, AReplyIsOneRecord) {
    EXPECT_TRUE(queue.empty());
    queue.push({"head", {}, 0});
    EXPECT_EQ(queue.bytes(), 8U);
    EXPECT_FALSE(queue.empty());
    EXPECT_EQ(send_all(), record("head"));
    EXPECT_EQ(queue.bytes(), 0U);
    EXPECT_FALSE(queue.send(ours.get()).value());
}

TEST_F(OutQueueTest, DataIsPaddedAndThePaddingCounts) {
    const std::array<std::string, 5> padded{std::string(), std::string("1\0\0\0", 4),
                                            std::string("12\0\0", 4), std::string("123\0", 4),
                                            "1234"};
    for (std::size_t size = 0; size < padded.size(); ++size) {
        queue.push({"head", std::string("1234").substr(0, size), 0});
        EXPECT_EQ(send_all(), record("head" + padded.at(size))) << size;
    }
}

TEST_F(OutQueueTest, AFullSocketTakesWhatItCanAndTheRestLater) {
    const std::string large(1U << 20, 'd');
    queue.push({"first", {}, 0});
    queue.push({"second..", large + "x", 0});
    queue.push({"third", {}, 0});
    const std::string all =
        record("first") + record("second.." + large + "x" + std::string(3, '\0')) + record("third");
    EXPECT_EQ(queue.bytes(), all.size());
    EXPECT_TRUE(queue.send(ours.get()).value());
    EXPECT_LT(queue.bytes(), all.size());
    EXPECT_GT(queue.bytes(), 0U);
    EXPECT_FALSE(queue.send(ours.get()).value());  // it is full
    std::string received = receive();
    EXPECT_EQ(queue.bytes(), all.size() - received.size());
    received += send_all();
    EXPECT_TRUE(received == all);
}

TEST_F(OutQueueTest, ThousandsOfRepliesKeepTheirOrderWhileTheyGoOut) {
    test::Prng random(7);
    std::string expected;
    std::string received;
    for (std::uint32_t i = 0; i < 5000; ++i) {
        Reply reply{words({i}), {}, 0};
        if (random.one_in(3))
            reply.data = std::string(random.below(3000) * 4, static_cast<char>(i));
        if (random.one_in(200)) reply.head += std::string(100000, 'h');
        expected += record(reply.head + reply.data);
        queue.push(std::move(reply));
        if (random.one_in(10)) {
            ASSERT_TRUE(queue.send(ours.get()).has_value());
            received += receive();
        }
    }
    EXPECT_EQ(queue.bytes(), expected.size() - received.size());
    received += send_all();
    EXPECT_TRUE(received == expected);
}

TEST_F(OutQueueTest, ASocketThatIsGoneIsAnError) {
    theirs.reset();
    queue.push({"head", {}, 0});
    const auto sent = queue.send(ours.get());  // and no signal
    ASSERT_FALSE(sent);
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
