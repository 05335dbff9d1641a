// SPDX-License-Identifier: Apache-2.0
#include "store/tree_tables.h"

#include <algorithm>
#include <cstring>

#include "store/base/bytes.h"
#include "store/base/check.h"
#include "store/model/digest.h"
#include "store/model/limits.h"
#include "store/model/path.h"

namespace cfsgate::store {
namespace {

using lmdb::Table;

constexpr std::string_view kHeadKey = "head";
constexpr std::string_view kIdsKey = "ids";
constexpr std::uint32_t kFormat = 2;
constexpr std::size_t kNamePrefixBytes = 368;
constexpr std::uint8_t kInlineFlag = 1;
constexpr std::uint8_t kUnbackedFlag = 2;
/// A path deeper than this can only be a cycle: paths end at 4096 bytes.
constexpr int kDepthMax = 4096;

void append_big_endian(std::string& out, std::uint64_t value) {
    const std::uint64_t stored = big_endian(value);
    char raw[sizeof(stored)];
    std::memcpy(raw, &stored, sizeof(stored));
    out.append(raw, sizeof(raw));
}

/// Of at least eight bytes.
std::uint64_t read_big_endian(std::string_view bytes) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof(value)));
    return big_endian(value);
}

std::string encode_inode_record(const Inode& inode, std::string_view inline_content,
                                bool is_inline) {
    ByteWriter out;
    out.put(inode.parent.value());
    out.put(inode.version.value());
    out.put(inode.writer.value());
    out.put(inode.mtime);
    out.put(inode.size);
    out.put(static_cast<std::uint8_t>(inode.type));
    out.put(static_cast<std::uint8_t>((is_inline ? kInlineFlag : 0) |
                                      (inode.unbacked ? kUnbackedFlag : 0)));
    out.put(static_cast<std::uint16_t>(inode.name.size()));
    out.put_bytes(inode.name);
    if (is_inline) out.put_bytes(inline_content);
    return out.take();
}

tl::unexpected<Error> corrupt_inode(InodeNumber number, const char* what) {
    return fail(Errno::Corrupt, "inode " + std::to_string(number.value()) + ": " + what);
}

std::string encode_state(const TreeState& state) {
    ByteWriter out;
    out.put(state.head.version.value());
    out.put(state.head.writer.value());
    out.put(state.head.mtime);
    out.put(state.usage.entries);
    out.put(state.usage.content_bytes);
    out.put(state.journal.value());
    return out.take();
}

Result<TreeState> decode_state(std::string_view bytes) {
    ByteReader in(bytes);
    TreeState state;
    state.head.version = Version(in.take<std::uint64_t>());
    state.head.writer = NodeId(in.take<std::uint32_t>());
    state.head.mtime = in.take<std::uint32_t>();
    state.usage.entries = in.take<std::uint64_t>();
    state.usage.content_bytes = in.take<std::uint64_t>();
    state.journal = Sequence(in.take<std::uint64_t>());
    if (!in.finish("tree state")) return fail(Errno::Corrupt, "the tree's head record is damaged");
    return state;
}

bool belongs_inline(const Inode& inode) { return inode.size <= kInlineBytesMax; }

}  // namespace

std::string inode_key(InodeNumber inode) {
    std::string key;
    append_big_endian(key, inode.value());
    return key;
}

std::string dirent_key(InodeNumber parent, std::string_view name) {
    std::string key = inode_key(parent);
    if (name.size() <= kNameBytesInKey) {
        key.append(name);
    } else {
        const Digest hash = Sha256::of(name);
        key.append(name.substr(0, kNamePrefixBytes));
        for (const unsigned char byte : hash) key.push_back(static_cast<char>(byte));
    }
    return key;
}

std::string child_key(InodeNumber parent, InodeNumber inode) {
    std::string key = inode_key(parent);
    append_big_endian(key, inode.value());
    return key;
}

Result<Inode> decode_inode_record(InodeNumber number, std::string_view record,
                                  std::string_view* inline_content, bool* is_inline) {
    ByteReader in(record);
    Inode inode;
    inode.number = number;
    inode.parent = InodeNumber(in.take<std::uint64_t>());
    inode.version = Version(in.take<std::uint64_t>());
    inode.writer = NodeId(in.take<std::uint32_t>());
    inode.mtime = in.take<std::uint32_t>();
    inode.size = in.take<std::uint32_t>();
    const auto type = in.take<std::uint8_t>();
    const auto flags = in.take<std::uint8_t>();
    inode.name = in.take_bytes(in.take<std::uint16_t>());
    if (in.failed()) return corrupt_inode(number, "record cut short");
    if (type != static_cast<std::uint8_t>(EntryType::Directory) &&
        type != static_cast<std::uint8_t>(EntryType::File)) {
        return corrupt_inode(number, "unknown type");
    }
    inode.type = static_cast<EntryType>(type);
    inode.unbacked = (flags & kUnbackedFlag) != 0;
    const std::string_view rest = in.take_rest();
    const bool with_content = (flags & kInlineFlag) != 0;
    if (with_content ? rest.size() != (inode.unbacked ? 0 : inode.size) : !rest.empty()) {
        return corrupt_inode(number, "content and size disagree");
    }
    if (inline_content != nullptr) *inline_content = rest;
    if (is_inline != nullptr) *is_inline = with_content;
    return inode;
}

Result<StoreIds> read_ids(const lmdb::Transaction& txn) {
    const auto bytes = CFSGATE_TRY(txn.get(Table::Meta, kIdsKey));
    if (!bytes) return fail(Errno::Corrupt, "the tree's identity record is missing");
    ByteReader in(*bytes);
    const auto format = in.take<std::uint32_t>();
    StoreIds ids;
    ids.store = in.take<std::uint64_t>();
    ids.file_system = in.take<std::uint64_t>();
    if (!in.finish("ids")) return fail(Errno::Corrupt, "the tree's identity record is damaged");
    if (format != kFormat) {
        return fail(Errno::Corrupt, "tree format " + std::to_string(format) +
                                        " is not known to this program (knows 2)");
    }
    return ids;
}

// --- Reading ---

Result<std::unique_ptr<TreeReader>> TreeReader::make(std::unique_ptr<lmdb::Transaction> txn) {
    std::unique_ptr<TreeReader> reader(new TreeReader(std::move(txn)));
    const auto bytes = CFSGATE_TRY(reader->txn_->get(Table::Meta, kHeadKey));
    if (!bytes) return fail(Errno::Corrupt, "the tree's head record is missing");
    reader->state_ = CFSGATE_TRY(decode_state(*bytes));
    return reader;
}

Inode TreeReader::root() const {
    Inode root;
    root.number = kRootInode;
    root.version = state_.head.version;
    root.writer = state_.head.writer;
    root.mtime = state_.head.mtime;
    root.type = EntryType::Directory;
    return root;
}

Result<Inode> TreeReader::inode(InodeNumber number) const {
    if (number == kRootInode) return root();
    const auto record = CFSGATE_TRY(txn_->get(Table::Inode, inode_key(number)));
    if (!record) return fail(Errno::NotFound);
    return decode_inode_record(number, *record, nullptr, nullptr);
}

Result<std::string_view> TreeReader::stored_content(const Inode& inode) const {
    if (inode.is_directory() || inode.size == 0 || inode.unbacked) return std::string_view();
    if (belongs_inline(inode)) {
        const auto record = CFSGATE_TRY(txn_->get(Table::Inode, inode_key(inode.number)));
        if (!record) return fail(Errno::NotFound);
        std::string_view content;
        CFSGATE_TRY(decode_inode_record(inode.number, *record, &content, nullptr));
        if (content.size() != inode.size) return corrupt_inode(inode.number, "not the same entry");
        return content;
    }
    const auto content = CFSGATE_TRY(txn_->get(Table::Content, inode_key(inode.number)));
    if (!content) return corrupt_inode(inode.number, "content is missing");
    if (content->size() != inode.size) {
        return corrupt_inode(inode.number, "content and size disagree");
    }
    return *content;
}

Result<std::string_view> TreeReader::content(const Inode& inode) const {
    if (inode.unbacked) {
        static const std::string zeros(limits::kFileBytesMax, '\0');
        return std::string_view(zeros).substr(0, inode.size);
    }
    return stored_content(inode);
}

Result<InodeNumber> TreeReader::lookup(InodeNumber parent, std::string_view name) const {
    if (name.empty() || name.size() > limits::kNameBytesStoredMax) return fail(Errno::NotFound);
    const auto value = CFSGATE_TRY(txn_->get(Table::Dirent, dirent_key(parent, name)));
    if (!value) return fail(Errno::NotFound);
    if (value->size() < 8) return corrupt_inode(parent, "a directory entry is damaged");
    return InodeNumber(read_big_endian(*value));
}

Result<InodeNumber> TreeReader::resolve(std::string_view path) const {
    InodeNumber at = kRootInode;
    for (const std::string_view component : path_components(path)) {
        at = CFSGATE_TRY(lookup(at, component));
    }
    return at;
}

Result<std::string> TreeReader::path_of(InodeNumber number) const {
    std::string path;
    for (int depth = 0; number != kRootInode; ++depth) {
        if (depth > kDepthMax) return corrupt_inode(number, "its parents form a circle");
        const Inode entry = CFSGATE_TRY(inode(number));
        path = path.empty() ? entry.name : entry.name + "/" + path;
        number = entry.parent;
    }
    return path;
}

Status TreeReader::children(InodeNumber directory, InodeNumber after,
                            const std::function<bool(const Child&)>& sink) const {
    if (after.value() == UINT64_MAX) return {};
    const std::string prefix = inode_key(directory);
    Status status;
    const std::string from = child_key(directory, InodeNumber(after.value() + 1));
    CFSGATE_TRY(txn_->scan(Table::Child, from, [&](std::string_view key, std::string_view value) {
        if (key.substr(0, 8) != prefix) return false;
        if (key.size() != 16 || value.size() < 2) {
            status = corrupt_inode(directory, "its list of children is damaged");
            return false;
        }
        Child child;
        child.inode = InodeNumber(read_big_endian(key.substr(8)));
        child.type = static_cast<EntryType>(value[0]);
        child.name = value.substr(1);
        return sink(child);
    }));
    return status;
}

Status TreeReader::headers(InodeNumber directory, InodeNumber after,
                           const std::function<bool(const Inode&)>& sink) const {
    lmdb::Transaction::Lookups records(*txn_, Table::Inode);
    Status status;
    CFSGATE_TRY(children(directory, after, [&](const Child& child) {
        const auto record = records.get(inode_key(child.inode));
        if (!record) {
            status = tl::unexpected(record.error());
            return false;
        }
        if (!*record) return true;
        const auto inode = decode_inode_record(child.inode, **record, nullptr, nullptr);
        if (!inode) {
            status = tl::unexpected(inode.error());
            return false;
        }
        return sink(*inode);
    }));
    return status;
}

Result<Version> TreeReader::names_version(InodeNumber directory) const {
    const auto value = CFSGATE_TRY(txn_->get(Table::Child, child_key(directory, kRootInode)));
    if (!value || value->size() != 8) {
        return corrupt_inode(directory, "the version of its names is missing");
    }
    return Version(read_big_endian(*value));
}

Result<bool> TreeReader::has_children(InodeNumber directory) const {
    bool found = false;
    CFSGATE_TRY(children(directory, kRootInode, [&](const Child&) {
        found = true;
        return false;
    }));
    return found;
}

Status TreeReader::for_each(
    const std::function<Status(const Inode&, std::string_view content)>& sink) const {
    CFSGATE_TRY(sink(root(), {}));
    Status status;
    CFSGATE_TRY(txn_->scan(Table::Inode, {}, [&](std::string_view key, std::string_view record) {
        status = [&]() -> Status {
            if (key.size() != 8) return fail(Errno::Corrupt, "an inode's key is damaged");
            const InodeNumber number(read_big_endian(key));
            std::string_view content;
            bool is_inline = false;
            const Inode inode =
                CFSGATE_TRY(decode_inode_record(number, record, &content, &is_inline));
            if (!is_inline) content = CFSGATE_TRY(stored_content(inode));
            return sink(inode, content);
        }();
        return status.has_value();
    }));
    return status;
}

// --- Writing ---

Result<std::unique_ptr<TreeWriter>> TreeWriter::make(std::unique_ptr<lmdb::Transaction> txn) {
    std::unique_ptr<TreeWriter> writer(new TreeWriter(std::move(txn)));
    const auto bytes = CFSGATE_TRY(writer->txn_->get(Table::Meta, kHeadKey));
    if (!bytes) return fail(Errno::Corrupt, "the tree's head record is missing");
    writer->state_ = CFSGATE_TRY(decode_state(*bytes));
    return writer;
}

Result<std::unique_ptr<TreeWriter>> TreeWriter::make_new(std::unique_ptr<lmdb::Transaction> txn,
                                                         const StoreIds& ids,
                                                         const TreeHead& head) {
    std::unique_ptr<TreeWriter> writer(new TreeWriter(std::move(txn)));
    ByteWriter out;
    out.put(kFormat);
    out.put(ids.store);
    out.put(ids.file_system);
    CFSGATE_TRY(writer->txn_->put(Table::Meta, kIdsKey, out.bytes()));
    writer->state_.head = head;
    CFSGATE_TRY(writer->put_names_version(kRootInode, head.version));
    return writer;
}

Status TreeWriter::put_inode(const Inode& inode, std::string_view inline_content, bool is_inline) {
    return txn_->put(Table::Inode, inode_key(inode.number),
                     encode_inode_record(inode, inline_content, is_inline));
}

Status TreeWriter::put_names(const Inode& inode) {
    std::string value = inode_key(inode.number);
    if (inode.name.size() > kNameBytesInKey) value.append(inode.name);
    CFSGATE_TRY(txn_->put(Table::Dirent, dirent_key(inode.parent, inode.name), value));
    std::string child(1, static_cast<char>(inode.type));
    child.append(inode.name);
    return txn_->put(Table::Child, child_key(inode.parent, inode.number), child);
}

Status TreeWriter::erase_names(const Inode& inode) {
    CFSGATE_TRY(txn_->erase(Table::Dirent, dirent_key(inode.parent, inode.name)));
    return txn_->erase(Table::Child, child_key(inode.parent, inode.number));
}

Status TreeWriter::put_names_version(InodeNumber directory, Version version) {
    return txn_->put(Table::Child, child_key(directory, kRootInode),
                     inode_key(InodeNumber(version.value())));
}

Status TreeWriter::set_all_names_versions(Version version) {
    std::vector<InodeNumber> directories{kRootInode};
    CFSGATE_TRY(for_each([&](const Inode& inode, std::string_view) -> Status {
        if (inode.is_directory()) directories.push_back(inode.number);
        return {};
    }));
    for (const InodeNumber directory : directories) {
        CFSGATE_TRY(put_names_version(directory, version));
    }
    return {};
}

Status TreeWriter::add(const Inode& inode, std::string_view content) {
    CFSGATE_CHECK(inode.unbacked ? content.empty() : content.size() == inode.size);
    const bool is_inline = belongs_inline(inode);
    CFSGATE_TRY(put_inode(inode, content, is_inline));
    if (!is_inline) CFSGATE_TRY(txn_->put(Table::Content, inode_key(inode.number), content));
    CFSGATE_TRY(put_names(inode));
    CFSGATE_TRY(put_names_version(inode.parent, inode.version));
    if (inode.is_directory()) CFSGATE_TRY(put_names_version(inode.number, inode.version));
    state_.usage.entries += 1;
    state_.usage.content_bytes += inode.size;
    return {};
}

Status TreeWriter::update(const Inode& inode) {
    if (!belongs_inline(inode)) return put_inode(inode, {}, false);
    // The put may move the page that the old content lies in.
    const std::string content(CFSGATE_TRY(stored_content(inode)));
    return put_inode(inode, content, true);
}

Status TreeWriter::replace_content(const Inode& before, const Inode& after,
                                   std::string_view content) {
    CFSGATE_CHECK(after.unbacked ? content.empty() : content.size() == after.size);
    const bool was_inline = belongs_inline(before);
    const bool is_inline = belongs_inline(after);
    const std::string key = inode_key(after.number);
    CFSGATE_TRY(put_inode(after, content, is_inline));
    if (!is_inline) {
        CFSGATE_TRY(txn_->put(Table::Content, key, content));
    } else if (!was_inline) {
        CFSGATE_TRY(txn_->erase(Table::Content, key));
    }
    state_.usage.content_bytes += after.size;
    state_.usage.content_bytes -= before.size;
    return {};
}

Status TreeWriter::remove(const Inode& inode) {
    CFSGATE_TRY(take_out(inode));
    return put_names_version(inode.parent, state_.head.version);
}

Status TreeWriter::take_out(const Inode& inode) {
    CFSGATE_TRY(erase_names(inode));
    const std::string key = inode_key(inode.number);
    if (inode.is_directory()) {
        CFSGATE_TRY(txn_->erase(Table::Child, child_key(inode.number, kRootInode)));
    }
    if (!belongs_inline(inode)) CFSGATE_TRY(txn_->erase(Table::Content, key));
    CFSGATE_TRY(txn_->erase(Table::Inode, key));
    state_.usage.entries -= 1;
    state_.usage.content_bytes -= inode.size;
    return {};
}

Status TreeWriter::move(const Inode& before, const Inode& after) {
    CFSGATE_TRY(erase_names(before));
    CFSGATE_TRY(put_names(after));
    CFSGATE_TRY(put_names_version(before.parent, after.version));
    CFSGATE_TRY(put_names_version(after.parent, after.version));
    return update(after);
}

Status TreeWriter::commit() {
    CFSGATE_TRY(txn_->put(Table::Meta, kHeadKey, encode_state(state_)));
    return txn_->commit();
}

}  // namespace cfsgate::store
