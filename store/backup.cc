// SPDX-License-Identifier: Apache-2.0
#include "store/backup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "store/base/bytes.h"
#include "store/entry_codec.h"
#include "store/file_io.h"

namespace cfsgate::store {
namespace {

constexpr std::string_view kMagic("cfsgate backup\n\0", 16);
constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kDigestBytes = 32;
constexpr std::size_t kChunkBytes = 1 << 20;
constexpr std::uint32_t kFormerMax = 64;
constexpr const char* kCorosyncConf = "corosync.conf";

void put_header(ByteWriter& out, const BackupHeader& header) {
    out.put_bytes(kMagic);
    out.put(kFormat);
    out.put(header.time);
    out.put(header.file_system);
    out.put(static_cast<std::uint32_t>(header.former.size()));
    for (const std::uint64_t id : header.former) out.put(id);
    out.put_sized(header.node);
    out.put_sized(header.cluster);
    out.put_sized(header.program);
    out.put(header.head.version.value());
    out.put(header.head.writer.value());
    out.put(header.head.mtime);
    out.put(header.entries);
    out.put(header.content_bytes);
}

std::string take_text(ByteReader& in) {
    return std::string(in.take_bytes(in.take<std::uint32_t>()));
}

/// Behind magic and format.
BackupHeader take_header(ByteReader& in) {
    BackupHeader header;
    header.time = in.take<std::uint32_t>();
    header.file_system = in.take<std::uint64_t>();
    const auto former = in.take<std::uint32_t>();
    for (std::uint32_t i = 0; i < std::min(former, kFormerMax); ++i) {
        header.former.push_back(in.take<std::uint64_t>());
    }
    header.node = take_text(in);
    header.cluster = take_text(in);
    header.program = take_text(in);
    header.head.version = Version(in.take<std::uint64_t>());
    header.head.writer = NodeId(in.take<std::uint32_t>());
    header.head.mtime = in.take<std::uint32_t>();
    header.entries = in.take<std::uint64_t>();
    header.content_bytes = in.take<std::uint64_t>();
    return header;
}

void put_digest(ByteWriter& out, const Digest& digest) {
    for (const unsigned char byte : digest) out.put(std::uint8_t{byte});
}

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

/// A new file under its temporary name; it goes away unless it was published.
class NewFile {
public:
    static Result<std::unique_ptr<NewFile>> create(const BackupTarget& target) {
        UniqueFd fd =
            CFSGATE_TRY(open_file(target.temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW));
        return std::unique_ptr<NewFile>(new NewFile(target, std::move(fd)));
    }
    ~NewFile() {
        if (!published_) ::unlink(target_.temporary.c_str());
    }
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;

    Status append(std::string_view bytes) {
        CFSGATE_TRY(write_all(fd_.get(), bytes, offset_, target_.file));
        offset_ += bytes.size();
        return {};
    }
    Status publish() {
        if (::fchmod(fd_.get(), 0600) != 0) return fail_posix(errno, target_.file);
        CFSGATE_TRY(sync_data(fd_.get(), target_.file));
        CFSGATE_TRY(rename());
        published_ = true;
        return sync_directory(directory_of(target_.file));
    }

private:
    NewFile(const BackupTarget& target, UniqueFd fd) : target_(target), fd_(std::move(fd)) {}

    /// Never takes the place of a file that came into being meanwhile.
    Status rename() {
        const char* from = target_.temporary.c_str();
        const char* to = target_.file.c_str();
        if (target_.replace) {
            if (std::rename(from, to) == 0) return {};
            return fail_posix(errno, target_.file);
        }
        if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return {};
        // Not every file system knows the flag; those that do not (NFS) know hard links.
        const bool unknown = errno == EINVAL || errno == ENOSYS;
        if (unknown && ::link(from, to) == 0) {
            ::unlink(from);
            return {};
        }
        return fail_posix(errno, target_.file);
    }

    const BackupTarget& target_;
    UniqueFd fd_;
    std::uint64_t offset_ = 0;
    bool published_ = false;
};

Status check_absent(const BackupTarget& target) {
    struct stat info {};
    if (::lstat(target.file.c_str(), &info) != 0) return {};
    if (!target.replace) return fail(Errno::Exists, target.file + ": exists already");
    if (S_ISREG(info.st_mode)) return {};
    return fail(Errno::Exists, target.file + ": exists already, and is no file");
}

Status write_entries(NewFile& file, Sha256& sum, ByteWriter& buffer, const BackupHeader& header,
                     const ReadView& view, const BackupProgress& progress) {
    std::uint64_t done = 0;
    const auto flush = [&]() -> Status {
        sum.update(buffer.bytes());
        CFSGATE_TRY(file.append(buffer.bytes()));
        buffer.clear();
        return progress ? progress(done, header.content_bytes) : Status{};
    };
    CFSGATE_TRY(view.for_each([&](const Inode& inode, std::string_view content) -> Status {
        if (inode.number == kRootInode) return {};
        put_entry(buffer, inode, content);
        done += inode.size;
        return buffer.bytes().size() < kChunkBytes ? Status{} : flush();
    }));
    return flush();
}

}  // namespace

std::string temporary_beside(const std::string& file) {
    return file + ".part-" + std::to_string(::getpid());
}

Result<BackupHeader> write_backup(const BackupTarget& target, BackupHeader header,
                                  const ReadView& view) {
    CFSGATE_TRY(check_absent(target));
    header.cluster = cluster_of(view);
    header.program = "cfsgate " CFSGATE_VERSION;
    header.head = view.head();
    header.entries = view.usage().entries - 1;
    header.content_bytes = view.usage().content_bytes;
    const auto file = CFSGATE_TRY(NewFile::create(target));
    Sha256 sum;
    ByteWriter buffer;
    put_header(buffer, header);
    CFSGATE_TRY(write_entries(*file, sum, buffer, header, view, target.progress));
    put_digest(buffer, sum.finish());
    CFSGATE_TRY(file->append(buffer.bytes()));
    CFSGATE_TRY(file->publish());
    return header;
}

Result<Backup> decode_backup(std::string_view bytes, const std::string& path) {
    const auto damaged = [&](const char* what) { return fail(Errno::Corrupt, path + ": " + what); };
    ByteReader start(bytes);
    if (start.take_bytes(kMagic.size()) != kMagic) return damaged("not a backup of cfsgate");
    const auto format = start.take<std::uint32_t>();
    if (start.remaining() < kDigestBytes) return damaged("cut short");
    const std::string_view body = bytes.substr(0, bytes.size() - kDigestBytes);
    const Digest digest = Sha256::of(body);
    if (!std::equal(digest.begin(), digest.end(), bytes.end() - kDigestBytes,
                    [](unsigned char a, char b) { return a == static_cast<unsigned char>(b); })) {
        return damaged("damaged: the checksum does not fit the content");
    }
    if (format != kFormat) return damaged("a backup of another format, made by a newer program");
    ByteReader in(body.substr(kMagic.size() + sizeof(format)));
    Backup backup;
    backup.header = take_header(in);
    for (std::uint64_t i = 0; i < backup.header.entries && !in.failed(); ++i) {
        std::string_view content;
        Inode inode = take_entry(in, &content);
        if (in.failed() || !content_fits(inode, content)) return damaged("an entry is damaged");
        const auto& entries = backup.tree.entries;
        if (!entries.empty() && inode.number <= entries.back().inode.number) {
            return damaged("its entries are in disorder");
        }
        backup.tree.entries.push_back({std::move(inode), std::string(content)});
    }
    if (!in.finish("backup")) return damaged("its entries do not fit");
    backup.tree.head = backup.header.head;
    if (content_bytes_of(backup.tree) != backup.header.content_bytes) {
        return damaged("its totals do not fit");
    }
    return backup;
}

Result<Backup> read_backup(const std::string& path) {
    return decode_backup(CFSGATE_TRY(read_file(path)), path);
}

std::string encode_backup(const Backup& backup) {
    ByteWriter out;
    put_header(out, backup.header);
    for (const Entry& entry : backup.tree.entries) put_entry(out, entry.inode, entry.content);
    const Digest digest = Sha256::of(out.bytes());
    put_digest(out, digest);
    return out.take();
}

namespace {

/// The value of the first line `cluster_name: value`.
std::string cluster_name_of(std::string_view text) {
    constexpr std::string_view kKey = "cluster_name:";
    constexpr std::string_view kBlanks = " \t\r";
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
        if (!line.starts_with(kKey)) continue;
        line.remove_prefix(kKey.size());
        line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
        return std::string(line.substr(0, line.find_last_not_of(kBlanks) + 1));
    }
    return "";
}

}  // namespace

std::string cluster_of(const ReadView& view) {
    const auto number = view.resolve(kCorosyncConf);
    if (!number) return "";
    const auto inode = view.inode(*number);
    if (!inode) return "";
    const auto content = view.content(*inode);
    return content ? cluster_name_of(*content) : "";
}

std::string cluster_of(const SavedTree& tree) {
    const auto number = resolve(tree, kCorosyncConf);
    const Entry* entry = number ? find_entry(tree, *number) : nullptr;
    return entry == nullptr ? "" : cluster_name_of(entry->content);
}

}  // namespace cfsgate::store
