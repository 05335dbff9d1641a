// SPDX-License-Identifier: Apache-2.0
// The way back from the error state. Flushes and reservations of this program fail on request: the
// linker takes the functions below in place of the C library's.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>

#include <gtest/gtest.h>

#include "store/journal.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace {

std::atomic<int> flush_error{0};
std::atomic<bool> disk_full{false};

}  // namespace

extern "C" int fdatasync(int fd) {
    if (const int code = flush_error) {
        errno = code;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

extern "C" int posix_fallocate(int fd, off_t offset, off_t bytes) {
    if (disk_full) return ENOSPC;
    if (::syscall(SYS_fallocate, fd, 0, offset, bytes) == 0) return 0;
    if (errno != EOPNOTSUPP) return errno;
    return ::ftruncate(fd, offset + bytes) == 0 ? 0 : errno;
}

namespace cfsgate::store {
namespace {

using test::apply_alone;
using test::checksum_of;
using test::exists_in;
using test::result_of;
using test::take;

class RecoveryTest : public testing::Test {
protected:
    RecoveryTest() {
        directory.options.boot_id = system_boot_id;
        directory.options.durability = Durability::Durable;
        store = directory.open();
        EXPECT_EQ(result_of(*store, CreateFile{"before"}), 0);
        take(store->sync(Sequence(1)));
    }
    ~RecoveryTest() override {
        flush_error = 0;
        disk_full = false;
    }

    /// A change whose flush fails, as the disk says.
    void fail_a_flush() {
        EXPECT_EQ(result_of(*store, CreateFile{"unsure"}), 0);
        flush_error = EIO;
        EXPECT_FALSE(store->sync(Sequence(2)));
        ASSERT_TRUE(store->failure());
        EXPECT_FALSE(store->begin());
    }
    void expect_tree_over_restarts() {
        const std::string expected = checksum_of(*store);
        for (const bool power_cut : {false, true, true}) {
            store.reset();
            EXPECT_EQ(directory.findings(), "");
            if (power_cut) directory.pretend_power_cut();
            auto opened = directory.try_open();
            ASSERT_TRUE(opened) << opened.error().detail;
            store = std::move(*opened);
            EXPECT_EQ(checksum_of(*store), expected);
        }
    }

    test::StoreDirectory directory;
    std::unique_ptr<Store> store;
};

TEST_F(RecoveryTest, AStoreThatIsWellStaysAsItIs) {
    take(store->try_recover());
    EXPECT_EQ(directory.files("journal.").size(), 1U);
    EXPECT_TRUE(directory.files("snapshot.").empty());
}

TEST_F(RecoveryTest, AfterAFailedFlushItGoesOnInANewSegmentBehindASnapshot) {
    fail_a_flush();
    const auto segments = directory.files("journal.");
    const std::string old_segment = test::read_file(directory.file(segments.back()));

    const auto still = store->try_recover();
    ASSERT_FALSE(still);
    EXPECT_EQ(still.error().code, Errno::InputOutput);
    EXPECT_TRUE(store->failure());
    EXPECT_EQ(store->begin().error().code, Errno::ReadOnly);

    flush_error = 0;
    take(store->try_recover());
    EXPECT_FALSE(store->failure());
    EXPECT_EQ(store->journal_status().synced, Sequence(2)) << "the snapshot holds it";
    EXPECT_EQ(directory.files("snapshot.").size(), 1U);
    EXPECT_EQ(directory.files("journal.").size(), segments.size() + 1);
    EXPECT_EQ(apply_alone(*store, CreateFile{"after"}).version, Version(4));
    take(store->sync(Sequence(3)));
    EXPECT_EQ(test::read_file(directory.file(segments.back())), old_segment);
    expect_tree_over_restarts();
    EXPECT_TRUE(exists_in(*store, "unsure"));
    EXPECT_TRUE(exists_in(*store, "after"));
}

TEST_F(RecoveryTest, WhatTheFailedFlushLostIsInTheSnapshot) {
    fail_a_flush();
    flush_error = 0;
    const std::string old_segment = directory.file(directory.files("journal.").back());
    take(store->try_recover());
    EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    // The kernel has dropped the page: on the disk there is the header alone.
    std::string bytes = test::read_file(old_segment);
    std::fill(bytes.begin() + 64, bytes.end(), '\0');
    test::write_file(old_segment, bytes);
    expect_tree_over_restarts();
    EXPECT_TRUE(exists_in(*store, "unsure"));
    EXPECT_TRUE(exists_in(*store, "after"));
}

TEST_F(RecoveryTest, ItCanFailAndComeBackAgain) {
    for (int round = 0; round < 3; ++round) {
        const std::string name = "f" + std::to_string(round);
        EXPECT_EQ(result_of(*store, CreateFile{name}), 0);
        flush_error = EIO;
        EXPECT_FALSE(store->sync(store->journal_status().appended));
        EXPECT_FALSE(store->try_recover());
        flush_error = 0;
        take(store->try_recover());
    }
    EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    expect_tree_over_restarts();
}

TEST_F(RecoveryTest, KilledWithoutRecoveryTheJournalCounts) {
    fail_a_flush();
    flush_error = 0;
    store.reset();
    store = directory.open();
    EXPECT_FALSE(store->failure());
    EXPECT_TRUE(exists_in(*store, "unsure"));
    EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    expect_tree_over_restarts();
}

TEST_F(RecoveryTest, AFlushThatFailsAtTheEndOfASegmentIsAFailureToo) {
    flush_error = EIO;
    const auto batch = take(store->begin());
    ASSERT_TRUE(batch->apply(WriteFile{"before", std::string(100000, 'x'), 0, false}, {}).ok);
    EXPECT_FALSE(batch->commit());
    EXPECT_TRUE(store->failure());
    flush_error = 0;
    take(store->try_recover());
    EXPECT_EQ(result_of(*store, WriteFile{"before", std::string(100000, 'x'), 0, false}), 100000);
    expect_tree_over_restarts();
}

TEST_F(RecoveryTest, OutOfSpaceItSaysSoUntilThereIsSpaceAgain) {
    disk_full = true;
    const auto write_much = [&]() -> Status {
        const auto batch = CFSGATE_TRY(store->begin());
        EXPECT_TRUE(batch->apply(WriteFile{"before", std::string(100000, 'x'), 0, false}, {}).ok);
        CFSGATE_TRY(batch->commit());
        return {};
    };
    const auto refused = write_much();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errno::NoSpace);
    EXPECT_FALSE(store->failure());
    const auto still = store->try_recover();
    ASSERT_FALSE(still);
    EXPECT_EQ(still.error().code, Errno::NoSpace);
    disk_full = false;
    take(store->try_recover());
    take(write_much());
    disk_full = true;
    take(store->try_recover());  // nothing was refused since
    disk_full = false;
    EXPECT_TRUE(directory.files("spare.probe").empty());
    expect_tree_over_restarts();
}

TEST_F(RecoveryTest, AFullMapIsOutOfSpaceToo) {
    store.reset();
    directory.options.map_bytes = 4ULL << 20;
    store = directory.open();
    EXPECT_EQ(result_of(*store, CreateFile{"f"}), 0);
    std::string name;
    for (int i = 0; i < 20; ++i) {
        name = "f" + std::to_string(i);
        if (!apply_alone(*store, CreateFile{name}).ok) break;
        if (!apply_alone(*store, WriteFile{name, std::string(500000, 'x'), 0, false}).ok) break;
    }
    EXPECT_FALSE(store->failure());
    EXPECT_FALSE(store->try_recover());
    for (int i = 0; i < 20; ++i) apply_alone(*store, Delete{"f" + std::to_string(i)});
    take(store->try_recover());
}

/// A snapshot is flushed at once, the journal before it perhaps not: after a power cut the snapshot
/// may know more. New records must not take the numbers that it holds.
TEST_F(RecoveryTest, ASnapshotAheadOfTheJournalLosesNoLaterChange) {
    EXPECT_EQ(result_of(*store, CreateFile{"in the snapshot"}), 0);
    take(store->write_snapshot());
    store.reset();
    const std::string segment = directory.file(directory.files("journal.").back());
    std::string bytes = test::read_file(segment);
    std::fill(bytes.begin() + 64, bytes.end(), '\0');
    test::write_file(segment, bytes);
    directory.pretend_power_cut();
    store = directory.open();
    EXPECT_TRUE(exists_in(*store, "in the snapshot"));
    EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    EXPECT_EQ(store->journal_status().appended, Sequence(3));
    expect_tree_over_restarts();
    EXPECT_TRUE(exists_in(*store, "after"));
}

}  // namespace
}  // namespace cfsgate::store
