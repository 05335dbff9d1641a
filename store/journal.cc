// SPDX-License-Identifier: Apache-2.0
#include "store/journal.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "store/base/bytes.h"
#include "store/base/check.h"
#include "store/base/crc32c.h"
#include "store/file_io.h"

namespace cfsgate::store {
namespace {

constexpr std::string_view kMagic = "cfsgate journal\n";  // 16 bytes
constexpr std::uint32_t kFormat = 1;
constexpr std::uint32_t kRecordMagic = 0x4a736663;   // "cfsJ"
constexpr std::uint32_t kFlushedMagic = 0x53736663;  // "cfsS": all before it had been flushed
constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kRecordHeaderBytes = 20;
constexpr std::string_view kPrefix = "journal.";
constexpr std::string_view kSpareName = "spare.journal";

std::uint32_t record_crc(std::uint32_t previous, std::uint64_t sequence, std::string_view payload) {
    ByteWriter head;
    head.put(previous);
    head.put(static_cast<std::uint32_t>(payload.size()));
    head.put(sequence);
    Crc32c crc;
    crc.add(head.bytes());
    crc.add(payload);
    return crc.value();
}

std::string encode_header(std::uint64_t store_id, std::uint64_t number, std::uint64_t first) {
    ByteWriter out;
    out.put_bytes(kMagic);
    out.put(kFormat);
    out.put(std::uint32_t{0});
    out.put(store_id);
    out.put(number);
    out.put(first);
    std::string bytes = out.take();
    bytes.resize(kHeaderBytes - 4);
    const std::uint32_t crc = Crc32c::of(bytes);
    ByteWriter tail;
    tail.put(crc);
    return bytes + tail.bytes();
}

bool is_record_magic(std::uint32_t magic) {
    return magic == kRecordMagic || magic == kFlushedMagic;
}

struct RawRecord {
    std::uint32_t magic = 0;
    std::uint64_t sequence = 0;
    std::uint32_t crc = 0;
    std::string_view payload;

    bool follows(std::uint32_t previous_crc) const {
        return crc == record_crc(previous_crc, sequence, payload);
    }
};

std::optional<RawRecord> take_record(ByteReader& in) {
    RawRecord record;
    record.magic = in.take<std::uint32_t>();
    const auto size = in.take<std::uint32_t>();
    record.sequence = in.take<std::uint64_t>();
    record.crc = in.take<std::uint32_t>();
    record.payload = in.take_bytes(size);
    if (in.failed() || !is_record_magic(record.magic)) return {};
    return record;
}

/// Whether a good record in `rest` says that the one numbered `damaged` had been flushed. What is in
/// front of a record says whether it is good, so two in a row are looked for, and the second counts;
/// the first may be the damaged one. Only after an accident, so it need not be fast.
bool tells_of_a_flush(std::string_view rest, std::uint64_t damaged) {
    for (std::size_t at = rest.find("cfs"); at != std::string_view::npos;
         at = rest.find("cfs", at + 1)) {
        ByteReader in(rest.substr(at));
        const auto first = take_record(in);
        if (!first || first->sequence < damaged) continue;
        const auto second = take_record(in);
        if (second && second->magic == kFlushedMagic && second->sequence == first->sequence + 1 &&
            second->follows(first->crc)) {
            return true;
        }
    }
    return false;
}

struct Header {
    std::uint64_t store_id = 0;
    std::uint64_t number = 0;
    std::uint64_t first = 0;
    std::uint32_t crc = 0;
};

Result<Header> decode_header(std::string_view bytes, const std::string& path) {
    ByteReader in(bytes.substr(0, kHeaderBytes));
    const std::string_view magic = in.take_bytes(kMagic.size());
    const auto format = in.take<std::uint32_t>();
    in.take<std::uint32_t>();
    Header header;
    header.store_id = in.take<std::uint64_t>();
    header.number = in.take<std::uint64_t>();
    header.first = in.take<std::uint64_t>();
    if (in.failed() || bytes.size() < kHeaderBytes || magic != kMagic) {
        return fail(Errno::Corrupt, path + ": no journal segment");
    }
    ByteReader tail(bytes.substr(kHeaderBytes - 4, 4));
    header.crc = tail.take<std::uint32_t>();
    if (header.crc != Crc32c::of(bytes.substr(0, kHeaderBytes - 4))) {
        return fail(Errno::Corrupt, path + ": the segment's header is damaged");
    }
    if (format != kFormat) {
        return fail(Errno::Corrupt,
                    path + ": journal format " + std::to_string(format) + " is not known");
    }
    return header;
}

/// Where the good records end. Those at the end may reach into the zeros that were left out, which
/// are put back.
std::size_t end_of_records(SparseBytes& segment, const Header& header) {
    std::size_t end = kHeaderBytes;
    std::uint32_t crc = header.crc;
    for (std::uint64_t expected = header.first;; ++expected) {
        const auto put_back = [&](std::size_t size) {
            segment.bytes.resize(
                std::max(segment.bytes.size(), std::min<std::size_t>(segment.size, size)), '\0');
        };
        put_back(end + kRecordHeaderBytes);
        ByteReader sizes(std::string_view(segment.bytes).substr(end));
        sizes.take<std::uint32_t>();
        const auto payload_bytes = sizes.take<std::uint32_t>();
        if (payload_bytes > segment.size - end) return end;
        put_back(end + kRecordHeaderBytes + payload_bytes);
        ByteReader in(std::string_view(segment.bytes).substr(end));
        const auto record = take_record(in);
        if (!record || record->sequence != expected || !record->follows(crc)) return end;
        crc = record->crc;
        end += kRecordHeaderBytes + payload_bytes;
    }
}

/// Without the zeros behind its records, which are most of it: memory that is touched costs more than
/// reading. Whole, where anything else stands there.
Result<SparseBytes> read_segment(const std::string& path) {
    SparseBytes segment = CFSGATE_TRY(read_sparse_file(path));
    if (const auto header = decode_header(segment.bytes, path)) {
        const std::size_t end = end_of_records(segment, *header);
        if (all_zero(std::string_view(segment.bytes).substr(end))) return segment;
    }
    segment.bytes.resize(segment.size, '\0');
    return segment;
}

std::uint64_t file_bytes(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

Result<UniqueFd> make_zeroed(const std::string& path, std::uint64_t bytes) {
    UniqueFd fd = CFSGATE_TRY(open_file(path, O_RDWR | O_CREAT | O_TRUNC));
    const std::string zeros(1 << 20, '\0');
    for (std::uint64_t at = 0; at < bytes; at += zeros.size()) {
        const auto count = std::min<std::uint64_t>(zeros.size(), bytes - at);
        CFSGATE_TRY(write_all(fd.get(), std::string_view(zeros).substr(0, count), at, path));
    }
    CFSGATE_TRY(sync_data(fd.get(), path));
    return fd;
}

}  // namespace

std::string Journal::segment_path(const std::string& directory, std::uint64_t number) {
    std::string digits = std::to_string(number);
    digits.insert(0, 12 - std::min<std::size_t>(12, digits.size()), '0');
    return directory + "/" + std::string(kPrefix) + digits;
}

Result<std::vector<std::uint64_t>> Journal::segment_numbers(const std::string& directory) {
    std::vector<std::uint64_t> numbers;
    for (const std::string& name : CFSGATE_TRY(list_files(directory, kPrefix))) {
        std::uint64_t number = 0;
        const char* begin = name.data() + kPrefix.size();
        const char* end = name.data() + name.size();
        const auto parsed = std::from_chars(begin, end, number);
        if (parsed.ec == std::errc() && parsed.ptr == end) numbers.push_back(number);
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

Result<Sequence> Journal::first_of_segment(const std::string& directory, std::uint64_t number) {
    const std::string path = segment_path(directory, number);
    const std::string bytes = CFSGATE_TRY(read_file(path, kHeaderBytes));
    return Sequence(CFSGATE_TRY(decode_header(bytes, path)).first);
}

Result<std::uint64_t> Journal::store_of_segment(const std::string& directory,
                                                std::uint64_t number) {
    const std::string path = segment_path(directory, number);
    const std::string bytes = CFSGATE_TRY(read_file(path, kHeaderBytes));
    return CFSGATE_TRY(decode_header(bytes, path)).store_id;
}

Status Journal::make_segment(const JournalOptions& options, std::uint64_t number, Sequence first) {
    const std::string path = segment_path(options.directory, number);
    const UniqueFd fd = CFSGATE_TRY(make_zeroed(path, options.segment_bytes));
    const std::string header = encode_header(options.store_id, number, first.value());
    CFSGATE_TRY(write_all(fd.get(), header, 0, path));
    CFSGATE_TRY(sync_data(fd.get(), path));
    return sync_directory(options.directory);
}

Result<SegmentInfo> Journal::scan_segment(const std::string& directory, std::uint64_t number,
                                          std::uint64_t store_id, const RecordSink& sink) {
    const std::string path = segment_path(directory, number);
    const SparseBytes segment = CFSGATE_TRY(read_segment(path));
    SegmentInfo info = CFSGATE_TRY(scan_bytes(segment.bytes, path, number, store_id, sink));
    info.file_bytes = segment.size;
    return info;
}

Result<SegmentInfo> Journal::scan_bytes(std::string_view bytes, const std::string& path,
                                        std::uint64_t number, std::uint64_t store_id,
                                        const RecordSink& sink) {
    const Header header = CFSGATE_TRY(decode_header(bytes, path));
    if (header.store_id != store_id || header.number != number) {
        return fail(Errno::Corrupt, path + ": belongs to another store or place");
    }
    SegmentInfo info;
    info.number = number;
    info.first = Sequence(header.first);
    info.end = kHeaderBytes;
    info.last_crc = header.crc;
    info.file_bytes = bytes.size();
    ByteReader in(bytes.substr(kHeaderBytes));
    for (std::uint64_t expected = header.first;; ++expected) {
        const auto record = take_record(in);
        if (!record || record->sequence != expected || !record->follows(info.last_crc)) break;
        if (sink) CFSGATE_TRY(sink(Sequence(expected), record->payload));
        info.last_crc = record->crc;
        info.records += 1;
        info.end += kRecordHeaderBytes + record->payload.size();
    }
    const std::string_view rest = bytes.substr(info.end);
    info.torn = ByteReader(rest).take<std::uint32_t>() != 0;
    info.damaged = !all_zero(rest) && tells_of_a_flush(rest, header.first + info.records);
    return info;
}

Result<std::vector<Journal::SegmentRange>> Journal::segment_ranges(const std::string& directory) {
    std::vector<SegmentRange> ranges;
    for (const std::uint64_t number : CFSGATE_TRY(segment_numbers(directory))) {
        const auto first = first_of_segment(directory, number);
        if (!first && first.error().code == Errno::Corrupt) continue;
        const Sequence begin = CFSGATE_TRY(Result<Sequence>(first));
        if (!ranges.empty()) ranges.back().end = begin;
        ranges.push_back(
            {number, begin, Sequence(UINT64_MAX), file_bytes(segment_path(directory, number))});
    }
    return ranges;
}

Status Journal::read_directory(const std::string& directory, std::uint64_t store_id, Sequence after,
                               Sequence upto, const RecordSink& sink) {
    for (const SegmentRange& segment : CFSGATE_TRY(segment_ranges(directory))) {
        if (segment.end.value() <= after.value() + 1 || segment.first > upto) continue;
        CFSGATE_TRY(scan_segment(directory, segment.number, store_id,
                                 [&](Sequence sequence, std::string_view payload) -> Status {
                                     if (sequence <= after || sequence > upto ||
                                         sequence >= segment.end) {
                                         return {};
                                     }
                                     return sink(sequence, payload);
                                 }));
    }
    return {};
}

Result<std::optional<std::string>> Journal::change_segment(const std::string& directory,
                                                           const SegmentRange& segment,
                                                           std::uint64_t store_id,
                                                           const PayloadChange& change) {
    const std::string path = segment_path(directory, segment.number);
    const std::string before = CFSGATE_TRY(read_file(path));
    const SegmentInfo info =
        CFSGATE_TRY(scan_bytes(before, path, segment.number, store_id, nullptr));
    std::string bytes = before.substr(0, kHeaderBytes);
    std::uint32_t crc = CFSGATE_TRY(decode_header(bytes, path)).crc;
    ByteReader in(std::string_view(before).substr(kHeaderBytes, info.end - kHeaderBytes));
    for (auto record = take_record(in); record && Sequence(record->sequence) < segment.end;
         record = take_record(in)) {
        const std::string payload =
            CFSGATE_TRY(change(Sequence(record->sequence), record->payload));
        crc = record_crc(crc, record->sequence, payload);
        ByteWriter out;
        out.put(record->magic);
        out.put(static_cast<std::uint32_t>(payload.size()));
        out.put(record->sequence);
        out.put(crc);
        bytes += out.bytes();
        bytes += payload;
    }
    if (bytes.size() < before.size()) bytes.resize(before.size(), '\0');
    if (bytes == before) return std::optional<std::string>();
    return std::optional<std::string>(std::move(bytes));
}

Result<std::unique_ptr<Journal>> Journal::open(JournalOptions options, Logger log) {
    std::unique_ptr<Journal> journal(new Journal(std::move(options), std::move(log)));
    const auto numbers = CFSGATE_TRY(segment_numbers(journal->options_.directory));
    if (numbers.empty()) {
        if (journal->options_.at_least > Sequence()) {
            return fail(Errno::Corrupt, journal->options_.directory + ": the journal is missing");
        }
        CFSGATE_TRY(journal->begin_segment(1, 0));
    } else {
        CFSGATE_TRY(journal->adopt(numbers));
    }
    return journal;
}

Result<std::unique_ptr<Journal>> Journal::open_behind(JournalOptions options, Sequence last,
                                                      Logger log) {
    std::unique_ptr<Journal> journal(new Journal(std::move(options), std::move(log)));
    const auto numbers = CFSGATE_TRY(segment_numbers(journal->options_.directory));
    CFSGATE_TRY(journal->note_segments(numbers));
    if (!numbers.empty()) journal->number_ = numbers.back();
    CFSGATE_TRY(journal->go_on_after(last));
    return journal;
}

/// Those that cannot be read are left out: nobody reads, writes or removes them. Whether one of them
/// is needed shows when records are read.
Status Journal::note_segments(const std::vector<std::uint64_t>& numbers) {
    for (const std::uint64_t number : numbers) {
        const std::string path = segment_path(options_.directory, number);
        const auto header = decode_header(CFSGATE_TRY(read_file(path, kHeaderBytes)), path);
        if (!header) {
            log_->error("{}; left out", header.error().detail);
            continue;
        }
        if (header->store_id != options_.store_id || header->number != number) {
            return fail(Errno::Corrupt, path + ": belongs to another store or place");
        }
        SegmentInfo info;
        info.number = number;
        info.first = Sequence(header->first);
        MutexLock lock(mutex_);
        segments_.push_back(info);
    }
    return {};
}

/// Only the last segment is read whole: a start must not cost what the history weighs.
Status Journal::adopt(const std::vector<std::uint64_t>& numbers) {
    CFSGATE_TRY(note_segments({numbers.begin(), numbers.end() - 1}));
    number_ = numbers.back();
    const std::string path = segment_path(options_.directory, number_);
    const SparseBytes segment = CFSGATE_TRY(read_segment(path));
    const bool holds_nothing = segment.bytes.size() <= kHeaderBytes ||
                               all_zero(std::string_view(segment.bytes).substr(kHeaderBytes));
    const auto header = decode_header(segment.bytes, path);
    if (header || !holds_nothing) return adopt_last(segment);
    // Begun, and the machine stopped before its header was written. Where the one before ended, only
    // its records tell.
    log_->warn("{}; begun anew", header.error().detail);
    if (numbers.size() > 1) {
        const std::uint64_t before = numbers[numbers.size() - 2];
        const SegmentInfo end =
            CFSGATE_TRY(scan_segment(options_.directory, before, options_.store_id, nullptr));
        next_ = end.first.value() + end.records;
        committed_next_ = next_;
        appended_ = next_ - 1;
    }
    if (appended() < options_.at_least) {
        return fail(Errno::Corrupt, path + ": is empty, and record " +
                                        std::to_string(options_.at_least.value()) + " is missing");
    }
    return begin_segment(number_, 0);
}

Status Journal::adopt_last(const SparseBytes& segment) {
    const std::string_view bytes = segment.bytes;
    path_ = segment_path(options_.directory, number_);
    const SegmentInfo last =
        CFSGATE_TRY(scan_bytes(bytes, path_, number_, options_.store_id, nullptr));
    next_ = last.first.value() + last.records;
    if (last.damaged || next_ <= options_.at_least.value()) {
        return fail(Errno::Corrupt, path_ + ": record " + std::to_string(next_) +
                                        " is damaged, and it had been flushed or applied");
    }
    offset_ = last.end;
    size_ = segment.size;
    crc_ = last.last_crc;
    committed_next_ = next_;
    appended_ = next_ - 1;
    UniqueFd fd = CFSGATE_TRY(open_file(path_, O_RDWR));
    file_id_ = CFSGATE_TRY(file_id(fd.get(), path_));
    {
        MutexLock lock(mutex_);
        segments_.push_back(last);
        file_ = std::make_shared<UniqueFd>(std::move(fd));
    }
    // Records behind a torn one would continue the chain, were it written again as it was.
    if (all_zero(bytes.substr(offset_))) return {};
    log_->warn("{}: what stands behind record {} was never finished, and is erased", path_,
               appended().value());
    CFSGATE_TRY(erase(offset_, size_));
    CFSGATE_TRY(sync());
    return {};
}

Status Journal::begin_segment(std::uint64_t number, std::uint64_t bytes_min) {
    const std::string path = segment_path(options_.directory, number);
    const std::string spare = options_.directory + "/" + std::string(kSpareName);
    const std::uint64_t bytes = std::max(options_.segment_bytes, bytes_min);
    UniqueFd fd;
    if (bytes == options_.segment_bytes && std::rename(spare.c_str(), path.c_str()) == 0) {
        fd = CFSGATE_TRY(open_file(path, O_RDWR));
    } else {
        // Nothing zeroed ahead yet: reserve the space, so that a full disk shows here and not
        // behind an acknowledged write.
        // A file of an earlier attempt may be one whose flush has failed.
        CFSGATE_TRY(remove_file(path));
        fd = CFSGATE_TRY(open_file(path, O_RDWR | O_CREAT | O_TRUNC));
        if (const int code = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes))) {
            fd.reset();
            CFSGATE_TRY(remove_file(path));
            return fail_posix(code, path + ": reserve " + std::to_string(bytes) + " bytes");
        }
    }
    const std::string header = encode_header(options_.store_id, number, committed_next_);
    CFSGATE_TRY(write_all(fd.get(), header, 0, path));
    CFSGATE_TRY(sync_data(fd.get(), path));
    CFSGATE_TRY(sync_directory(options_.directory));

    number_ = number;
    path_ = path;
    file_id_ = CFSGATE_TRY(file_id(fd.get(), path));
    offset_ = kHeaderBytes;
    size_ = bytes;
    ByteReader tail(std::string_view(header).substr(kHeaderBytes - 4));
    crc_ = tail.take<std::uint32_t>();
    spare_wanted_ = true;
    MutexLock lock(mutex_);
    file_ = std::make_shared<UniqueFd>(std::move(fd));
    SegmentInfo info;
    info.number = number;
    info.first = Sequence(committed_next_);
    segments_.push_back(info);
    return {};
}

Sequence Journal::add(std::string_view payload) {
    // The CRC chain depends on the segment that the records land in, so it is closed in write().
    ByteWriter out;
    out.put(kRecordMagic);
    out.put(static_cast<std::uint32_t>(payload.size()));
    out.put(next_);
    out.put(std::uint32_t{0});
    pending_.append(out.bytes());
    pending_.append(payload);
    return Sequence(next_++);
}

void Journal::discard() {
    pending_.clear();
    next_ = committed_next_;
}

Status Journal::write() {
    if (pending_.empty()) return {};
    if (sync_failed_) return fail(Errno::InputOutput, "the journal has failed earlier");
    CFSGATE_TRY(check_place());
    if (offset_ + pending_.size() > size_) {
        // Also in relaxed mode: newer records behind a gap would be no suffix that is lost.
        CFSGATE_TRY(sync());
        CFSGATE_TRY(begin_segment(number_ + 1, kHeaderBytes + pending_.size()));
    }
    std::uint32_t crc = crc_;
    std::uint64_t sequence = committed_next_;
    if (synced_ + 1 >= sequence) {
        ByteWriter magic;
        magic.put(kFlushedMagic);
        pending_.replace(0, magic.bytes().size(), magic.bytes());
    }
    for (std::size_t at = 0; at < pending_.size(); ++sequence) {
        ByteReader in(std::string_view(pending_).substr(at + 4));
        const auto size = in.take<std::uint32_t>();
        const std::string_view payload =
            std::string_view(pending_).substr(at + kRecordHeaderBytes, size);
        crc = record_crc(crc, sequence, payload);
        ByteWriter field;
        field.put(crc);
        pending_.replace(at + kRecordHeaderBytes - 4, 4, field.bytes());
        at += kRecordHeaderBytes + size;
    }
    std::shared_ptr<UniqueFd> file;
    {
        MutexLock lock(mutex_);
        file = file_;
    }
    before_write_ = {offset_, crc_, committed_next_};
    if (auto status =
            write_all(file->get(), pending_, offset_, segment_path(options_.directory, number_));
        !status) {
        // Part of it may have arrived: a later start must not find a record there.
        const std::uint64_t end = offset_ + pending_.size();
        discard();
        if (auto erased = erase(offset_, end); !erased) sync_failed_ = true;
        return status;
    }
    bytes_written_ += pending_.size();
    offset_ += pending_.size();
    crc_ = crc;
    committed_next_ = next_;
    pending_.clear();
    appended_.store(committed_next_ - 1, std::memory_order_release);
    return {};
}

/// What is written to a file that was removed, or below a directory that was, no start would find.
Status Journal::check_place() {
    const auto found = file_id(path_);
    if (found && *found == file_id_) return {};
    sync_failed_ = true;
    return fail(Errno::InputOutput,
                found ? path_ + ": another file has taken its place" : found.error().detail);
}

Result<Sequence> Journal::sync() {
    if (sync_failed_) return fail(Errno::InputOutput, "the journal has failed earlier");
    // The order matters: a segment begun after this reading was preceded by a flush of the old one.
    const Sequence upto = appended();
    std::shared_ptr<UniqueFd> file;
    std::uint64_t given_up = 0;
    {
        MutexLock lock(mutex_);
        file = file_;
        given_up = given_up_;
    }
    const Status status = sync_data(file->get(), options_.directory + "/journal");
    MutexLock lock(mutex_);
    // Where this file was given up meanwhile, a snapshot holds what it had.
    if (!status && given_up == given_up_) {
        sync_failed_ = true;
        return tl::unexpected(status.error());
    }
    synced_ = std::max(synced_.load(), std::min(upto.value(), appended_.load()));
    return upto;
}

/// All of it: a record left behind an erased one would continue the chain, were that one written
/// again as it was.
Status Journal::erase(std::uint64_t from, std::uint64_t to) {
    std::shared_ptr<UniqueFd> file;
    {
        MutexLock lock(mutex_);
        file = file_;
    }
    const std::string zeros(to - from, '\0');
    return write_all(file->get(), zeros, from, segment_path(options_.directory, number_));
}

Status Journal::undo_write() {
    const std::uint64_t end = std::exchange(offset_, before_write_.offset);
    crc_ = before_write_.crc;
    committed_next_ = before_write_.next;
    next_ = committed_next_;
    {
        MutexLock lock(mutex_);
        appended_ = committed_next_ - 1;
        synced_ = std::min(synced_.load(), appended_.load());
    }
    return erase(before_write_.offset, end);
}

Status Journal::go_on_after(Sequence last) {
    CFSGATE_CHECK(last >= appended());
    pending_.clear();
    committed_next_ = last.value() + 1;
    next_ = committed_next_;
    {
        // First, so that a flush of the new file never takes its failure for one of the old.
        MutexLock lock(mutex_);
        ++given_up_;
    }
    CFSGATE_TRY(begin_segment(number_ + 1, 0));
    MutexLock lock(mutex_);
    appended_ = last.value();
    synced_ = last.value();
    sync_failed_ = false;
    return {};
}

std::uint64_t Journal::segment_count() const {
    MutexLock lock(mutex_);
    return segments_.size();
}

Status Journal::read(Sequence after, const RecordSink& sink) const {
    if (appended() <= after) return {};
    std::vector<SegmentInfo> segments;
    {
        MutexLock lock(mutex_);
        segments = segments_;
    }
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const std::uint64_t end =
            i + 1 < segments.size() ? segments[i + 1].first.value() : UINT64_MAX;
        if (end <= after.value() + 1) continue;
        CFSGATE_TRY(scan_segment(options_.directory, segments[i].number, options_.store_id,
                                 [&](Sequence sequence, std::string_view payload) -> Status {
                                     if (sequence <= after || sequence.value() >= end) return {};
                                     return sink(sequence, payload);
                                 }));
    }
    return {};
}

Status Journal::prepare_spare() {
    spare_wanted_ = false;
    const std::string path = options_.directory + "/" + std::string(kSpareName);
    const std::string temporary = path + ".tmp";
    CFSGATE_TRY(make_zeroed(temporary, options_.segment_bytes));
    if (std::rename(temporary.c_str(), path.c_str()) != 0) return fail_posix(errno, path);
    return {};
}

Status Journal::prune(Sequence upto, std::uint64_t keep_bytes, std::int64_t oldest_time) {
    std::vector<std::uint64_t> removable;
    {
        MutexLock lock(mutex_);
        std::uint64_t bytes = 0;  // a record larger than a segment makes a larger one
        for (const SegmentInfo& segment : segments_) {
            bytes += file_bytes(segment_path(options_.directory, segment.number));
        }
        while (segments_.size() > 1 && segments_[1].first.value() <= upto.value() + 1) {
            struct stat info {};
            const std::string path = segment_path(options_.directory, segments_[0].number);
            const bool old = ::stat(path.c_str(), &info) == 0 && info.st_mtime < oldest_time;
            if (!old && bytes <= keep_bytes) break;
            bytes -= file_bytes(path);
            removable.push_back(segments_[0].number);
            segments_.erase(segments_.begin());
        }
    }
    for (const std::uint64_t number : removable) {
        CFSGATE_TRY(remove_file(segment_path(options_.directory, number)));
    }
    return {};
}

}  // namespace cfsgate::store
