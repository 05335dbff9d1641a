// SPDX-License-Identifier: Apache-2.0
// Update: u64 parent | u64 inode | u64 version | u32 writer | u32 mtime | u32 size | u32 name size
//         | u8 type | name with NUL | content
#include "replication/core/state_sync.h"

#include <algorithm>
#include <iterator>

#include "store/base/bytes.h"

namespace cfsgate::replication {
namespace {

bool is_newer(const TreeHead& a, const TreeHead& b) {
    return a.version > b.version || (a.version == b.version && a.mtime > b.mtime);
}

/// The entries of `leader` that are not in `other` just so.
void collect_missing(const Index& leader, const Index& other, std::set<InodeNumber>& missing) {
    auto theirs = other.entries.begin();
    for (const IndexEntry& entry : leader.entries) {
        while (theirs != other.entries.end() && theirs->inode < entry.inode) ++theirs;
        if (theirs == other.entries.end() || !(*theirs == entry)) missing.insert(entry.inode);
    }
}

}  // namespace

Result<SyncDecision> decide_sync(const std::map<Member, std::string>& indexes) {
    std::map<Member, Index> decoded;
    for (const auto& [member, bytes] : indexes) {
        decoded.emplace(member, CFSGATE_TRY(decode_index(bytes)));
    }
    if (decoded.empty()) return fail(Errno::BadMessage, "no index");
    auto leader = decoded.begin();
    for (auto candidate = std::next(leader); candidate != decoded.end(); ++candidate) {
        if (is_newer(candidate->second.head, leader->second.head)) leader = candidate;
    }
    SyncDecision decision;
    decision.leader = leader->first;
    std::set<InodeNumber> missing;
    const std::string& best = indexes.at(leader->first);
    for (const auto& [member, bytes] : indexes) {
        if (bytes == best) {
            decision.synced.insert(member);
        } else {
            collect_missing(leader->second, decoded.at(member), missing);
        }
    }
    decision.send.assign(missing.begin(), missing.end());
    return decision;
}

std::string encode_update(const Entry& entry) {
    const Inode& inode = entry.inode;
    ByteWriter out;
    out.put(inode.parent.value());
    out.put(inode.number.value());
    out.put(inode.version.value());
    out.put(inode.writer.value());
    out.put(inode.mtime);
    out.put(inode.size);
    out.put(static_cast<std::uint32_t>(inode.name.size() + 1));
    out.put(static_cast<std::uint8_t>(inode.type));
    out.put_c_string(inode.name);
    out.put_bytes(entry.content);
    // A size without stored bytes: the receiver tells by the digest, which leaves them out.
    if (inode.unbacked) out.put_bytes(std::string(inode.size, '\0'));
    return out.take();
}

Result<Entry> decode_update(std::string_view body) {
    ByteReader in(body);
    Entry entry;
    Inode& inode = entry.inode;
    inode.parent = InodeNumber(in.take<std::uint64_t>());
    inode.number = InodeNumber(in.take<std::uint64_t>());
    inode.version = Version(in.take<std::uint64_t>());
    inode.writer = NodeId(in.take<std::uint32_t>());
    inode.mtime = in.take<std::uint32_t>();
    inode.size = in.take<std::uint32_t>();
    const auto name_size = in.take<std::uint32_t>();
    const auto type = in.take<std::uint8_t>();
    if (in.failed()) return fail(Errno::BadMessage, "update: cut short");
    if (type != static_cast<std::uint8_t>(EntryType::Directory) &&
        type != static_cast<std::uint8_t>(EntryType::File)) {
        return fail(Errno::BadMessage, "update: unknown type");
    }
    if (name_size == 0) return fail(Errno::BadMessage, "update: no name");
    inode.type = static_cast<EntryType>(type);
    inode.name = in.take_c_string(name_size);
    entry.content = in.take_bytes(inode.size);
    CFSGATE_TRY(in.finish("update"));
    return entry;
}

}  // namespace cfsgate::replication
