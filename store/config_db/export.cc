// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "store/base/unique_fd.h"
#include "store/config_db/config_db.h"
#include "store/config_db/sqlite.h"

namespace cfsgate::store {
namespace {

constexpr mode_t kFileMode = 0600;

// To the letter what the original's table looks like in the file, blanks included.
constexpr const char* kCreateTable =
    "CREATE TABLE tree ("
    "  inode INTEGER PRIMARY KEY NOT NULL,"
    "  parent INTEGER NOT NULL CHECK(typeof(parent)=='integer'),"
    "  version INTEGER NOT NULL CHECK(typeof(version)=='integer'),"
    "  writer INTEGER NOT NULL CHECK(typeof(writer)=='integer'),"
    "  mtime INTEGER NOT NULL CHECK(typeof(mtime)=='integer'),"
    "  type INTEGER NOT NULL CHECK(typeof(type)=='integer'),"
    "  name TEXT NOT NULL,"
    "  data BLOB)";

constexpr const char* kInsert =
    "INSERT INTO tree (inode, parent, version, writer, mtime, type, name, data)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

tl::unexpected<Error> fail_file(int posix_errno, const std::string& what) {
    const Errno code = posix_errno == EEXIST                            ? Errno::Exists
                       : posix_errno == ENOSPC || posix_errno == EDQUOT ? Errno::NoSpace
                                                                        : Errno::InputOutput;
    return fail(code, fail_posix(posix_errno, what).value().detail);
}

/// SQLite would take a log that an older database left behind for one of ours and replay it.
Status check_absent(const std::string& file) {
    for (const char* suffix : {"", "-wal", "-journal"}) {
        struct stat status {};
        const std::string path = file + suffix;
        if (::lstat(path.c_str(), &status) == 0) return fail_file(EEXIST, path);
        if (errno != ENOENT) return fail_file(errno, path);
    }
    return {};
}

/// A new file beside the target; it goes away unless it was published.
class TemporaryFile {
public:
    static Result<TemporaryFile> create_beside(const std::string& target) {
        std::string path = target + ".tmp-XXXXXX";
        UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
        if (!fd.valid()) return fail_file(errno, "cannot create " + path);
        TemporaryFile file(std::move(path), std::move(fd));
        if (::fchmod(file.fd_.get(), kFileMode) != 0) return fail_file(errno, file.path_);
        return file;
    }

    TemporaryFile(TemporaryFile&& other) noexcept
        : path_(std::exchange(other.path_, {})), fd_(std::move(other.fd_)) {}
    TemporaryFile& operator=(TemporaryFile&&) = delete;
    ~TemporaryFile() {
        if (!path_.empty()) ::unlink(path_.c_str());
    }

    const std::string& path() const { return path_; }

    Status publish_as(const std::string& target) {
        if (::fsync(fd_.get()) != 0) return fail_file(errno, "cannot sync " + path_);
        CFSGATE_TRY(rename_to(target));
        path_.clear();
        return sync_directory_of(target);
    }

private:
    TemporaryFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

    /// Never replaces a file that came into being in the meantime.
    Status rename_to(const std::string& target) {
        if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) == 0) {
            return {};
        }
        // Not every file system knows the flag; those that do not (NFS) know hard links.
        const bool is_unknown = errno == EINVAL || errno == ENOSYS;
        if (!is_unknown || ::link(path_.c_str(), target.c_str()) != 0) {
            return fail_file(errno, "cannot create " + target);
        }
        ::unlink(path_.c_str());
        return {};
    }

    static Status sync_directory_of(const std::string& target) {
        auto directory = std::filesystem::path(target).parent_path().string();
        if (directory.empty()) directory = ".";
        const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!fd.valid() || ::fsync(fd.get()) != 0) {
            return fail_file(errno, "cannot sync " + directory);
        }
        return {};
    }

    std::string path_;
    UniqueFd fd_;
};

std::int64_t bit_pattern(std::uint64_t value) { return static_cast<std::int64_t>(value); }

/// Bytes live until the statement is reset: SQLite does not copy them.
void bind_content(sqlite3_stmt* insert, const std::string& content) {
    if (content.empty()) {
        sqlite3_bind_null(insert, 8);
    } else {
        sqlite3_bind_blob64(insert, 8, content.data(), content.size(), SQLITE_STATIC);
    }
}

Status insert_row(sqlite3_stmt* insert, const Inode& inode, const std::string& content,
                  const std::string& what) {
    sqlite3_bind_int64(insert, 1, bit_pattern(inode.number.value()));
    sqlite3_bind_int64(insert, 2, bit_pattern(inode.parent.value()));
    sqlite3_bind_int64(insert, 3, bit_pattern(inode.version.value()));
    sqlite3_bind_int64(insert, 4, inode.writer.value());
    sqlite3_bind_int64(insert, 5, inode.mtime);
    sqlite3_bind_int64(insert, 6, static_cast<std::int64_t>(inode.type));
    sqlite3_bind_text64(insert, 7, inode.name.data(), inode.name.size(), SQLITE_STATIC,
                        SQLITE_UTF8);
    bind_content(insert, content);
    CFSGATE_TRY(sqlite::step(insert, what));
    sqlite3_reset(insert);
    return {};
}

Status insert_rows(sqlite3* database, const ConfigDb& tree, const std::string& what) {
    const auto insert = CFSGATE_TRY(sqlite::prepare(database, kInsert, what));
    Inode header;
    header.version = tree.head.version;
    header.writer = tree.head.writer;
    header.mtime = tree.head.mtime;
    header.name = "__version__";
    CFSGATE_TRY(insert_row(insert.get(), header, {}, what));
    for (const Entry& entry : tree.entries) {
        CFSGATE_TRY(insert_row(insert.get(), entry.inode, entry.content, what));
    }
    return {};
}

Status fill_database(const std::string& file, const ConfigDb& tree) {
    const std::string what = "cannot write " + file;
    const auto database = CFSGATE_TRY(sqlite::open(file, SQLITE_OPEN_READWRITE, what));
    // Nothing to roll back to: a half-written file is never published.
    CFSGATE_TRY(sqlite::execute(database.get(), "PRAGMA journal_mode = OFF", what));
    CFSGATE_TRY(sqlite::execute(database.get(), "BEGIN", what));
    CFSGATE_TRY(sqlite::execute(database.get(), kCreateTable, what));
    CFSGATE_TRY(insert_rows(database.get(), tree, what));
    return sqlite::execute(database.get(), "COMMIT", what);
}

}  // namespace

Status write_config_db(const std::string& file, const ConfigDb& tree) {
    CFSGATE_TRY(check_absent(file));
    auto temporary = CFSGATE_TRY(TemporaryFile::create_beside(file));
    CFSGATE_TRY(fill_database(temporary.path(), tree));
    return temporary.publish_as(file);
}

}  // namespace cfsgate::store
