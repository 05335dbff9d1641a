// SPDX-License-Identifier: Apache-2.0
//
// Payload: u8 kind (1; 2 with a note) | u64 version | u32 node | u32 time | u8 operation | its fields:
//   1 create path | 2 write u32 offset u8 truncate path data | 3 mkdir path | 4 delete path
//   5 rename path target | 6 mtime u32 path | 7 unlock 32 bytes path
// A path or data is a u32 length and that many bytes. Kind 2 ends with the note: u32 length, bytes.
//
// Kind 3, a tree taken over: u8 kind | u64 version | u32 node | u32 mtime | u32 time | from |
//   32 bytes of digest | u32 count, u64 inodes removed | u32 count, entries (entry_codec.h)
#include "store/journal_record.h"

#include <algorithm>

#include "store/base/bytes.h"
#include "store/entry_codec.h"

namespace cfsgate::store {
namespace {

constexpr std::uint8_t kOperationRecord = 1;
constexpr std::uint8_t kNotedOperationRecord = 2;
constexpr std::uint8_t kTakeoverRecord = 3;

enum class Code : std::uint8_t {
    Create = 1,
    Write = 2,
    MakeDirectory = 3,
    Delete = 4,
    Rename = 5,
    SetMtime = 6,
    Unlock = 7,
};

struct Encoder {
    ByteWriter& out;

    void code(Code value) const { out.put(static_cast<std::uint8_t>(value)); }
    void operator()(const CreateFile& op) const {
        code(Code::Create);
        out.put_sized(op.path);
    }
    void operator()(const WriteFile& op) const {
        code(Code::Write);
        out.put(op.offset);
        out.put(static_cast<std::uint8_t>(op.truncate ? 1 : 0));
        out.put_sized(op.path);
        out.put_sized(op.data);
    }
    void operator()(const MakeDirectory& op) const {
        code(Code::MakeDirectory);
        out.put_sized(op.path);
    }
    void operator()(const Delete& op) const {
        code(Code::Delete);
        out.put_sized(op.path);
    }
    void operator()(const Rename& op) const {
        code(Code::Rename);
        out.put_sized(op.path);
        out.put_sized(op.target);
    }
    void operator()(const SetMtime& op) const {
        code(Code::SetMtime);
        out.put(op.mtime);
        out.put_sized(op.path);
    }
    void operator()(const Unlock& op) const {
        code(Code::Unlock);
        for (const unsigned char byte : op.checksum) out.put(std::uint8_t{byte});
        out.put_sized(op.path);
    }
};

std::string take_sized(ByteReader& in) {
    return std::string(in.take_bytes(in.take<std::uint32_t>()));
}

Result<Operation> decode_operation(ByteReader& in) {
    switch (static_cast<Code>(in.take<std::uint8_t>())) {
        case Code::Create: return CreateFile{take_sized(in)};
        case Code::Write: {
            WriteFile op;
            op.offset = in.take<std::uint32_t>();
            op.truncate = in.take<std::uint8_t>() != 0;
            op.path = take_sized(in);
            op.data = take_sized(in);
            return op;
        }
        case Code::MakeDirectory: return MakeDirectory{take_sized(in)};
        case Code::Delete: return Delete{take_sized(in)};
        case Code::Rename: {
            Rename op;
            op.path = take_sized(in);
            op.target = take_sized(in);
            return op;
        }
        case Code::SetMtime: {
            SetMtime op;
            op.mtime = in.take<std::uint32_t>();
            op.path = take_sized(in);
            return op;
        }
        case Code::Unlock: {
            Unlock op;
            const std::string_view raw = in.take_bytes(op.checksum.size());
            std::copy(raw.begin(), raw.end(), op.checksum.begin());
            op.path = take_sized(in);
            return op;
        }
    }
    return fail(Errno::BadMessage, "journal record: unknown operation");
}

}  // namespace

std::string encode_journal_record(const JournalRecord& record) {
    ByteWriter out;
    out.put(record.note.empty() ? kOperationRecord : kNotedOperationRecord);
    out.put(record.version.value());
    out.put(record.stamp.node.value());
    out.put(record.stamp.time);
    std::visit(Encoder{out}, record.operation);
    if (!record.note.empty()) out.put_sized(record.note);
    return out.take();
}

Result<JournalRecord> decode_journal_record(std::string_view bytes) {
    ByteReader in(bytes);
    const auto kind = in.take<std::uint8_t>();
    if (kind != kOperationRecord && kind != kNotedOperationRecord) {
        return fail(Errno::BadMessage, "journal record: unknown kind");
    }
    JournalRecord record;
    record.version = Version(in.take<std::uint64_t>());
    record.stamp.node = NodeId(in.take<std::uint32_t>());
    record.stamp.time = in.take<std::uint32_t>();
    record.operation = CFSGATE_TRY(decode_operation(in));
    if (kind == kNotedOperationRecord) record.note = take_sized(in);
    CFSGATE_TRY(in.finish("journal record"));
    return record;
}

bool is_takeover_record(std::string_view bytes) {
    return ByteReader(bytes).take<std::uint8_t>() == kTakeoverRecord;
}

std::string encode_takeover_record(const TakeoverRecord& record) {
    ByteWriter out;
    out.put(kTakeoverRecord);
    out.put(record.head.version.value());
    out.put(record.head.writer.value());
    out.put(record.head.mtime);
    out.put(record.time);
    out.put_sized(record.from);
    for (const unsigned char byte : record.index) out.put(std::uint8_t{byte});
    out.put(static_cast<std::uint32_t>(record.removed.size()));
    for (const InodeNumber inode : record.removed) out.put(inode.value());
    out.put(static_cast<std::uint32_t>(record.entries.size()));
    for (const Entry& entry : record.entries) put_entry(out, entry.inode, entry.content);
    return out.take();
}

Result<TakeoverRecord> decode_takeover_record(std::string_view bytes) {
    ByteReader in(bytes);
    if (in.take<std::uint8_t>() != kTakeoverRecord) {
        return fail(Errno::BadMessage, "journal record: no takeover");
    }
    TakeoverRecord record;
    record.head.version = Version(in.take<std::uint64_t>());
    record.head.writer = NodeId(in.take<std::uint32_t>());
    record.head.mtime = in.take<std::uint32_t>();
    record.time = in.take<std::uint32_t>();
    record.from = take_sized(in);
    const std::string_view digest = in.take_bytes(record.index.size());
    std::copy(digest.begin(), digest.end(), record.index.begin());
    const auto removed = in.take<std::uint32_t>();
    for (std::uint32_t i = 0; i < removed && !in.failed(); ++i) {
        record.removed.emplace_back(in.take<std::uint64_t>());
    }
    const auto entries = in.take<std::uint32_t>();
    for (std::uint32_t i = 0; i < entries && !in.failed(); ++i) {
        std::string_view content;
        Inode inode = take_entry(in, &content);
        if (in.failed() || !content_fits(inode, content)) {
            return fail(Errno::BadMessage, "journal record: an entry is damaged");
        }
        record.entries.push_back({std::move(inode), std::string(content)});
    }
    CFSGATE_TRY(in.finish("journal record"));
    return record;
}

Result<RecordHead> decode_record_head(std::string_view bytes) {
    ByteReader in(bytes);
    const bool takeover = in.take<std::uint8_t>() == kTakeoverRecord;
    RecordHead head;
    head.version = Version(in.take<std::uint64_t>());
    in.take<std::uint32_t>();  // the node, of a takeover the tree's last writer
    head.time = in.take<std::uint32_t>();
    if (takeover) head.time = in.take<std::uint32_t>();
    if (in.failed()) return fail(Errno::BadMessage, "journal record: cut short");
    return head;
}

}  // namespace cfsgate::store
