// SPDX-License-Identifier: Apache-2.0
// The way back from the error state. Flushes and reservations of this program fail on request: the
// linker takes the functions below in place of the C library's.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "store/journal.h"
#include "store/lmdb/environment.h"
#include "store/tree_tables.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace {

std::atomic<int> flush_error{0};
std::atomic<bool> disk_full{false};
/// Writes to this inode fail, `writes_to_fail` of them.
std::atomic<ino_t> failing_file{0};
std::atomic<int> write_error{0};
std::atomic<std::size_t> writes_that_pass_bytes{0};  ///< those of at least so many, if not 0
std::atomic<int> writes_to_fail{0};

/// How many bytes a write may have; -1 with errno where it fails.
ssize_t room_for(int fd, std::size_t bytes) {
    struct stat info {};
    if (failing_file == 0 || ::fstat(fd, &info) != 0 || info.st_ino != failing_file ||
        (writes_that_pass_bytes != 0 && bytes >= writes_that_pass_bytes) || writes_to_fail-- <= 0) {
        return static_cast<ssize_t>(bytes);
    }
    // A disk that gets full takes a part.
    if (write_error == ENOSPC && bytes > 512) return static_cast<ssize_t>(bytes / 2);
    errno = write_error;
    return -1;
}

}  // namespace

extern "C" int fdatasync(int fd) {
    if (const int code = flush_error) {
        errno = code;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

extern "C" ssize_t pwrite(int fd, const void* data, std::size_t bytes, off_t at) {
    const ssize_t room = room_for(fd, bytes);
    if (room < 0) return room;
    return ::syscall(SYS_pwrite64, fd, data, static_cast<std::size_t>(room), at);
}

extern "C" ssize_t pwrite64(int fd, const void* data, std::size_t bytes, off64_t at) {
    return pwrite(fd, data, bytes, at);
}

extern "C" ssize_t writev(int fd, const iovec* parts, int count) {
    std::size_t bytes = 0;
    for (int i = 0; i < count; ++i) bytes += parts[i].iov_len;
    const ssize_t room = room_for(fd, bytes);
    if (room < 0) return room;
    if (static_cast<std::size_t>(room) < bytes) count = 1;
    return ::syscall(SYS_writev, fd, parts, count);
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
        failing_file = 0;
    }

    void fail_writes_to(const std::string& name, int error, int count = 1 << 20) {
        struct stat info {};
        ASSERT_EQ(::stat(directory.file(name).c_str(), &info), 0);
        write_error = error;
        writes_that_pass_bytes = 0;
        writes_to_fail = count;
        failing_file = info.st_ino;
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

TEST_F(RecoveryTest, AWriteToTheJournalThatFailsCostsThatChangeAlone) {
    for (const bool once : {true, false}) {
        SCOPED_TRACE(once);
        fail_writes_to(directory.files("journal.").back(), EIO, once ? 1 : 1000);
        {
            const auto batch = take(store->begin());
            ASSERT_TRUE(batch->apply(CreateFile{"refused"}, {}).ok);
            EXPECT_EQ(batch->commit().error().code, Errno::InputOutput);
        }
        EXPECT_TRUE(store->trouble());
        EXPECT_FALSE(exists_in(*store, "refused"));
        // What a part of the record may have left must be erased, or nothing more can be written.
        EXPECT_EQ(store->failure().has_value(), !once);
        failing_file = 0;
        take(store->try_recover());
        EXPECT_FALSE(store->failure());
        EXPECT_EQ(result_of(*store, CreateFile{once ? "after" : "later"}), 0);
        EXPECT_FALSE(store->trouble());
    }
    expect_tree_over_restarts();
    EXPECT_FALSE(exists_in(*store, "refused"));
}

/// LMDB writes pages, and then its head; after a failure of the latter it goes no further.
TEST_F(RecoveryTest, AWriteToTheTreeThatFailsAnywhereIsSurvived) {
    for (const bool head : {false, true, false, true}) {
        SCOPED_TRACE(head);
        auto view = take(store->read());
        fail_writes_to("tree.mdb", EIO);
        if (head) writes_that_pass_bytes = 4096;
        {
            const auto batch = take(store->begin());
            ASSERT_TRUE(batch->apply(CreateFile{"refused"}, {}).ok);
            EXPECT_EQ(batch->commit().error().code, Errno::InputOutput);
        }
        failing_file = 0;
        EXPECT_TRUE(store->trouble());
        EXPECT_FALSE(exists_in(*store, "refused"));
        // Until a reader of before has ended nothing may be written.
        EXPECT_EQ(store->failure().has_value(), head);
        if (head) {
            std::thread reader([&] {
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
                EXPECT_TRUE(view->resolve("before"));
                view.reset();
            });
            take(store->try_recover());
            reader.join();
        }
        EXPECT_FALSE(store->failure());
        EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
        EXPECT_EQ(result_of(*store, Delete{"after"}), 0);
        EXPECT_FALSE(store->trouble());
    }
    expect_tree_over_restarts();
}

/// Without such a reader it goes on at once.
TEST_F(RecoveryTest, AWriteOfTheTreesHeadThatFailsCostsThatChangeAlone) {
    fail_writes_to("tree.mdb", EIO);
    writes_that_pass_bytes = 4096;
    {
        const auto batch = take(store->begin());
        ASSERT_TRUE(batch->apply(CreateFile{"refused"}, {}).ok);
        EXPECT_FALSE(batch->commit());
    }
    failing_file = 0;
    EXPECT_FALSE(store->failure());
    EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    expect_tree_over_restarts();
}

TEST_F(RecoveryTest, ADiskThatGetsFullUnderTheTreeIsOutOfSpace) {
    EXPECT_EQ(result_of(*store, CreateFile{"f"}), 0);
    disk_full = true;
    fail_writes_to("tree.mdb", ENOSPC);
    const auto batch = take(store->begin());
    ASSERT_TRUE(batch->apply(WriteFile{"f", std::string(20000, 'x'), 0, false}, {}).ok);
    EXPECT_EQ(batch->commit().error().code, Errno::NoSpace);
    EXPECT_FALSE(store->failure());
    EXPECT_NE(store->trouble().value_or("").find("space"), std::string::npos);
    failing_file = 0;
    disk_full = false;
    EXPECT_EQ(result_of(*store, WriteFile{"f", std::string(20000, 'x'), 0, false}), 20000);
    EXPECT_FALSE(store->trouble());
    expect_tree_over_restarts();
}

TEST_F(RecoveryTest, ByItselfItComesBackWhenTheCauseIsGone) {
    store->recover_by_itself();
    fail_a_flush();
    flush_error = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (store->failure() && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    EXPECT_FALSE(store->failure());
    EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    expect_tree_over_restarts();
}

TEST_F(RecoveryTest, WithItsFilesRemovedItBeginsThemAnew) {
    for (const auto& name : directory.files("")) {
        if (name != "tree.mdb-lock") std::filesystem::remove(directory.file(name));
    }
    {
        const auto batch = take(store->begin());
        ASSERT_TRUE(batch->apply(CreateFile{"refused"}, {}).ok);
        EXPECT_EQ(batch->commit().error().code, Errno::InputOutput);
    }
    EXPECT_TRUE(store->failure());
    EXPECT_TRUE(exists_in(*store, "before"));
    take(store->try_recover());
    EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    take(store->sync(store->journal_status().appended));
    const std::string expected = checksum_of(*store);
    store.reset();
    store = directory.open();
    EXPECT_EQ(checksum_of(*store), expected);
    EXPECT_EQ(store->start_kind(), StartKind::Rebuilt);
}

TEST_F(RecoveryTest, AnotherDirectoryInItsPlaceIsNotWrittenTo) {
    const std::string away = directory.path() + ".away";
    std::filesystem::rename(directory.path(), away);
    std::filesystem::create_directory(directory.path());
    {
        const auto batch = take(store->begin());
        ASSERT_TRUE(batch->apply(CreateFile{"refused"}, {}).ok);
        EXPECT_FALSE(batch->commit());
    }
    EXPECT_TRUE(store->failure());
    const auto still = store->try_recover();
    ASSERT_FALSE(still);
    EXPECT_NE(still.error().detail.find("not the directory"), std::string::npos);
    EXPECT_TRUE(directory.files("").empty());
    std::filesystem::remove(directory.path());
    std::filesystem::rename(away, directory.path());
    take(store->try_recover());
    EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    expect_tree_over_restarts();
}

TEST_F(RecoveryTest, ADamagedRecordOfTheTreeIsMendedByTheNextStart) {
    const std::string expected = checksum_of(*store);
    store.reset();
    {
        const auto environment = take(
            lmdb::Environment::open({directory.file("tree.mdb"), directory.options.map_bytes}));
        const auto txn = take(lmdb::Transaction::write(*environment));
        take(txn->put(lmdb::Table::Inode, inode_key(InodeNumber(2)), "damaged"));
        take(txn->commit());
    }
    store = directory.open();
    EXPECT_EQ(store->start_kind(), StartKind::Resumed);
    EXPECT_EQ(take(store->read())->inode(InodeNumber(2)).error().code, Errno::Corrupt);
    {
        const auto batch = take(store->begin());
        const Applied applied = batch->apply(WriteFile{"before", "x", 0, false}, {});
        EXPECT_TRUE(applied.broken);
        EXPECT_EQ(applied.error, Errno::Corrupt);
    }
    EXPECT_TRUE(store->failure());
    EXPECT_EQ(store->begin().error().code, Errno::ReadOnly);
    EXPECT_EQ(store->try_recover().error().code, Errno::Corrupt);
    EXPECT_FALSE(store->close());
    store.reset();
    store = directory.open();
    EXPECT_EQ(store->start_kind(), StartKind::Rebuilt);
    EXPECT_EQ(checksum_of(*store), expected);
}

// --- What the next start finds ---

TEST_F(RecoveryTest, EveryFlippedBitOfATreeThatWasLeftCleanIsSeen) {
    for (int i = 0; i < 30; ++i) {
        const std::string name = "f" + std::to_string(i);
        EXPECT_EQ(result_of(*store, CreateFile{name}), 0);
        const std::string content(static_cast<std::size_t>(500 * i), 'x');
        EXPECT_EQ(result_of(*store, WriteFile{name, content, 0, true}), 500 * i);
    }
    const std::string expected = checksum_of(*store);
    take(store->close());
    store = directory.open();
    EXPECT_EQ(store->start_kind(), StartKind::Clean);
    take(store->close());
    store.reset();
    // One in each page, whatever it is: heads, branches, leaves, content, free ones. A rebuilt file may
    // be smaller.
    for (std::size_t at = 100;; at += 4096) {
        SCOPED_TRACE(at);
        std::string bytes = test::read_file(directory.file("tree.mdb"));
        if (at >= bytes.size()) break;
        bytes[at + at / 4096 % 3000] ^= 16;
        test::write_file(directory.file("tree.mdb"), bytes);
        store = directory.open();
        EXPECT_EQ(store->start_kind(), StartKind::Rebuilt);
        ASSERT_EQ(checksum_of(*store), expected);
        take(store->close());
        store.reset();
        EXPECT_TRUE(directory.files("damaged.").empty());
    }
}

TEST_F(RecoveryTest, ATreeThatWasCutShortIsRebuilt) {
    EXPECT_EQ(result_of(*store, CreateFile{"f"}), 0);
    EXPECT_EQ(result_of(*store, WriteFile{"f", std::string(300000, 'x'), 0, false}), 300000);
    const std::string expected = checksum_of(*store);
    for (const bool clean : {true, false}) {
        SCOPED_TRACE(clean);
        if (clean) take(store->close());
        store.reset();
        std::filesystem::resize_file(directory.file("tree.mdb"), 5 * 4096);
        EXPECT_NE(directory.findings().find("cut short"), std::string::npos);
        store = directory.open();
        EXPECT_EQ(store->start_kind(), StartKind::Rebuilt);
        EXPECT_EQ(checksum_of(*store), expected);
    }
}

TEST_F(RecoveryTest, ADamagedJournalBesideATrustedTreeLosesNothing) {
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(result_of(*store, CreateFile{"f" + std::to_string(i)}), 0);
        take(store->sync(store->journal_status().appended));
    }
    const std::string expected = checksum_of(*store);
    const std::string segment = directory.file(directory.files("journal.").back());
    const std::string state = test::read_file(directory.file("state"));
    const std::string whole = test::read_file(segment);
    store.reset();
    const std::string tree = test::read_file(directory.file("tree.mdb"));
    for (const std::size_t at : {30UL, 100UL, 200UL}) {
        SCOPED_TRACE(at);
        for (const auto& name : directory.files("")) std::filesystem::remove(directory.file(name));
        std::string bytes = whole;
        bytes[at] ^= 1;
        test::write_file(segment, bytes);
        test::write_file(directory.file("tree.mdb"), tree);
        test::write_file(directory.file("state"), state);
        // Without the tree nothing is guessed, and nothing is changed.
        directory.pretend_power_cut();
        EXPECT_FALSE(directory.try_open());
        EXPECT_EQ(test::read_file(segment), bytes);
        test::write_file(directory.file("tree.mdb"), tree);
        test::write_file(directory.file("state"), state);
        store = directory.open();
        EXPECT_EQ(store->start_kind(), StartKind::Resumed);
        EXPECT_EQ(checksum_of(*store), expected);
        EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
        take(store->sync(store->journal_status().appended));
        EXPECT_EQ(test::read_file(segment), bytes) << "the evidence is gone";
        store.reset();
        directory.pretend_power_cut();
        EXPECT_TRUE(exists_in(*directory.open(), "after"));
    }
}

TEST_F(RecoveryTest, ADamagedSnapshotIsPutAsideAndReplaced) {
    take(store->write_snapshot());
    EXPECT_EQ(result_of(*store, CreateFile{"f"}), 0);
    take(store->write_snapshot());
    const std::string expected = checksum_of(*store);
    store.reset();
    const auto snapshots = directory.files("snapshot.");
    ASSERT_EQ(snapshots.size(), 2U);
    std::string bytes = test::read_file(directory.file(snapshots[1]));
    bytes[bytes.size() / 2] ^= 1;
    test::write_file(directory.file(snapshots[1]), bytes);
    directory.pretend_power_cut();
    store = directory.open();
    EXPECT_EQ(checksum_of(*store), expected);
    EXPECT_EQ(test::read_file(directory.file("damaged." + snapshots[1])), bytes);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (directory.files("snapshot.") != snapshots &&
           std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    store.reset();
    EXPECT_EQ(directory.findings(), "");
}

/// Removing needs pages too: of those the map must not run out.
TEST_F(RecoveryTest, FromAMapThatIsFullToTheBrimEverythingCanBeRemoved) {
    store.reset();
    directory.options.map_bytes = 2ULL << 20;
    store = directory.open();
    std::vector<std::string> names;
    for (const std::size_t bytes : {100000UL, 20000UL, 3000UL, 900UL, 0UL}) {
        for (int i = 0;; ++i) {
            const std::string name = std::to_string(bytes) + "-" + std::to_string(i);
            if (!apply_alone(*store, CreateFile{name}).ok) break;
            names.push_back(name);
            if (bytes == 0) continue;
            const WriteFile write{name, std::string(bytes, 'x'), 0, false};
            if (!apply_alone(*store, write).ok) break;
        }
    }
    EXPECT_TRUE(store->trouble());
    for (const std::string& name : names) {
        ASSERT_EQ(result_of(*store, Delete{name}), 0) << name;
    }
    EXPECT_FALSE(store->trouble());
    EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    expect_tree_over_restarts();
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
