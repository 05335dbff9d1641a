// SPDX-License-Identifier: Apache-2.0
#include "store/tree_file_probe.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "store/base/bytes.h"
#include "store/entry_codec.h"
#include "store/file_io.h"
#include "store/scratch_tree.h"

namespace cfsgate::store {
namespace {

using lmdb::Table;

/// Damaged pages can also lead in circles.
constexpr unsigned kSecondsMax = 120;

void put_findings(ByteWriter& out, const std::vector<Finding>& findings) {
    out.put(static_cast<std::uint32_t>(findings.size()));
    for (const Finding& finding : findings) {
        out.put_sized(finding.where);
        out.put_sized(finding.what);
    }
}

std::vector<Finding> take_findings(ByteReader& in) {
    const auto take_text = [&] { return std::string(in.take_bytes(in.take<std::uint32_t>())); };
    std::vector<Finding> findings;
    const auto count = in.take<std::uint32_t>();
    for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
        std::string where = take_text();
        findings.push_back({std::move(where), take_text()});
    }
    return findings;
}

/// Each record by itself: one that is damaged does not hide the others.
Status read_entries(const TreeReader& reader, TreeFileProbe& probe) {
    const lmdb::Transaction& txn = reader.transaction();
    return txn.scan(Table::Inode, {}, [&](std::string_view key, std::string_view record) {
        // Keys are big-endian.
        const InodeNumber number(reversed_bytes(ByteReader(key).take<std::uint64_t>()));
        std::string_view content;
        bool is_inline = false;
        auto inode = decode_inode_record(number, record, &content, &is_inline);
        if (inode && !is_inline) {
            const auto stored = reader.stored_content(*inode);
            if (stored) {
                content = *stored;
            } else {
                inode = tl::unexpected(stored.error());
            }
        }
        if (inode) {
            probe.tree.entries.push_back({std::move(*inode), std::string(content)});
        } else {
            probe.unreadable.push_back({"tree.mdb", inode.error().detail});
        }
        return true;
    });
}

Result<TreeFileProbe> probe_here(const std::string& path) {
    const auto scratch = CFSGATE_TRY(ScratchTree::copy_of(path));
    const auto reader = CFSGATE_TRY(scratch->read());
    TreeFileProbe probe;
    if (const auto ids = read_ids(reader->transaction())) {
        probe.ids = *ids;
    } else {
        probe.findings.push_back({"tree.mdb", ids.error().detail});
    }
    probe.tree.head = reader->head();
    probe.tree.journal = reader->journal();
    const auto checked = check_tree_and_tables(*reader);
    if (checked) {
        probe.findings.insert(probe.findings.end(), checked->findings.begin(),
                              checked->findings.end());
    } else {
        probe.findings.push_back({"tree.mdb", checked.error().detail});
    }
    CFSGATE_TRY(read_entries(*reader, probe));
    return probe;
}

std::string encode(const Result<TreeFileProbe>& probe) {
    ByteWriter out;
    out.put(static_cast<std::uint8_t>(probe ? 1 : 0));
    if (!probe) {
        out.put_sized(probe.error().detail);
        return out.take();
    }
    out.put(probe->ids.store);
    out.put(probe->ids.file_system);
    out.put(probe->tree.head.version.value());
    out.put(probe->tree.head.writer.value());
    out.put(probe->tree.head.mtime);
    out.put(probe->tree.journal.value());
    out.put(static_cast<std::uint64_t>(probe->tree.entries.size()));
    for (const Entry& entry : probe->tree.entries) put_entry(out, entry.inode, entry.content);
    put_findings(out, probe->unreadable);
    put_findings(out, probe->findings);
    return out.take();
}

Result<TreeFileProbe> decode(std::string_view bytes, const std::string& path) {
    ByteReader in(bytes);
    if (in.take<std::uint8_t>() == 0) {
        const std::string why(in.take_bytes(in.take<std::uint32_t>()));
        CFSGATE_TRY(in.finish("probe"));
        return fail(Errno::Corrupt, why.empty() ? path + ": cannot be read" : why);
    }
    TreeFileProbe probe;
    probe.ids.store = in.take<std::uint64_t>();
    probe.ids.file_system = in.take<std::uint64_t>();
    probe.tree.head.version = Version(in.take<std::uint64_t>());
    probe.tree.head.writer = NodeId(in.take<std::uint32_t>());
    probe.tree.head.mtime = in.take<std::uint32_t>();
    probe.tree.journal = Sequence(in.take<std::uint64_t>());
    const auto count = in.take<std::uint64_t>();
    for (std::uint64_t i = 0; i < count && !in.failed(); ++i) {
        std::string_view content;
        Inode inode = take_entry(in, &content);
        probe.tree.entries.push_back({std::move(inode), std::string(content)});
    }
    probe.unreadable = take_findings(in);
    probe.findings = take_findings(in);
    CFSGATE_TRY(in.finish("probe"));
    return probe;
}

/// Whatever ends it, ends it in silence.
[[noreturn]] void be_the_child(const std::string& path, int result) {
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM}) {
        ::signal(signal, SIG_DFL);
    }
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere >= 0) ::dup2(nowhere, STDERR_FILENO);
    ::alarm(kSecondsMax);
    std::string bytes = encode(probe_here(path));
    std::string_view left = bytes;
    while (!left.empty()) {
        const ssize_t count = ::write(result, left.data(), left.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) ::_exit(1);
        left.remove_prefix(static_cast<std::size_t>(count));
    }
    ::_exit(0);
}

Result<std::string> read_to_end(int from) {
    std::string bytes;
    std::array<char, 65536> piece{};
    for (;;) {
        const ssize_t count = ::read(from, piece.data(), piece.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_posix(errno, "pipe");
        if (count == 0) return bytes;
        bytes.append(piece.data(), static_cast<std::size_t>(count));
    }
}

}  // namespace

Result<TreeFileProbe> probe_tree_file(const std::string& path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return fail_posix(errno, path);
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_posix(errno, "pipe");
    const UniqueFd reading(ends[0]);
    UniqueFd writing(ends[1]);
    const pid_t child = ::fork();
    if (child < 0) return fail_posix(errno, "fork");
    if (child == 0) be_the_child(path, writing.get());
    writing.reset();
    const auto bytes = read_to_end(reading.get());
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!bytes) return tl::unexpected(bytes.error());
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return fail(Errno::Corrupt, path + ": its pages are damaged beyond reading");
    }
    return decode(*bytes, path);
}

}  // namespace cfsgate::store
