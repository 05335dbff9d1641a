// SPDX-License-Identifier: Apache-2.0
#include "store/journal.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

#include "store/base/bytes.h"
#include "store/base/check.h"
#include "store/base/crc32c.h"
#include "store/file_io.h"

namespace cfsgate::store {
namespace {

constexpr std::string_view kMagic = "cfsgate journal\n";  // 16 bytes
constexpr std::uint32_t kFormat = 1;
constexpr std::uint32_t kRecordMagic = 0x4a736663;  // "cfsJ"
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

Result<SegmentInfo> Journal::scan_segment(const std::string& directory, std::uint64_t number,
                                          std::uint64_t store_id, const RecordSink& sink) {
    const std::string path = segment_path(directory, number);
    const std::string bytes = CFSGATE_TRY(read_file(path));
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
    ByteReader in(std::string_view(bytes).substr(kHeaderBytes));
    for (std::uint64_t expected = header.first;; ++expected) {
        const auto magic = in.take<std::uint32_t>();
        const auto size = in.take<std::uint32_t>();
        const auto sequence = in.take<std::uint64_t>();
        const auto crc = in.take<std::uint32_t>();
        const std::string_view payload = in.take_bytes(size);
        if (in.failed() || magic != kRecordMagic || sequence != expected ||
            crc != record_crc(info.last_crc, sequence, payload)) {
            info.torn = magic != 0;
            return info;
        }
        if (sink) CFSGATE_TRY(sink(Sequence(sequence), payload));
        info.last_crc = crc;
        info.records += 1;
        info.end += kRecordHeaderBytes + payload.size();
    }
}

Result<std::unique_ptr<Journal>> Journal::open(JournalOptions options, Logger log) {
    std::unique_ptr<Journal> journal(new Journal(std::move(options), std::move(log)));
    const auto numbers = CFSGATE_TRY(segment_numbers(journal->options_.directory));
    if (numbers.empty()) {
        CFSGATE_TRY(journal->begin_segment(1, 0));
    } else {
        CFSGATE_TRY(journal->adopt(numbers));
    }
    return journal;
}

/// Only the last segment is read whole: a start must not cost what the history weighs.
Status Journal::adopt(const std::vector<std::uint64_t>& numbers) {
    for (std::size_t i = 0; i + 1 < numbers.size(); ++i) {
        SegmentInfo info;
        info.number = numbers[i];
        info.first = CFSGATE_TRY(first_of_segment(options_.directory, numbers[i]));
        MutexLock lock(mutex_);
        segments_.push_back(info);
    }
    number_ = numbers.back();
    const std::string path = segment_path(options_.directory, number_);
    auto last = scan_segment(options_.directory, number_, options_.store_id, nullptr);
    const std::string bytes = CFSGATE_TRY(read_file(path));
    const bool holds_nothing = bytes.find_first_not_of('\0', kHeaderBytes) == std::string::npos;
    if (!last && last.error().code == Errno::Corrupt && holds_nothing) {
        // Begun, and the machine stopped before its header was written. Where the one before
        // ended, only its records tell.
        log_->warn("{}; begun anew", last.error().detail);
        if (numbers.size() == 1) return begin_segment(number_, 0);
        const std::uint64_t before = numbers[numbers.size() - 2];
        const SegmentInfo end =
            CFSGATE_TRY(scan_segment(options_.directory, before, options_.store_id, nullptr));
        next_ = end.first.value() + end.records;
        committed_next_ = next_;
        appended_ = next_ - 1;
        return begin_segment(number_, 0);
    }
    if (!last) return tl::unexpected(last.error());
    next_ = last->first.value() + last->records;
    offset_ = last->end;
    size_ = last->file_bytes;
    crc_ = last->last_crc;
    committed_next_ = next_;
    appended_ = next_ - 1;
    UniqueFd fd = CFSGATE_TRY(open_file(path, O_RDWR));
    {
        MutexLock lock(mutex_);
        segments_.push_back(*last);
        file_ = std::make_shared<UniqueFd>(std::move(fd));
    }
    // Records behind a torn one would continue the chain, were it written again as it was.
    if (bytes.find_first_not_of('\0', offset_) == std::string::npos) return {};
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
    if (sync_failed_) return fail(Errno::InputOutput, "the journal could not be flushed earlier");
    if (offset_ + pending_.size() > size_) {
        if (options_.sync_segments) CFSGATE_TRY(sync());
        CFSGATE_TRY(begin_segment(number_ + 1, kHeaderBytes + pending_.size()));
    }
    std::uint32_t crc = crc_;
    std::uint64_t sequence = committed_next_;
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

Result<Sequence> Journal::sync() {
    if (sync_failed_) return fail(Errno::InputOutput, "the journal could not be flushed earlier");
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
