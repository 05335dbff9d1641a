// SPDX-License-Identifier: Apache-2.0
#include "store/journal.h"

#include <thread>

#include <gtest/gtest.h>

#include "store/journal_record.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::store {
namespace {

using test::take;
using Payloads = std::vector<std::string>;

class JournalTest : public testing::Test {
protected:
    JournalTest() {
        options.directory = directory.path();
        options.store_id = 77;
        options.segment_bytes = 4096;
    }
    std::unique_ptr<Journal> open() const { return take(Journal::open(options, null_logger())); }
    static void append(Journal& journal, const std::string& payload) {
        journal.add(payload);
        take(journal.write());
    }
    static Payloads read(const Journal& journal, std::uint64_t after = 0) {
        Payloads payloads;
        std::uint64_t expected = after;
        take(journal.read(Sequence(after), [&](Sequence sequence, std::string_view payload) {
            EXPECT_EQ(sequence.value(), ++expected);
            payloads.emplace_back(payload);
            return Status();
        }));
        return payloads;
    }
    std::string segment(std::uint64_t number) const {
        return Journal::segment_path(directory.path(), number);
    }

    test::TempDirectory directory;
    JournalOptions options;
};

TEST_F(JournalTest, RecordsComeBackInOrder) {
    {
        const auto journal = open();
        EXPECT_EQ(journal->next_sequence(), Sequence(1));
        EXPECT_EQ(journal->add("one"), Sequence(1));
        EXPECT_EQ(journal->add(""), Sequence(2));
        EXPECT_EQ(journal->appended(), Sequence(0));
        take(journal->write());
        EXPECT_EQ(journal->appended(), Sequence(2));
        append(*journal, std::string("\0three", 6));
        EXPECT_EQ(read(*journal), (Payloads{"one", "", std::string("\0three", 6)}));
        EXPECT_EQ(read(*journal, 2), Payloads{std::string("\0three", 6)});
        EXPECT_EQ(read(*journal, 3), Payloads{});
        EXPECT_EQ(journal->synced(), Sequence(0));
        EXPECT_EQ(take(journal->sync()), Sequence(3));
        EXPECT_EQ(journal->synced(), Sequence(3));
    }
    const auto journal = open();
    EXPECT_EQ(journal->appended(), Sequence(3));
    append(*journal, "four");
    EXPECT_EQ(read(*journal).size(), 4U);
}

TEST_F(JournalTest, DiscardedRecordsLeaveNoGap) {
    const auto journal = open();
    append(*journal, "one");
    journal->add("never");
    journal->discard();
    take(journal->write());
    append(*journal, "two");
    EXPECT_EQ(read(*journal), (Payloads{"one", "two"}));
}

TEST_F(JournalTest, ManySegments) {
    Payloads expected;
    {
        const auto journal = open();
        for (int i = 0; i < 50; ++i) {
            expected.emplace_back(static_cast<std::size_t>(i * 37 % 900),
                                  static_cast<char>('a' + i % 26));
            append(*journal, expected.back());
            if (journal->spare_wanted()) take(journal->prepare_spare());
        }
        EXPECT_GT(journal->segment_count(), 3U);
        EXPECT_EQ(read(*journal), expected);
        EXPECT_EQ(read(*journal, 40), Payloads(expected.begin() + 40, expected.end()));
    }
    EXPECT_EQ(read(*open()), expected);
    EXPECT_EQ(std::filesystem::file_size(segment(2)), 4096U);
}

TEST_F(JournalTest, ASegmentIsFilledToItsLastByte) {
    const std::string exact(4096 - 64 - 20, 'x');
    {
        const auto journal = open();
        append(*journal, exact);
        EXPECT_EQ(journal->segment_count(), 1U);
        append(*journal, "next");
        EXPECT_EQ(journal->segment_count(), 2U);
    }
    EXPECT_EQ(read(*open()), (Payloads{exact, "next"}));
}

TEST_F(JournalTest, ABatchLiesInOneSegment) {
    const auto journal = open();
    append(*journal, std::string(3000, 'a'));
    journal->add(std::string(600, 'b'));
    journal->add(std::string(600, 'c'));
    take(journal->write());
    EXPECT_EQ(take(Journal::scan_segment(directory.path(), 1, 77, nullptr)).records, 1U);
    EXPECT_EQ(take(Journal::scan_segment(directory.path(), 2, 77, nullptr)).records, 2U);
    // One that no segment holds gets one of its own.
    append(*journal, std::string(100000, 'd'));
    append(*journal, "e");
    EXPECT_EQ(read(*journal).size(), 5U);
    EXPECT_EQ(read(*open()).size(), 5U);
}

TEST_F(JournalTest, UndoneRecordsDoNotComeBack) {
    {
        const auto journal = open();
        append(*journal, "one");
        journal->add("first");
        journal->add("second");
        take(journal->write());
        take(journal->undo_write());
        EXPECT_EQ(journal->appended(), Sequence(1));
        EXPECT_EQ(read(*journal), Payloads{"one"});
        // The first of the two again, the same to the byte: the second stays dead.
        append(*journal, "first");
        EXPECT_EQ(read(*journal), (Payloads{"one", "first"}));
    }
    EXPECT_EQ(read(*open()), (Payloads{"one", "first"}));
}

TEST_F(JournalTest, UndoBehindAFlush) {
    const auto journal = open();
    append(*journal, "one");
    take(journal->sync());
    append(*journal, "two");
    take(journal->sync());
    take(journal->undo_write());
    EXPECT_EQ(journal->synced(), Sequence(1));
    append(*journal, "other");
    EXPECT_EQ(read(*journal), (Payloads{"one", "other"}));
}

TEST_F(JournalTest, ForeignSegmentsAreRefusedAndLeftAlone) {
    append(*open(), "one");
    options.store_id = 78;
    const auto journal = Journal::open(options, null_logger());
    ASSERT_FALSE(journal);
    EXPECT_EQ(journal.error().code, Errno::Corrupt);
    EXPECT_NE(journal.error().detail.find("another store"), std::string::npos);
    options.store_id = 77;
    // One that was copied to the wrong place.
    std::filesystem::copy_file(segment(1), segment(2));
    EXPECT_FALSE(Journal::open(options, null_logger()));
    std::filesystem::remove(segment(2));
    EXPECT_EQ(read(*open()), Payloads{"one"});
}

TEST_F(JournalTest, AnUnknownFormatIsRefused) {
    append(*open(), "one");
    std::string bytes = test::read_file(segment(1));
    bytes[0] = 'X';
    test::write_file(segment(1), bytes);
    const auto journal = Journal::open(options, null_logger());
    ASSERT_FALSE(journal);
    EXPECT_NE(journal.error().detail.find(segment(1)), std::string::npos);
}

TEST_F(JournalTest, EveryDamagedByteOfARecordIsFound) {
    {
        const auto journal = open();
        append(*journal, "one");
        append(*journal, "two");
    }
    const std::string whole = test::read_file(segment(1));
    for (std::size_t at = 64; at < 64 + 2 * 23; ++at) {
        for (const char bit : {'\x01', '\x80'}) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ bit);
            test::write_file(segment(1), damaged);
            const auto info = take(Journal::scan_segment(directory.path(), 1, 77, nullptr));
            EXPECT_EQ(info.records, at < 64 + 23 ? 0U : 1U) << at;
            EXPECT_TRUE(info.torn) << at;
        }
    }
    // And of the header, all of which counts.
    for (std::size_t at = 0; at < 64; ++at) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 1);
        test::write_file(segment(1), damaged);
        EXPECT_FALSE(Journal::scan_segment(directory.path(), 1, 77, nullptr)) << at;
    }
}

/// The zeros behind the last record are left out in blocks of 64 KiB when a segment is read; the
/// last record may end with such ones itself.
TEST_F(JournalTest, RecordsThatEndWithZeros) {
    constexpr std::size_t kBlock = 64U << 10U;
    options.segment_bytes = 6 * kBlock;
    // The second record begins so many bytes before the end of a block: with its header there, behind
    // it, or cut anywhere.
    for (std::size_t before = 0; before <= 44; ++before) {
        SCOPED_TRACE(before);
        std::filesystem::remove_all(segment(1));
        const std::string first(kBlock - 64 - 20 - before, 'x');
        for (const std::size_t zeros : {kBlock, 2 * kBlock + 77}) {
            const Payloads payloads{first, std::string(zeros, '\0')};
            std::filesystem::remove(segment(1));
            {
                const auto journal = open();
                for (const auto& payload : payloads) append(*journal, payload);
                take(journal->sync());
            }
            const auto journal = open();
            EXPECT_EQ(journal->appended(), Sequence(2));
            EXPECT_TRUE(read(*journal) == payloads);
            append(*journal, "behind");
            EXPECT_EQ(read(*open(), 2), Payloads{"behind"});
        }
    }
}

TEST_F(JournalTest, ZerosBehindDamageAreLookedAtToo) {
    constexpr std::size_t kBlock = 64U << 10U;
    options.segment_bytes = 8 * kBlock;
    {
        const auto journal = open();
        for (int i = 0; i < 3; ++i) {
            append(*journal, std::string(kBlock, '\0'));
            take(journal->sync());
        }
    }
    std::string bytes = test::read_file(segment(1));
    bytes[64 + 20 + 5] = 1;  // of the first; only the last one tells that the second was flushed
    test::write_file(segment(1), bytes);
    const auto info = take(Journal::scan_segment(directory.path(), 1, 77, nullptr));
    EXPECT_EQ(info.records, 0U);
    EXPECT_EQ(info.file_bytes, 8 * kBlock);
    EXPECT_TRUE(info.torn);
    EXPECT_TRUE(info.damaged);
}

/// A torn write and a record that went bad look alike, but for what was written behind it.
TEST_F(JournalTest, ADamagedRecordThatHadBeenFlushedIsNoTornWrite) {
    {
        const auto journal = open();
        for (const char* payload : {"one", "two", "tri", "for"}) {
            append(*journal, payload);
            take(journal->sync());
        }
    }
    const std::string whole = test::read_file(segment(1));
    for (std::size_t at = 64; at < 64 + 4 * 23; ++at) {
        SCOPED_TRACE(at);
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 4);
        test::write_file(segment(1), damaged);
        const std::size_t record = (at - 64) / 23;
        const auto info = take(Journal::scan_segment(directory.path(), 1, 77, nullptr));
        EXPECT_EQ(info.records, record);
        // Of the last one nothing tells. Of the last but one only if its own header is good.
        const bool header = (at - 64) % 23 < 20;
        if (record != 2 || !header) {
            EXPECT_EQ(info.damaged, record < 3);
        }
        const auto journal = Journal::open(options, null_logger());
        EXPECT_EQ(journal.has_value(), !info.damaged);
        if (journal) continue;
        EXPECT_EQ(test::read_file(segment(1)), damaged) << "the evidence is gone";
    }
    // What is known to have been written is not torn either, flushed or not.
    std::string damaged = whole;
    damaged[64 + 4 * 23 - 1] ^= 1;
    test::write_file(segment(1), damaged);
    options.at_least = Sequence(4);
    EXPECT_FALSE(Journal::open(options, null_logger()));
    options.at_least = Sequence(3);
    EXPECT_TRUE(Journal::open(options, null_logger()));
}

TEST_F(JournalTest, RecordsThatWereNotFlushedProveNothing) {
    {
        const auto journal = open();
        append(*journal, "one");
        take(journal->sync());
        for (const char* payload : {"two", "tri", "for"}) append(*journal, payload);
    }
    std::string bytes = test::read_file(segment(1));
    bytes[64 + 23 + 23 + 21] ^= 1;  // "tri": two marks the flush of one, and nothing that of two
    test::write_file(segment(1), bytes);
    EXPECT_EQ(read(*open()), (Payloads{"one", "two"}));
}

TEST_F(JournalTest, ItGoesOnBehindWhatCannotBeRead) {
    for (int i = 0; i < 3; ++i) append(*open(), std::string(3000, 'x'));
    std::string bytes = test::read_file(segment(2));
    bytes[20] ^= 1;
    test::write_file(segment(2), bytes);
    EXPECT_EQ(open()->segment_count(), 2U) << "whether it is needed shows when records are read";
    {
        const auto journal = take(Journal::open_behind(options, Sequence(7), null_logger()));
        EXPECT_EQ(journal->appended(), Sequence(7));
        append(*journal, "next");
        EXPECT_EQ(read(*journal, 7), Payloads{"next"});
        EXPECT_EQ(journal->segment_count(), 3U);
    }
    EXPECT_EQ(test::read_file(segment(2)), bytes);
    options.store_id = 78;
    EXPECT_FALSE(Journal::open_behind(options, Sequence(7), null_logger()));
}

TEST_F(JournalTest, AJournalThatHasGoneFromItsPlaceIsNotWrittenTo) {
    for (const bool replaced : {false, true}) {
        const auto journal = open();
        append(*journal, "one");
        const Sequence before = journal->appended();
        std::filesystem::rename(segment(1), segment(1) + ".away");
        if (replaced) test::write_file(segment(1), "another");
        journal->add("two");
        const auto written = journal->write();
        ASSERT_FALSE(written);
        EXPECT_EQ(written.error().code, Errno::InputOutput);
        EXPECT_TRUE(journal->failed());
        EXPECT_EQ(journal->appended(), before);
        std::filesystem::rename(segment(1) + ".away", segment(1));
    }
}

TEST_F(JournalTest, ARecordOfAnotherChainDoesNotFollow) {
    const auto records_of = [&](const std::string& first) {
        std::filesystem::remove(segment(1));
        const auto journal = open();
        append(*journal, first);
        append(*journal, "second");
        return test::read_file(segment(1));
    };
    const std::string stale = records_of("one");
    std::string bytes = records_of("two");
    const std::size_t second = 64 + 20 + 3;
    bytes.replace(second, 26, stale.substr(second, 26));
    test::write_file(segment(1), bytes);
    EXPECT_EQ(take(Journal::scan_segment(directory.path(), 1, 77, nullptr)).records, 1U);
}

TEST_F(JournalTest, PruneKeepsWhatIsNeeded) {
    const auto journal = open();
    for (int i = 0; i < 10; ++i) append(*journal, std::string(3000, 'x'));
    ASSERT_EQ(journal->segment_count(), 10U);
    take(journal->prune(Sequence(0), 0, INT64_MAX));
    EXPECT_EQ(journal->segment_count(), 10U) << "needed behind record 0";
    take(journal->prune(Sequence(4), 0, INT64_MIN));
    EXPECT_EQ(journal->segment_count(), 6U);
    EXPECT_EQ(read(*journal, 4).size(), 6U);
    take(journal->prune(Sequence(10), 4 * 4096, INT64_MIN));
    EXPECT_EQ(journal->segment_count(), 4U) << "bytes to keep";
    take(journal->prune(Sequence(10), UINT64_MAX, INT64_MAX));
    EXPECT_EQ(journal->segment_count(), 1U) << "the one that is written stays";
    EXPECT_EQ(take(Journal::segment_numbers(directory.path())), std::vector<std::uint64_t>{10});
    append(*journal, "next");
    EXPECT_EQ(open()->appended(), Sequence(11));
}

TEST_F(JournalTest, FlushesRunBesideTheWriter) {
    const auto journal = open();
    std::atomic<bool> stop{false};
    std::thread flusher([&] {
        while (!stop) {
            const Sequence before = journal->appended();
            EXPECT_GE(take(journal->sync()), before);
        }
    });
    for (int i = 0; i < 100; ++i) append(*journal, std::string(500, 'x'));
    stop = true;
    flusher.join();
    EXPECT_EQ(read(*journal).size(), 100U);
}

// --- Records ---

std::vector<Operation> one_of_each() {
    Unlock unlock{"priv/lock/l", {}};
    for (std::size_t i = 0; i < unlock.checksum.size(); ++i) {
        unlock.checksum[i] = static_cast<unsigned char>(i * 9);
    }
    return {CreateFile{"a"},
            WriteFile{"a",
                      std::string("\0\xff"
                                  "data",
                                  6),
                      UINT32_MAX, true},
            WriteFile{"", "", 0, false},
            MakeDirectory{"d"},
            Delete{"d"},
            Rename{"a", "b"},
            SetMtime{"b", UINT32_MAX},
            unlock};
}

TEST(JournalRecordTest, EveryOperationComesBack) {
    for (const Operation& operation : one_of_each()) {
        const JournalRecord record{Version(1ULL << 40), {NodeId(9), 1700000000}, operation};
        const std::string bytes = encode_journal_record(record);
        const JournalRecord decoded = take(decode_journal_record(bytes));
        EXPECT_EQ(decoded.version, record.version);
        EXPECT_EQ(decoded.stamp.node, record.stamp.node);
        EXPECT_EQ(decoded.stamp.time, record.stamp.time);
        EXPECT_EQ(decoded.operation.index(), operation.index());
        EXPECT_EQ(encode_journal_record(decoded), bytes);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            const auto cut = decode_journal_record(std::string_view(bytes).substr(0, size));
            ASSERT_FALSE(cut) << size;
            EXPECT_EQ(cut.error().code, Errno::BadMessage);
        }
        EXPECT_FALSE(decode_journal_record(bytes + "x"));
    }
}

TEST(JournalRecordTest, ANoteComesBackWithItsOperation) {
    const JournalRecord record{
        Version(7), {NodeId(1), 9}, Rename{"a", "b"}, std::string("n\0te", 4)};
    const std::string bytes = encode_journal_record(record);
    const JournalRecord decoded = take(decode_journal_record(bytes));
    EXPECT_EQ(decoded.note, record.note);
    EXPECT_EQ(std::get<Rename>(decoded.operation).target, "b");
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode_journal_record(std::string_view(bytes).substr(0, size))) << size;
    }
    EXPECT_FALSE(decode_journal_record(bytes + "x"));
}

TEST(JournalRecordTest, UnknownKindsAreRefused) {
    std::string bytes = encode_journal_record({Version(1), {}, CreateFile{"a"}});
    for (const std::size_t at : {0UL, 17UL}) {
        for (const char value : {'\0', '\x09', '\xff'}) {
            std::string other = bytes;
            other[at] = value;
            EXPECT_FALSE(decode_journal_record(other)) << at;
        }
    }
}

}  // namespace
}  // namespace cfsgate::store
