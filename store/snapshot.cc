// SPDX-License-Identifier: Apache-2.0
#include "store/snapshot.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "store/base/bytes.h"
#include "store/entry_codec.h"
#include "store/file_io.h"
#include "store/model/digest.h"

namespace cfsgate::store {
namespace {

constexpr std::string_view kMagic = "cfsgate snapshot";
constexpr std::uint32_t kFormat = 1;
constexpr std::string_view kPrefix = "snapshot.";
constexpr std::size_t kDigestBytes = 32;
constexpr std::size_t kHeaderBytes = 60;
constexpr std::size_t kChunkBytes = 1 << 20;

/// Writes in chunks and hashes what it writes.
class HashedFile {
public:
    HashedFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

    ByteWriter& out() { return buffer_; }
    Status flush_if_full() {
        if (buffer_.bytes().size() < kChunkBytes) return {};
        return flush();
    }
    Status finish() {
        CFSGATE_TRY(flush());
        const Digest digest = sum_.finish();
        for (const unsigned char byte : digest) buffer_.put(std::uint8_t{byte});
        return flush();
    }

private:
    Status flush() {
        sum_.update(buffer_.bytes());
        CFSGATE_TRY(write_all(fd_, buffer_.bytes(), offset_, path_));
        offset_ += buffer_.bytes().size();
        buffer_.clear();
        return {};
    }

    int fd_;
    std::string path_;
    ByteWriter buffer_;
    Sha256 sum_;
    std::uint64_t offset_ = 0;
};

}  // namespace

std::string snapshot_name(Sequence journal) {
    std::string digits = std::to_string(journal.value());
    digits.insert(0, 20 - std::min<std::size_t>(20, digits.size()), '0');
    return std::string(kPrefix) + digits;
}

Status write_snapshot_entries(const std::string& directory, const std::string& name,
                              const SnapshotHeader& header, const EntrySource& source) {
    const std::string path = directory + "/" + name;
    const std::string temporary = directory + "/new." + name;
    // What an earlier attempt left may be a file whose flush has failed.
    CFSGATE_TRY(remove_file(temporary));
    {
        const UniqueFd fd = CFSGATE_TRY(open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC));
        HashedFile file(fd.get(), temporary);
        file.out().put_bytes(kMagic);
        file.out().put(kFormat);
        file.out().put(header.store_id);
        file.out().put(header.journal.value());
        file.out().put(header.head.version.value());
        file.out().put(header.head.writer.value());
        file.out().put(header.head.mtime);
        file.out().put(header.entries);
        CFSGATE_TRY(source([&](const Inode& inode, std::string_view content) -> Status {
            put_entry(file.out(), inode, content);
            return file.flush_if_full();
        }));
        CFSGATE_TRY(file.finish());
        CFSGATE_TRY(sync_data(fd.get(), temporary));
    }
    if (std::rename(temporary.c_str(), path.c_str()) != 0) return fail_posix(errno, path);
    return sync_directory(directory);
}

Result<std::string> write_snapshot_file(const std::string& directory, std::uint64_t store_id,
                                        const TreeReader& tree, std::string name) {
    if (name.empty()) name = snapshot_name(tree.journal());
    const SnapshotHeader header{store_id, tree.journal(), tree.head(), tree.usage().entries - 1};
    CFSGATE_TRY(write_snapshot_entries(directory, name, header, [&](const EntryReader& sink) {
        return tree.for_each([&](const Inode& inode, std::string_view content) -> Status {
            return inode.number == kRootInode ? Status() : sink(inode, content);
        });
    }));
    return name;
}

namespace {

Result<SnapshotHeader> take_header(ByteReader& in, const std::string& path) {
    const bool known = in.take_bytes(kMagic.size()) == kMagic;
    const auto format = in.take<std::uint32_t>();
    if (!known || format != kFormat) return fail(Errno::Corrupt, path + ": not a known snapshot");
    SnapshotHeader header;
    header.store_id = in.take<std::uint64_t>();
    header.journal = Sequence(in.take<std::uint64_t>());
    header.head.version = Version(in.take<std::uint64_t>());
    header.head.writer = NodeId(in.take<std::uint32_t>());
    header.head.mtime = in.take<std::uint32_t>();
    header.entries = in.take<std::uint64_t>();
    if (in.failed()) return fail(Errno::Corrupt, path + ": cut short");
    return header;
}

}  // namespace

Result<SnapshotHeader> read_snapshot_header(const std::string& path) {
    const std::string bytes = CFSGATE_TRY(read_file(path, kHeaderBytes));
    ByteReader in(bytes);
    return take_header(in, path);
}

Result<SnapshotHeader> read_snapshot_file(const std::string& path, const EntryReader& sink) {
    return decode_snapshot(CFSGATE_TRY(read_file(path)), path, sink);
}

Result<SnapshotHeader> decode_snapshot(std::string_view bytes, const std::string& path,
                                       const EntryReader& sink) {
    if (bytes.size() < kDigestBytes) return fail(Errno::Corrupt, path + ": cut short");
    const std::string_view body = bytes.substr(0, bytes.size() - kDigestBytes);
    const Digest digest = Sha256::of(body);
    if (!std::equal(digest.begin(), digest.end(), bytes.end() - kDigestBytes,
                    [](unsigned char a, char b) { return a == static_cast<unsigned char>(b); })) {
        return fail(Errno::Corrupt, path + ": the checksum does not fit the content");
    }
    ByteReader in(body);
    const SnapshotHeader header = CFSGATE_TRY(take_header(in, path));
    for (std::uint64_t i = 0; i < header.entries && !in.failed(); ++i) {
        std::string_view content;
        const Inode inode = take_entry(in, &content);
        if (in.failed() || !content_fits(inode, content)) {
            return fail(Errno::Corrupt, path + ": an entry is damaged");
        }
        if (sink) CFSGATE_TRY(sink(inode, content));
    }
    if (!in.finish("snapshot")) return fail(Errno::Corrupt, path + ": the entries do not fit");
    return header;
}

Result<std::vector<std::string>> snapshot_files(const std::string& directory) {
    auto names = CFSGATE_TRY(list_files(directory, kPrefix));
    std::reverse(names.begin(), names.end());
    return names;
}

}  // namespace cfsgate::store
