// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/purge_worker.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ringbuffer_sink.h>

#include <filesystem>
#include <functional>
#include <optional>

#include <gtest/gtest.h>

#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::gateway::daemon {
namespace {

constexpr const char* kSecret = "Tr0ub4dor&3-is-the-secret";

class PurgeWorkerTest : public testing::Test {
protected:
    PurgeWorkerTest() {
        log->set_formatter(std::make_unique<spdlog::pattern_formatter>(
            "%l %v", spdlog::pattern_time_type::local, ""));
        worker.emplace(*store, log);
    }

    void put(const std::string& path, const std::string& content) {
        if (!test::exists_in(*store, path)) test::apply_alone(*store, CreateFile{path});
        EXPECT_TRUE(test::apply_alone(*store, WriteFile{path, content, 0, true}).ok);
    }
    bool holds(const std::string& secret) const {
        const auto names = directory.files("");
        return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
            return test::read_file(directory.file(name)).find(secret) != std::string::npos;
        });
    }
    std::vector<std::string> lines() const { return sink->last_formatted(); }
    /// All of them, once the worker has ended.
    std::vector<std::string> end() {
        worker.reset();
        return lines();
    }
    static void await(const std::function<bool()>& condition) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!condition() && std::chrono::steady_clock::now() < deadline) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        EXPECT_TRUE(condition());
    }

    test::StoreDirectory directory;
    std::unique_ptr<store::Store> store = directory.open();
    std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> sink =
        std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(2 * PurgeWorker::kWaitingMax);
    Logger log = std::make_shared<spdlog::logger>("test", sink);
    std::optional<PurgeWorker> worker;
};

TEST_F(PurgeWorkerTest, WhatAnotherNodeAsksForIsDoneAndLogged) {
    put("key", kSecret);
    put("key", "new");
    ASSERT_TRUE(holds(kSecret));
    worker->order("key", NodeId(2));
    await([&] { return !lines().empty(); });
    EXPECT_FALSE(holds(kSecret));
    EXPECT_EQ(test::content_of(*store, "key"), "new");
    EXPECT_EQ(lines().front(),
              "info 'key' purged as node 2 has asked: 1 journal records and 0 snapshots have lost "
              "content, 1 files keep that of the present");
}

TEST_F(PurgeWorkerTest, ABadPathIsRefusedWithOneLine) {
    put("key", kSecret);
    put("key", "new");
    for (const char* path : {"", "/", "..", "../key", "x/../key", "key/", "key\nforged line"}) {
        worker->order(path, NodeId(2));
    }
    EXPECT_EQ(end().size(), 7U);
    for (const auto& line : lines()) {
        EXPECT_TRUE(line.starts_with("error what node 2 asks to purge is refused: ")) << line;
    }
    EXPECT_TRUE(holds(kSecret));
}

TEST_F(PurgeWorkerTest, AFailureIsLoggedWithItsReason) {
    std::filesystem::create_directory(directory.file("purged"));  // where a file belongs
    worker->order("key", NodeId(2));
    await([&] { return !lines().empty(); });
    ASSERT_EQ(end().size(), 1U);
    EXPECT_TRUE(
        lines().front().starts_with("error 'key', asked for by node 2, is not purged here: "))
        << lines().front();
}

TEST_F(PurgeWorkerTest, SoManyWaitAndNoMore) {
    {
        const MutexLock lock(worker->past_mutex());
        // One may have been taken by the thread, which waits for the lock.
        for (std::size_t i = 0; i < PurgeWorker::kWaitingMax + 2; ++i) {
            worker->order("key", NodeId(2));
        }
        EXPECT_EQ(lines().at(0),
                  "error 'key', asked for by node 2, is not purged here: too many wait");
    }
    // What waited is done, or given up at the end, and never forgotten.
    EXPECT_EQ(end().size(), PurgeWorker::kWaitingMax + 2);
}

}  // namespace
}  // namespace cfsgate::gateway::daemon
