// SPDX-License-Identifier: Apache-2.0
// The journal's reader. Twice: the bytes as a segment; and the bytes as a list of changes to a good
// segment, of which only a beginning may be read.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/crc32c.h"
#include "store/journal.h"
#include "tests/fuzz/expect.h"

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

/// Six records of different sizes, as journal.h describes them.
std::string good_segment() {
    ByteWriter head;
    head.put_bytes("cfsgate journal\n");
    head.put(std::uint32_t{1});
    head.put(std::uint32_t{0});
    head.put(kStore);
    head.put(kNumber);
    head.put(kFirst);
    std::string bytes = head.take();
    bytes.resize(60);
    std::uint32_t crc = Crc32c::of(bytes);
    ByteWriter out;
    out.put_bytes(bytes);
    out.put(crc);
    for (std::uint64_t i = 0; i < 6; ++i) {
        const std::string payload(static_cast<std::size_t>(i * i * 7), static_cast<char>('a' + i));
        ByteWriter covered;
        covered.put(crc);
        covered.put(static_cast<std::uint32_t>(payload.size()));
        covered.put(kFirst + i);
        Crc32c sum;
        sum.add(covered.bytes());
        sum.add(payload);
        crc = sum.value();
        out.put(std::uint32_t{0x4a736663});
        out.put(static_cast<std::uint32_t>(payload.size()));
        out.put(kFirst + i);
        out.put(crc);
        out.put_bytes(payload);
    }
    std::string segment = out.take();
    segment.resize(segment.size() + 100);
    return segment;
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    read(input);
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
