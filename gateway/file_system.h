// SPDX-License-Identifier: Apache-2.0
// The file system that every adapter serves. Access, quorum, virtual names and limits are decided
// here and nowhere else.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/file_id.h"
#include "replication/cluster_status.h"
#include "replication/sequencer.h"
#include "store/base/log.h"
#include "store/base/result.h"
#include "store/store.h"

namespace cfsgate::gateway {

struct Caller;

/// Finds a caller's supplementary groups, asked only where the answer matters.
class GroupSource {
public:
    virtual ~GroupSource() = default;
    virtual std::vector<gid_t> groups_of(const Caller& caller) const = 0;
};

/// What an export leaves out for everybody who comes by it, root too.
struct Restriction {
    bool read_only = false;
    /// The private subtrees that are there: `priv/acme`, `nodes/n1/priv`. None: none of them.
    std::vector<std::string> private_paths;
};

/// Who asks.
struct Caller {
    uid_t uid = 0;
    gid_t gid = 0;
    pid_t pid = 0;                             ///< 0: unknown
    const GroupSource* groups = nullptr;       ///< none: no supplementary groups
    const Restriction* restriction = nullptr;  ///< none: all that the rules allow
};

enum class FileKind : std::uint8_t { Directory, File, Symlink };

struct Attributes {
    FileId id;
    FileKind kind = FileKind::File;
    std::uint32_t mode = 0;  ///< permission bits
    gid_t gid = 0;           ///< the owner is always root
    std::uint32_t nlink = 1;
    std::uint64_t size = 0;    ///< bytes
    std::uint64_t blocks = 0;  ///< of 4096 bytes
    std::uint32_t mtime = 0;   ///< seconds since 1970; also atime and ctime
    /// Stands in the nanoseconds of ctime. Of a file: its last change. Of a directory: also that of
    /// its names. Of a virtual entry: a checksum of its text.
    Version version;

    std::uint32_t ctime_nanoseconds() const {
        return static_cast<std::uint32_t>(version.value() % 1'000'000'000U);
    }
};

struct DirectoryEntry {
    FileId id;
    FileKind kind = FileKind::File;
    std::string_view name;                 ///< borrowed for the call
    std::uint64_t cookie = 0;              ///< where the listing goes on behind this entry
    std::optional<Attributes> attributes;  ///< with Listing::WithAttributes, "." and ".." excepted
};

enum class Listing : std::uint8_t { NamesOnly, WithAttributes };

struct FileSystemStatistics {
    std::uint32_t block_bytes = 0;
    std::uint64_t blocks = 0;
    std::uint64_t blocks_free = 0;
    std::uint64_t files = 0;
    std::uint64_t files_free = 0;
    std::uint32_t name_bytes_max = 0;
};

struct OpenMode {
    bool read = false;
    bool write = false;
    /// Also a file that was removed a moment ago: the caller has just looked its name up.
    bool even_removed = false;
    /// A file of up to this size can be read as it is at this moment: OpenFile::as_opened().
    std::uint64_t keep_bytes_max = 0;
};

struct WriteMode {
    bool truncate = false;  ///< cut the file behind the data
    bool append = false;    ///< at the file's end; the offset is ignored
};

enum class ChmodPolicy : std::uint8_t {
    Strict,   ///< as the original: EPERM for what the path does not allow
    Lenient,  ///< always succeeds, without effect, counted
};

// --- For protocols that keep no open files ---

/// Attributes right before and right after a change, from the tree that it met (RFC 1813, 2.6).
struct Around {
    std::optional<Attributes> before;
    std::optional<Attributes> after;
};

/// What a change did.
struct Effect {
    std::optional<Attributes> entry;  ///< made, changed or moved; none where it was removed
    Around directory;                 ///< that holds the name; of a file's change the file itself
    Around target;                    ///< of a rename: the directory where the entry is now
    std::uint32_t bytes = 0;          ///< written
};

/// Makes the note that is kept in the journal with a successful change; called in its transaction,
/// perhaps more than once (the last call counts). Must not block.
using MakeNote = std::function<std::string(const Effect&)>;

struct NewAttributes {
    std::optional<std::uint32_t> mode;
    std::optional<uid_t> uid;
    std::optional<gid_t> gid;
    std::optional<std::uint64_t> size;
    std::optional<std::int64_t> mtime;  ///< seconds since 1970
    bool mtime_is_now = false;
    struct Guard {
        std::uint32_t seconds = 0;
        std::uint32_t nanoseconds = 0;
    };
    std::optional<Guard> guard;  ///< the ctime that the entry must have
};

struct ReadResult {
    std::string data;
    bool end = false;  ///< nothing follows
    Attributes attributes;
};

class OpenFiles;

/// State of one open: which entry, in which mode, and what must be made durable at close. Ends
/// with its last reference; a removed file's content then goes.
class OpenFile : public std::enable_shared_from_this<OpenFile> {
public:
    OpenFile() = default;
    ~OpenFile();
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;

    FileId id() const { return id_; }
    OpenMode mode() const { return mode_; }
    Version opened_version() const { return opened_version_; }
    std::uint64_t opened_size() const { return opened_size_; }
    bool is_virtual() const { return to_virtual(id_).has_value(); }
    /// The content of the opened version, where it was asked for and the file is not larger.
    const std::optional<std::string>& as_opened() const { return as_opened_; }

private:
    friend class FileSystem;
    FileId id_;
    std::shared_ptr<OpenFiles> counted_in_;  ///< shared: a late answer may outlive the façade
    OpenMode mode_;
    Version opened_version_;
    std::uint64_t opened_size_ = 0;
    std::string text_;  ///< of a virtual file, made at open
    std::optional<std::string> as_opened_;
    std::atomic<bool> written_{false};
    std::atomic<std::uint64_t> last_write_{0};  ///< journal sequence still to be made durable
};

/// Told of each published change, on the thread that published it; must not block.
using InvalidationSink = std::function<void(const std::vector<store::Change>&)>;

struct FileSystemOptions {
    std::string node_name;
    gid_t www_data = 0;
    ChmodPolicy chmod_policy = ChmodPolicy::Strict;
    std::uint64_t tree_bytes_max = 128UL << 20;
    std::uint64_t entries_max = 256UL << 10;
    std::chrono::milliseconds deadline{30000};  ///< then callers get TimedOut
    std::uint32_t start_time = 0;               ///< of the daemon, for `.version`
    WallClock clock = system_wall_clock();
    /// Reads and switches debug logging, for `.debug`.
    std::function<bool()> debug_enabled;
    std::function<void(bool)> set_debug;
    /// What is known of the cluster; empty in local mode.
    std::function<std::optional<replication::ClusterStatus>()> cluster;
};

struct FileSystemCounters {
    std::uint64_t ignored_chmods = 0;  ///< lenient policy
    std::uint64_t timed_out = 0;
    std::uint64_t open_files = 0;
    std::uint64_t pinned_files = 0;  ///< removed, and still open
    std::uint64_t pinned_bytes = 0;
};

class AccessRules;
class ClusterLog;
class Deadlines;
class LockTable;
class VirtualFiles;

/// Reads answer at once from the store; changes answer through `done`, once, on any thread.
/// Errors that every change may have: NoAccess (also without quorum), ReadOnly, NoSpace,
/// InputOutput, TimedOut (the outcome is unknown). Threads: any thread may call; `done` must not
/// block.
class FileSystem {
public:
    template <class T>
    using Done = std::function<void(Result<T>)>;

    /// Borrows both; they must outlive this object.
    FileSystem(store::Store& store, replication::Sequencer& sequencer, FileSystemOptions options,
               Logger log);
    ~FileSystem();

    // --- Reading ---

    /// Errors: NotFound, NotDirectory, NoAccess, NameTooLong. `name` may be "." but not "..".
    Result<Attributes> lookup(const Caller& caller, FileId parent, std::string_view name) const;
    /// Errors: StaleHandle. A removed entry answers while it is open, and for a moment after.
    Result<Attributes> getattr(FileId id) const;
    /// Errors: StaleHandle, Invalid for what is no link.
    Result<std::string> readlink(FileId id) const;
    /// Whether the mode bits grant `mask` (R_OK, W_OK, X_OK). Errors: NoAccess, StaleHandle.
    Status access(const Caller& caller, FileId id, int mask) const;
    /// Entries behind `cookie` (0: the start), "." and ".." first, until `sink` returns false.
    /// Cookies stay good while other entries come and go. Errors: NotDirectory, NoAccess, StaleHandle.
    Status readdir(const Caller& caller, FileId directory, std::uint64_t cookie, Listing listing,
                   const std::function<bool(const DirectoryEntry&)>& sink) const;
    FileSystemStatistics statfs() const;

    /// Errors: StaleHandle, NoAccess, IsDirectory.
    Result<std::shared_ptr<OpenFile>> open(const Caller& caller, FileId id, OpenMode mode);
    /// At most `count` bytes at `offset`, from one version of the file. No access check: open did
    /// it. Errors: StaleHandle.
    Result<std::string> read(const OpenFile& file, std::uint64_t offset, std::size_t count) const;

    // --- Changing ---

    /// Writes all of `data`; the file grows if it must. Answers with the bytes written when they can
    /// be read; durable with fsync().
    /// Errors: StaleHandle, FileTooBig, NoSpace, InputOutput for a virtual file.
    void write(OpenFile& file, std::uint64_t offset, std::string data, WriteMode mode,
               Done<std::uint32_t> done);
    /// Errors: StaleHandle, FileTooBig, NoSpace, IsDirectory, NoAccess.
    /// With `file` no access check, and durable with fsync(); without, durable when answered.
    void truncate(const Caller& caller, FileId id, OpenFile* file, std::uint64_t size,
                  Done<Attributes> done);
    /// Answers when what was written through `file` is durable; if nothing was, as catch_up().
    void fsync(OpenFile& file, Done<void> done);
    /// Answers when this node has applied what any node was told is done before the call.
    /// Errors: NoAccess without quorum, Busy, TimedOut.
    void catch_up(Done<void> done);
    /// catch_up(), and all of that is durable here.
    void sync_directory(Done<void> done);
    /// Answers when everything is durable that was applied before the call.
    void sync_all(Done<void> done);

    // --- By number, without an open file: access is checked at each use, nothing that is removed
    // --- answers (StaleHandle), changes are durable when they are answered, and they are answered
    // --- when their outcome is known, however late: the caller has a deadline of its own.

    /// Errors: StaleHandle, NoAccess.
    Result<Attributes> attributes(const Caller& caller, FileId id) const;
    /// What of R_OK, W_OK, X_OK the caller has. Errors: StaleHandle, NoAccess.
    Result<int> granted(const Caller& caller, FileId id) const;
    /// Errors: StaleHandle, NoAccess, IsDirectory, Invalid for a link.
    Result<ReadResult> read_at(const Caller& caller, FileId id, std::uint64_t offset,
                               std::size_t count) const;
    /// The directory that holds `directory`; the root holds itself. Errors: StaleHandle, NoAccess,
    /// NotDirectory.
    Result<Attributes> parent_of(const Caller& caller, FileId directory) const;

    /// A change by number: who, what to keep with it, and where the answer goes.
    struct Order {
        Caller caller;
        MakeNote note;  ///< may be empty
        Done<Effect> done;
    };
    /// Errors: as write(), and NoAccess.
    void write_at(Order order, FileId id, std::uint64_t offset, std::string data);
    /// In this order: guard, mode and owner, size, time. Errors: as truncate(), set_mtime(), chmod(),
    /// chown(); TryAgain: the guard does not hold.
    void set_attributes(Order order, FileId id, NewAttributes wanted);
    /// Makes the file, or fails with Exists.
    void create_new(Order order, FileId parent, std::string name);
    /// Makes the file, or takes the one that is there and cuts it to `size` where that is given.
    void create_or_take(Order order, FileId parent, std::string name,
                        std::optional<std::uint64_t> size);
    void make_directory(Order order, FileId parent, std::string name);
    void remove_name(Order order, FileId parent, std::string name, FileKind kind);
    void move_name(Order order, FileId parent, std::string name, FileId new_parent,
                   std::string new_name);

    struct Created {
        Attributes attributes;
        std::shared_ptr<OpenFile> file;
    };
    /// Creates and opens `name`; with `exclusive` unset opens what is there by then.
    /// Errors: Exists, NotFound, NotDirectory, IsDirectory, NameTooLong, NoSpace, NoAccess.
    void create(const Caller& caller, FileId parent, std::string name, bool exclusive,
                OpenMode mode, Done<Created> done);
    /// Errors: Exists, NotFound, NotDirectory, NameTooLong, NoSpace, NoAccess.
    void mkdir(const Caller& caller, FileId parent, std::string name, Done<Attributes> done);
    /// Errors: NotFound, IsDirectory, NoAccess (also for a virtual entry).
    void unlink(const Caller& caller, FileId parent, std::string name, Done<void> done);
    /// Errors: NotFound, NotDirectory, NotEmpty, Busy for the root, NoAccess.
    void rmdir(const Caller& caller, FileId parent, std::string name, Done<void> done);
    /// Replaces an existing target; onto itself: success, nothing happens. Errors: NotFound, Exists
    /// (guest configured elsewhere), NotEmpty, IsDirectory, NotDirectory, Invalid (into itself),
    /// NameTooLong, NoAccess (also for locks and virtual entries). Answers with what was moved.
    void rename(const Caller& caller, FileId parent, std::string name, FileId new_parent,
                std::string new_name, Done<FileId> done);
    /// Errors: StaleHandle, NoAccess (root, virtual entries, locks of others), Invalid.
    void set_mtime(const Caller& caller, FileId id, std::int64_t seconds, Done<Attributes> done);
    /// No effect but for the answer. Errors: NotPermitted.
    Status chmod(const Caller& caller, FileId id, std::uint32_t mode);
    /// `uid` and `gid` of -1: unchanged. Errors: NotPermitted.
    Status chown(const Caller& caller, FileId id, uid_t uid, gid_t gid);

    // --- For adapters and the daemon ---

    /// Where an entry is, for paths in commands and logs. Errors: NotFound, NotDirectory.
    Result<FileId> resolve(std::string_view path) const;
    /// Set before the first adapter serves.
    void add_invalidation_sink(InvalidationSink sink);
    FileSystemCounters counters() const;
    /// Names this file system in handles; never 0.
    std::uint64_t id() const { return store_.file_system_id(); }
    /// Whether it is, or was, this file system's.
    bool was_id(std::uint64_t id) const { return store_.is_own_file_system_id(id); }
    /// While it lives, changes gather and become one batch at its end.
    replication::Sequencer::Gathering gather() {
        return replication::Sequencer::Gathering(sequencer_);
    }
    /// The notes of the last changes; see Store::notes.
    Result<std::vector<store::Store::Note>> notes(std::uint32_t since, std::size_t most) const {
        return store_.notes(since, most);
    }
    /// Advisory locks of this node, of all adapters. They hold nothing but each other.
    LockTable& locks() const { return *locks_; }
    std::uint32_t now() const { return options_.clock(); }
    bool quorate() const { return sequencer_.quorate(); }

    ClusterLog& cluster_log() { return *cluster_log_; }

private:
    struct Place;
    using Check = std::function<Status(const store::ReadView&, const Operation&)>;

    Result<std::unique_ptr<store::ReadView>> view() const { return store_.read(); }
    Attributes to_attributes(const Inode& inode, std::string_view path) const;
    Attributes with_mode(const Inode& inode, std::uint32_t mode) const;
    /// With the version that the inode is shown with.
    static Attributes shown(const store::ReadView& view, const Inode& inode, Attributes attributes);
    Result<Attributes> attributes_of(const store::ReadView& view, const Inode& inode) const;
    Attributes virtual_attributes(VirtualEntry entry) const;
    Result<Inode> directory(const Caller& caller, const store::ReadView& view, FileId id) const;
    Status may_search(const Caller& caller, const store::ReadView& view,
                      const Inode& directory) const;
    Status may_change(const Caller& caller) const;
    Status may_name(const Caller& caller, std::string_view path) const;
    Result<Place> new_place(const Caller& caller, const store::ReadView& view, FileId parent,
                            const std::string& name) const;
    Result<Place> existing_place(const Caller& caller, const store::ReadView& view, FileId parent,
                                 const std::string& name) const;
    Status check_room(const store::ReadView& view, std::uint64_t more_bytes,
                      std::uint64_t more_entries) const;
    Check room_for_write(InodeNumber inode) const;
    Check kinds_of_rename(InodeNumber source) const;

    Status may_open(const Caller& caller, const store::ReadView& view, const Inode& inode,
                    OpenMode mode) const;
    Status open_removed(const Caller& caller, OpenFile& file) const;
    std::shared_ptr<OpenFile> open_virtual(VirtualEntry entry, OpenMode mode);
    Result<Created> open_by_name(const Caller& caller, FileId parent, const std::string& name,
                                 OpenMode mode);
    Status submit_create(const Caller& caller, FileId parent, const std::string& name,
                         bool exclusive, OpenMode mode, const Done<Created>& done);
    using Submission = replication::Submission;
    Result<Submission> prepare_create(const Caller& caller, FileId parent,
                                      const std::string& name) const;
    Result<Submission> prepare_mkdir(const Caller& caller, FileId parent,
                                     const std::string& name) const;
    Result<Submission> prepare_remove(const Caller& caller, FileId parent, const std::string& name,
                                      bool directory) const;
    Result<Submission> prepare_rename(const Caller& caller, FileId parent, const std::string& name,
                                      FileId new_parent, const std::string& new_name) const;
    static Operation truncation(std::uint64_t old_size, std::string path, std::uint64_t size);
    void remove(const Caller& caller, FileId parent, const std::string& name, bool directory,
                Done<void> done);
    void write_virtual(VirtualEntry entry, std::uint64_t offset, std::string_view data,
                       const Done<std::uint32_t>& done);
    void submit_write(OpenFile* file, InodeNumber inode, replication::Submission submission,
                      WriteMode mode, std::function<void(Result<std::uint32_t>)> done);
    Result<Submission> prepare_mtime(const store::ReadView& view, const Inode& inode,
                                     std::int64_t seconds) const;

    struct Watch;
    Result<Inode> living(const store::ReadView& view, FileId id) const;
    Result<Inode> living_file(const Caller& caller, const store::ReadView& view, FileId id) const;
    Status may_see(const Caller& caller, const store::ReadView& view, const Inode& inode) const;
    std::shared_ptr<Watch> watch(Submission& submission, const MakeNote& note) const;
    void submit_watched(Submission submission, const Order& order);
    void answer_unchanged(const Order& order, FileId id) const;
    Status apply_modes(const Caller& caller, FileId id, const NewAttributes& wanted);
    void set_attributes_virtual(const Order& order, VirtualEntry entry,
                                const NewAttributes& wanted);
    Result<Submission> prepare_size(const Caller& caller, FileId id, std::uint64_t size) const;
    void take_existing(const Order& order, FileId id, std::optional<std::uint64_t> size);
    void answer_attributes(FileId id, const Done<Attributes>& done) const;

    store::Store& store_;
    replication::Sequencer& sequencer_;
    FileSystemOptions options_;
    Logger log_;
    std::unique_ptr<AccessRules> access_;
    std::shared_ptr<OpenFiles> open_files_;
    std::unique_ptr<LockTable> locks_;
    std::unique_ptr<ClusterLog> cluster_log_;
    std::unique_ptr<VirtualFiles> virtual_files_;
    std::unique_ptr<Deadlines> deadlines_;
    std::vector<InvalidationSink> sinks_;
    std::atomic<std::uint64_t> ignored_chmods_{0};
};

}  // namespace cfsgate::gateway
