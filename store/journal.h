// SPDX-License-Identifier: Apache-2.0
// The append-only record of what was applied: what makes a change durable, and the history.
//
// Segments `journal.<number>` of a fixed size, zeroed ahead, overwritten in place. A segment starts
// with a header of 64 bytes; records follow each other without gaps:
//   u32 magic | u32 payload length | u64 sequence | u32 CRC32C | payload
// The CRC covers the previous record's CRC (the header's for the first), length, sequence and
// payload. So a record left from an older, torn write never continues a newer one. There are two
// magic numbers: one says that everything before this record had been flushed when it was written.
// So a damaged record with such a one behind it is no torn write: it was good once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/log.h"
#include "store/base/mutex.h"
#include "store/base/result.h"
#include "store/base/unique_fd.h"
#include "store/file_io.h"
#include "store/store.h"

namespace cfsgate::store {

struct JournalOptions {
    std::string directory;
    std::uint64_t store_id = 0;
    std::uint64_t segment_bytes = 0;
    /// The last record that is known to have been written.
    Sequence at_least;
};

/// What a scan of one segment found.
struct SegmentInfo {
    std::uint64_t number = 0;
    Sequence first;  ///< sequence of its first record
    std::uint64_t records = 0;
    std::uint64_t end = 0;  ///< offset behind the last good record
    std::uint32_t last_crc = 0;
    std::uint64_t file_bytes = 0;
    bool torn = false;     ///< bytes that are no record follow the last good one
    bool damaged = false;  ///< among them is a record that had been flushed
};

using RecordSink = std::function<Status(Sequence, std::string_view payload)>;

/// Threads: add(), discard(), write() and go_on_after() belong to the one writer; sync() and the
/// rest to any.
class Journal {
public:
    /// Finds the end of the last segment, or begins the first. Errors: Corrupt, where a segment in
    /// the middle is damaged or missing, or belongs to another store, or where records are missing
    /// at the end that are known to have been there. Nothing is changed then.
    static Result<std::unique_ptr<Journal>> open(JournalOptions options, Logger log);
    /// Begins a new segment behind record `last`, which a snapshot holds, and leaves the others as
    /// they are, damaged or not. Errors: Corrupt, where one belongs to another store.
    static Result<std::unique_ptr<Journal>> open_behind(JournalOptions options, Sequence last,
                                                        Logger log);

    /// Names of the segment files of a directory, in order.
    static Result<std::vector<std::uint64_t>> segment_numbers(const std::string& directory);
    static std::string segment_path(const std::string& directory, std::uint64_t number);
    /// The first record's number, as its header has it. Errors: Corrupt.
    static Result<Sequence> first_of_segment(const std::string& directory, std::uint64_t number);
    /// The store that a segment belongs to, as its header has it. Errors: Corrupt.
    static Result<std::uint64_t> store_of_segment(const std::string& directory,
                                                  std::uint64_t number);
    /// Makes a segment without records; durable when it returns. For a journal that is not open.
    static Status make_segment(const JournalOptions& options, std::uint64_t number, Sequence first);
    /// Reads one segment; `sink` gets each good record. Errors: Corrupt for a bad header; those of
    /// the sink.
    static Result<SegmentInfo> scan_segment(const std::string& directory, std::uint64_t number,
                                            std::uint64_t store_id, const RecordSink& sink);

    /// The same for a file's bytes; `path` is for messages.
    static Result<SegmentInfo> scan_bytes(std::string_view bytes, const std::string& path,
                                          std::uint64_t number, std::uint64_t store_id,
                                          const RecordSink& sink);

    // --- Of a directory's files alone, also while another object appends to them ---

    struct SegmentRange {
        std::uint64_t number = 0;
        Sequence first;  ///< its first record
        Sequence end;  ///< where the next segment begins; what is there in this one does not count
        std::uint64_t file_bytes = 0;
    };
    /// In order. What has no good header is left out: it is damaged, or is only being begun. Errors:
    /// NotFound for one that goes away meanwhile.
    static Result<std::vector<SegmentRange>> segment_ranges(const std::string& directory);
    /// Every record behind `after` and up to `upto`, in order.
    static Status read_directory(const std::string& directory, std::uint64_t store_id,
                                 Sequence after, Sequence upto, const RecordSink& sink);
    /// What a segment that is not written any more would be with other payloads: a whole file with
    /// the same records in the same order, and zeros behind them. Nothing where that is what is
    /// there. `change` gets each record that counts and returns what it is to be.
    using PayloadChange = std::function<Result<std::string>(Sequence, std::string_view payload)>;
    static Result<std::optional<std::string>> change_segment(const std::string& directory,
                                                             const SegmentRange& segment,
                                                             std::uint64_t store_id,
                                                             const PayloadChange& change);

    /// The number that the next add() gets.
    Sequence next_sequence() const { return Sequence(next_); }
    /// Collects a record for the next write().
    Sequence add(std::string_view payload);
    void discard();
    /// Appends what was collected with one write. Where it fails nothing of it counts.
    Status write();

    /// Takes the last write() back, as far as later starts are concerned.
    Status undo_write() CFSGATE_EXCLUDES(mutex_);

    /// Puts everything written so far on stable storage and returns its last sequence. A failure
    /// is final: the kernel may have dropped what it could not write.
    Result<Sequence> sync();

    /// A flush has failed, or what a write left could not be erased, or the file is gone from its
    /// directory: nothing more is written.
    bool failed() const { return sync_failed_.load(); }
    /// Begins a new segment, whose first record follows `last`, which is not before the last one
    /// that counts. Everything up to there is held by a snapshot, and so is on stable storage;
    /// after a failure this is the way back, and the old segment is never written or flushed again.
    Status go_on_after(Sequence last) CFSGATE_EXCLUDES(mutex_);

    Sequence appended() const { return Sequence(appended_.load(std::memory_order_acquire)); }
    Sequence synced() const { return Sequence(synced_.load(std::memory_order_acquire)); }
    std::uint64_t bytes_written() const { return bytes_written_.load(std::memory_order_relaxed); }
    std::uint64_t segment_count() const CFSGATE_EXCLUDES(mutex_);

    /// Every record behind `after`, in order. Where a segment was gone on from before its end, what
    /// follows there does not count. Errors: Corrupt, those of the sink.
    Status read(Sequence after, const RecordSink& sink) const;
    /// Makes the file that the next segment will use. Slow; for a background thread.
    Status prepare_spare();
    bool spare_wanted() const { return spare_wanted_.load(std::memory_order_relaxed); }
    /// Removes the oldest segments that lie wholly before `upto`, until `keep_bytes` remain, and
    /// those last written before `oldest_time`.
    Status prune(Sequence upto, std::uint64_t keep_bytes, std::int64_t oldest_time);

private:
    explicit Journal(JournalOptions options, Logger log)
        : options_(std::move(options)), log_(std::move(log)) {}
    Status begin_segment(std::uint64_t number, std::uint64_t bytes_min);
    Status adopt(const std::vector<std::uint64_t>& numbers);
    Status adopt_last(const SparseBytes& segment);
    Status note_segments(const std::vector<std::uint64_t>& numbers);
    Status check_place();

    JournalOptions options_;
    Logger log_;
    // The writer's own.
    std::string pending_;
    std::uint64_t next_ = 1;
    std::uint64_t committed_next_ = 1;
    struct End {
        std::uint64_t offset = 0;
        std::uint32_t crc = 0;
        std::uint64_t next = 1;
    };
    Status erase(std::uint64_t from, std::uint64_t to);
    std::uint64_t offset_ = 0;
    std::uint64_t size_ = 0;
    std::uint32_t crc_ = 0;
    std::uint64_t number_ = 0;
    std::string path_;  ///< of the segment that is written
    FileId file_id_;
    End before_write_;

    mutable Mutex mutex_;
    std::shared_ptr<UniqueFd> file_ CFSGATE_GUARDED_BY(mutex_);
    std::uint64_t given_up_ CFSGATE_GUARDED_BY(mutex_) = 0;  ///< how often go_on_after() was called
    std::vector<SegmentInfo> segments_ CFSGATE_GUARDED_BY(mutex_);  ///< number and first only
    std::atomic<std::uint64_t> appended_{0};
    std::atomic<std::uint64_t> synced_{0};
    std::atomic<std::uint64_t> bytes_written_{0};
    std::atomic<bool> spare_wanted_{true};
    std::atomic<bool> sync_failed_{false};
};

}  // namespace cfsgate::store
