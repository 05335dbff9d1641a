// SPDX-License-Identifier: Apache-2.0
// Header: u64 version | u64 last inode | u32 writer | u32 mtime | u32 entry count | u32 total bytes
// Entry:  u64 inode | 32 bytes of digest
#include "store/model/index.h"

#include <algorithm>
#include <limits>

#include "store/base/bytes.h"
#include "store/base/check.h"

namespace cfsgate {
namespace {

constexpr std::uint64_t kHeaderBytes = 32;
constexpr std::uint64_t kEntryBytes = 40;

std::uint64_t encoded_bytes(std::uint64_t entries) { return kHeaderBytes + kEntryBytes * entries; }

std::string_view as_bytes(const Digest& digest) {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

IndexEntry take_entry(ByteReader& in) {
    IndexEntry entry;
    entry.inode = InodeNumber(in.take<std::uint64_t>());
    const auto digest = in.take_bytes(entry.digest.size());
    std::copy(digest.begin(), digest.end(), entry.digest.begin());
    return entry;
}

bool ascends(const std::vector<IndexEntry>& entries) {
    const auto not_below = [](const IndexEntry& a, const IndexEntry& b) {
        return a.inode >= b.inode;
    };
    return std::adjacent_find(entries.begin(), entries.end(), not_below) == entries.end();
}

}  // namespace

std::string encode_index(const Index& index) {
    const auto total = encoded_bytes(index.entries.size());
    CFSGATE_CHECK(total <= std::numeric_limits<std::uint32_t>::max());
    ByteWriter out;
    out.reserve(total);
    out.put(index.head.version.value());
    out.put(index.last_inode.value());
    out.put(index.head.writer.value());
    out.put(index.head.mtime);
    out.put(static_cast<std::uint32_t>(index.entries.size()));
    out.put(static_cast<std::uint32_t>(total));
    for (const IndexEntry& entry : index.entries) {
        out.put(entry.inode.value());
        out.put_bytes(as_bytes(entry.digest));
    }
    return out.take();
}

Result<Index> decode_index(std::string_view bytes) {
    ByteReader in(bytes);
    Index index;
    index.head.version = Version(in.take<std::uint64_t>());
    index.last_inode = InodeNumber(in.take<std::uint64_t>());
    index.head.writer = NodeId(in.take<std::uint32_t>());
    index.head.mtime = in.take<std::uint32_t>();
    const auto count = in.take<std::uint32_t>();
    const auto total = in.take<std::uint32_t>();
    // Before memory is taken for `count` entries.
    if (in.failed() || total != bytes.size() || total != encoded_bytes(count)) {
        return fail(Errno::BadMessage, "index: the counts disagree with its length");
    }
    index.entries.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) index.entries.push_back(take_entry(in));
    CFSGATE_TRY(in.finish("index"));
    if (!ascends(index.entries)) return fail(Errno::BadMessage, "index: inodes do not ascend");
    return index;
}

}  // namespace cfsgate
