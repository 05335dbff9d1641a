// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <optional>
#include <string_view>

#include "store/config_db/config_db.h"
#include "store/config_db/sqlite.h"
#include "store/config_db/tree_check.h"
#include "store/model/limits.h"

namespace cfsgate::store {
namespace {

constexpr int kBusyMs = 10'000;
constexpr std::string_view kHeaderName = "__version__";

// In the order of kSelect.
enum Column : int { kInode, kParent, kVersion, kWriter, kMtime, kType, kName, kData };
constexpr std::array<const char*, 8> kColumnNames{"inode", "parent", "version", "writer",
                                                  "mtime", "type",   "name",    "data"};
std::string name_of(Column column) { return kColumnNames[static_cast<std::size_t>(column)]; }

constexpr const char* kSelect =
    "SELECT inode, parent, version, writer, mtime, type, name, data FROM tree";

/// Tells whether somebody wrote to the file between two looks at it.
struct FileState {
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t seconds = 0;
    std::int64_t nanoseconds = 0;
    bool has_log = false;

    friend bool operator==(const FileState&, const FileState&) = default;
};

bool exists(const std::string& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0;
}

Result<FileState> look_at(const std::string& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return fail_posix(ENOENT, file);
        return fail(Errno::InputOutput, fail_posix(errno, file).value().detail);
    }
    if (!S_ISREG(status.st_mode)) return fail(Errno::Corrupt, file + ": not a regular file");
    return FileState{status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                     exists(file + "-wal") || exists(file + "-journal")};
}

/// `path` as an URI of SQLite; the characters with a meaning there are escaped.
std::string file_uri(const std::string& path, const char* query) {
    std::string uri = "file://";
    for (const char c : std::filesystem::absolute(path).string()) {
        switch (c) {
            case '%': uri += "%25"; break;
            case '?': uri += "%3f"; break;
            case '#': uri += "%23"; break;
            default: uri += c;
        }
    }
    return uri + query;
}

/// With a log beside it the file is read under SQLite's locks, the log taken into account. Without
/// one nobody has it open, and "immutable" keeps SQLite from leaving an empty log behind (and from
/// needing a directory that can be written).
Result<sqlite::Database> open_for_reading(const std::string& file, const FileState& state) {
    const auto uri = file_uri(file, state.has_log ? "" : "?immutable=1");
    auto database = CFSGATE_TRY(
        sqlite::open(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, "cannot open " + file));
    sqlite3_db_config(database.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_busy_timeout(database.get(), kBusyMs);
    return database;
}

Status check_unchanged(const std::string& file, const FileState& before) {
    if (before.has_log) return {};  // SQLite's locks gave us one snapshot
    if (CFSGATE_TRY(look_at(file)) == before) return {};
    return fail(Errno::InputOutput, file + ": changed while it was read");
}

/// The bytes of a text or a blob.
std::string_view text_of(sqlite3_stmt* row, int column) {
    const void* bytes = sqlite3_column_type(row, column) == SQLITE_TEXT
                            ? static_cast<const void*>(sqlite3_column_text(row, column))
                            : sqlite3_column_blob(row, column);
    if (bytes == nullptr) return {};
    // Asked for last: the call before may have converted the text.
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(row, column));
    return {static_cast<const char*>(bytes), size};
}

Status check_table(sqlite3* database, const std::string& file) {
    auto table = CFSGATE_TRY(sqlite::prepare(
        database, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'tree'", file));
    if (!CFSGATE_TRY(sqlite::step(table.get(), file))) {
        return fail(Errno::Corrupt, file + ": there is no table 'tree'");
    }
    std::vector<std::string> present;
    auto columns = CFSGATE_TRY(
        sqlite::prepare(database, "SELECT lower(name) FROM pragma_table_info('tree')", file));
    while (CFSGATE_TRY(sqlite::step(columns.get(), file))) {
        present.emplace_back(text_of(columns.get(), 0));
    }
    for (const char* name : kColumnNames) {
        if (std::find(present.begin(), present.end(), name) == present.end()) {
            return fail(Errno::Corrupt, file + ": table 'tree' has no column '" + name + "'");
        }
    }
    return {};
}

/// Damaged pages can hide rows without any error while reading.
Status check_pages(sqlite3* database, const std::string& file) {
    auto check = CFSGATE_TRY(sqlite::prepare(database, "PRAGMA quick_check(1)", file));
    if (!CFSGATE_TRY(sqlite::step(check.get(), file)) || text_of(check.get(), 0) != "ok") {
        return fail(Errno::Corrupt, file + ": damaged: " + std::string(text_of(check.get(), 0)));
    }
    return {};
}

/// Reads one row. What is wrong with it goes to `problems`; a refused field then is as good as it
/// can be, so that the checks between the rows do not report the same thing again.
class RowReader {
public:
    RowReader(sqlite3_stmt* row, Problems& problems) : row_(row), problems_(problems) {}

    /// Nothing for a row whose inode is not a number.
    std::optional<Entry> read() {
        if (type_of(kInode) != SQLITE_INTEGER) {
            row_name_ = "a row named '" + printable(text_of(row_, kName)) + "'";
            refuse("the inode is not an integer");
            return std::nullopt;
        }
        Entry entry;
        entry.inode.number = InodeNumber(take_u64(kInode));
        row_name_ = row_name(entry.inode.number, text_of(row_, kName));
        entry.inode.parent = InodeNumber(take_u64(kParent));
        entry.inode.version = Version(take_u64(kVersion));
        entry.inode.writer = NodeId(take_u32(kWriter));
        entry.inode.mtime = take_u32(kMtime);
        entry.inode.type = take_type();
        entry.inode.name = take_name();
        entry.content = take_content(entry.inode);
        entry.inode.size = static_cast<std::uint32_t>(entry.content.size());
        if (entry.inode.number == kRootInode) check_header(entry);
        return entry;
    }

private:
    void refuse(const std::string& why) { problems_.add(row_name_, why); }

    int type_of(Column column) const { return sqlite3_column_type(row_, column); }

    std::int64_t take_integer(Column column) {
        if (type_of(column) == SQLITE_INTEGER) return sqlite3_column_int64(row_, column);
        refuse(name_of(column) + " is not an integer");
        return 0;
    }

    /// The table holds the bit pattern of the unsigned number.
    std::uint64_t take_u64(Column column) {
        return static_cast<std::uint64_t>(take_integer(column));
    }

    std::uint32_t take_u32(Column column) {
        const auto value = take_integer(column);
        if (value < 0 || value > std::numeric_limits<std::uint32_t>::max()) {
            refuse(name_of(column) + " " + std::to_string(value) + " is out of range");
            return 0;
        }
        return static_cast<std::uint32_t>(value);
    }

    EntryType take_type() {
        const auto value = take_integer(kType);
        if (value == static_cast<int>(EntryType::File)) return EntryType::File;
        if (value != static_cast<int>(EntryType::Directory)) {
            refuse("type " + std::to_string(value) + " is neither 4 nor 8");
        }
        return EntryType::Directory;
    }

    std::string take_name() {
        const int type = type_of(kName);
        const auto name = text_of(row_, kName);
        if (type == SQLITE_NULL) {
            refuse("the name is NULL");
        } else if (type != SQLITE_TEXT) {
            refuse("the name is not text");
        } else if (name.empty()) {
            refuse("the name is empty");
        } else if (name.size() > limits::kNameBytesStoredMax) {
            refuse("the name is too long");
        } else if (name == "." || name == "..") {
            refuse("the name is reserved");
        } else if (name.find('/') != name.npos || name.find('\0') != name.npos) {
            refuse("the name holds a slash or a NUL");
        }
        return std::string(name);
    }

    std::string take_content(const Inode& inode) {
        const int type = type_of(kData);
        // Text is what an edit by hand leaves; its bytes are the content all the same.
        if (type != SQLITE_NULL && type != SQLITE_BLOB && type != SQLITE_TEXT) {
            refuse("data is neither bytes nor NULL");
            return {};
        }
        const auto data = text_of(row_, kData);
        if (data.empty()) return {};
        // Not inode.type, which a wrong type has left as a directory.
        const bool is_directory =
            sqlite3_column_int64(row_, kType) == static_cast<int>(EntryType::Directory);
        if (inode.number != kRootInode && is_directory) {
            refuse("a directory has data");
            return {};
        }
        if (data.size() > limits::kFileBytesMax) {
            refuse(std::to_string(data.size()) + " bytes of data are too many");
            return {};
        }
        return std::string(data);
    }

    void check_header(const Entry& entry) {
        if (entry.inode.name != kHeaderName) {
            refuse("inode 0 must have the name " + std::string(kHeaderName));
        }
        if (entry.inode.parent != kRootInode) refuse("inode 0 must have parent 0");
        if (entry.inode.version == Version(0)) refuse("the root's version is 0");
        if (!entry.content.empty()) refuse("inode 0 has data");
    }

    sqlite3_stmt* row_;
    Problems& problems_;
    std::string row_name_;
};

void add_row(ConfigDb& tree, Entry entry, bool& has_header, Problems& problems) {
    if (entry.inode.number != kRootInode) {
        tree.entries.push_back(std::move(entry));
        return;
    }
    if (has_header) {
        problems.add(row_name(kRootInode, entry.inode.name), "the inode is there twice");
    }
    has_header = true;
    tree.head = {entry.inode.version, entry.inode.writer, entry.inode.mtime};
}

Result<ConfigDb> read_rows(sqlite3* database, const std::string& file, Problems& problems) {
    ConfigDb tree;
    bool has_header = false;
    auto rows = CFSGATE_TRY(sqlite::prepare(database, kSelect, file));
    while (CFSGATE_TRY(sqlite::step(rows.get(), file))) {
        auto entry = RowReader(rows.get(), problems).read();
        if (entry) add_row(tree, *std::move(entry), has_header, problems);
    }
    std::stable_sort(tree.entries.begin(), tree.entries.end(), [](const Entry& a, const Entry& b) {
        return a.inode.number < b.inode.number;
    });
    return tree;
}

}  // namespace

Result<ConfigDb> read_config_db(const std::string& file) {
    const auto before = CFSGATE_TRY(look_at(file));
    const auto database = CFSGATE_TRY(open_for_reading(file, before));
    // One transaction, so that all statements see the same state.
    CFSGATE_TRY(sqlite::execute(database.get(), "BEGIN", file));
    CFSGATE_TRY(check_table(database.get(), file));
    Problems problems;
    auto tree = CFSGATE_TRY(read_rows(database.get(), file, problems));
    check_tree(tree, problems);
    CFSGATE_TRY(problems.finish(file));
    CFSGATE_TRY(check_pages(database.get(), file));
    CFSGATE_TRY(check_unchanged(file, before));
    return tree;
}

}  // namespace cfsgate::store
