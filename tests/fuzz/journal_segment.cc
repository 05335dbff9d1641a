// SPDX-License-Identifier: Apache-2.0
// The journal's reader. Three times: the bytes as a segment; the bytes as a list of changes to a good
// segment, of which only a beginning may be read; and the bytes as a recipe of a large segment, which
// must be read from a file, where zeros are left out, as it is from memory.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/crc32c.h"
#include "store/journal.h"
#include "tests/fuzz/expect.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace {

using namespace cfsgate;
using namespace cfsgate::store;
using fuzz::expect;

constexpr std::uint64_t kStore = 7;
constexpr std::uint64_t kNumber = 3;
constexpr std::uint64_t kFirst = 40;
constexpr std::size_t kRecordHeaderBytes = 20;

struct Read {
    bool good = false;
    SegmentInfo info;
    std::vector<std::string> records;
};

Read read(std::string_view bytes) {
    Read read;
    const auto info = Journal::scan_bytes(bytes, "segment", kNumber, kStore,
                                          [&](Sequence, std::string_view payload) -> Status {
                                              read.records.emplace_back(payload);
                                              return {};
                                          });
    if (!info) {
        expect(info.error().code == Errno::Corrupt, "a bad segment is Corrupt");
        expect(read.records.empty(), "a bad segment has no records");
        return read;
    }
    read.good = true;
    read.info = *info;
    expect(info->records == read.records.size(), "what is counted is handed out");
    expect(info->end <= bytes.size(), "it ends within the file");
    std::size_t sum = 64;
    for (const std::string& record : read.records) sum += kRecordHeaderBytes + record.size();
    expect(sum == info->end, "the records lie side by side");
    return read;
}

std::string header() {
    ByteWriter head;
    head.put_bytes("cfsgate journal\n");
    head.put(std::uint32_t{1});
    head.put(std::uint32_t{0});
    head.put(kStore);
    head.put(kNumber);
    head.put(kFirst);
    std::string bytes = head.take();
    bytes.resize(60);
    ByteWriter out;
    out.put_bytes(bytes);
    out.put(Crc32c::of(bytes));
    return out.take();
}

constexpr std::uint32_t kRecordMagic = 0x4a736663;
constexpr std::uint32_t kFlushedMagic = 0x53736663;

/// As journal.h describes them.
class Segment {
public:
    void add(const std::string& payload, std::uint32_t magic = kRecordMagic) {
        ByteWriter covered;
        covered.put(crc_);
        covered.put(static_cast<std::uint32_t>(payload.size()));
        covered.put(next_);
        Crc32c sum;
        sum.add(covered.bytes());
        sum.add(payload);
        crc_ = sum.value();
        ByteWriter out;
        out.put(magic);
        out.put(static_cast<std::uint32_t>(payload.size()));
        out.put(next_++);
        out.put(crc_);
        out.put_bytes(payload);
        bytes_ += out.bytes();
    }
    const std::string& bytes() const { return bytes_; }

private:
    std::string bytes_ = header();
    std::uint32_t crc_ = Crc32c::of(std::string_view(bytes_).substr(0, 60));
    std::uint64_t next_ = kFirst;
};

/// Six records of different sizes.
std::string good_segment() {
    Segment segment;
    for (std::uint64_t i = 0; i < 6; ++i) {
        segment.add(std::string(static_cast<std::size_t>(i * i * 7), static_cast<char>('a' + i)));
    }
    return segment.bytes() + std::string(100, '\0');
}

/// u16 place | u8 value, over and over; a place beyond the end cuts the file there instead.
void change(std::string& bytes, std::string_view changes) {
    ByteReader in(changes);
    while (in.remaining() >= 3) {
        const std::size_t at = in.take<std::uint16_t>();
        const auto value = static_cast<char>(in.take<std::uint8_t>());
        if (at < bytes.size()) {
            bytes[at] = value;
        } else {
            bytes.resize(at % (bytes.size() + 1));
        }
    }
}

/// u8 count of records | for each u32 size, u8 filling | u32 place | u8 value, over and over.
std::string large_segment(std::string_view recipe) {
    constexpr std::size_t kBytes = 400000;
    ByteReader in(recipe);
    Segment segment;
    for (unsigned left = in.take<std::uint8_t>() % 5U; left > 0; --left) {
        const std::size_t size = in.take<std::uint32_t>() % 140000;
        segment.add(std::string(size, static_cast<char>(in.take<std::uint8_t>() % 3)),
                    kFlushedMagic);
    }
    std::string bytes = segment.bytes();
    bytes.resize(std::max(bytes.size(), kBytes));
    while (in.remaining() >= 5) {
        const std::size_t at = in.take<std::uint32_t>() % bytes.size();
        bytes[at] = static_cast<char>(in.take<std::uint8_t>());
    }
    return bytes;
}

void read_as_a_file(const std::string& bytes) {
    static const test::TempDirectory directory;
    test::write_file(Journal::segment_path(directory.path(), kNumber), bytes);
    const Read expected = read(bytes);
    std::vector<std::string> records;
    const auto info = Journal::scan_segment(directory.path(), kNumber, kStore,
                                            [&](Sequence, std::string_view payload) -> Status {
                                                records.emplace_back(payload);
                                                return {};
                                            });
    expect(info.has_value() == expected.good, "a file is good where its bytes are");
    if (!info) return;
    expect(records == expected.records, "a file has the records of its bytes");
    const SegmentInfo& other = expected.info;
    expect(info->records == other.records && info->end == other.end &&
               info->last_crc == other.last_crc && info->file_bytes == other.file_bytes &&
               info->torn == other.torn && info->damaged == other.damaged,
           "a file is judged as its bytes are");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    read(input);
    read_as_a_file(large_segment(input));
    static const std::string whole = good_segment();
    static const Read good = read(whole);
    expect(good.records.size() == 6 && !good.info.torn, "the good segment is read whole");
    std::string changed = whole;
    change(changed, input);
    const Read part = read(changed);
    if (!part.good) return 0;
    // A checksum of 32 bits stands between a change and its being believed.
    const std::size_t count = std::min(part.records.size(), good.records.size());
    for (std::size_t i = 0; i < count; ++i) {
        expect(part.records[i] == good.records[i], "only what was written is read");
    }
    return 0;
}
