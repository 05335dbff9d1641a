// SPDX-License-Identifier: Apache-2.0
// The store of one node: the live tree in LMDB, the journal of what was applied, snapshots.
//
// A change takes three steps: a Batch applies operations in one write transaction; commit() appends
// their journal records and publishes the new tree; sync() puts the journal on stable storage.
// Files in the directory: tree.mdb, journal.*, snapshot.*, lost.*, state. See ARCHITECTURE.md, "The store".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/apply.h"
#include "store/base/clock.h"
#include "store/base/log.h"
#include "store/base/result.h"
#include "store/change_counters.h"
#include "store/guest_registry.h"
#include "store/history/reports.h"
#include "store/lock_leases.h"
#include "store/model/index.h"
#include "store/model/inode.h"
#include "store/model/operation.h"

namespace cfsgate::store {

inline constexpr const char* kTreeFileName = "tree.mdb";
/// Files under this prefix were found damaged and put aside; nothing reads them.
inline constexpr const char* kDamagedPrefix = "damaged.";

/// Totals that the limits and statfs speak of.
struct Usage {
    std::uint64_t entries = 1;        ///< root counted
    std::uint64_t content_bytes = 0;  ///< sum of all file sizes

    friend bool operator==(const Usage&, const Usage&) = default;
};

/// A consistent view of the tree (MVCC): no lock, and no copy of the tree. Short-lived: an open one
/// keeps old pages from being reused. Not for use by two threads at once.
/// Errors of every method: InputOutput, Corrupt; others as named.
class ReadView {
public:
    virtual ~ReadView() = default;

    virtual TreeHead head() const = 0;
    virtual Usage usage() const = 0;
    /// Errors: NotFound.
    virtual Result<Inode> inode(InodeNumber number) const = 0;
    /// The bytes of a file, at most inode.size; borrowed until the view ends or a write in the same
    /// transaction. Empty for directories.
    virtual Result<std::string_view> content(const Inode& inode) const = 0;
    /// Errors: NotFound.
    virtual Result<InodeNumber> lookup(InodeNumber parent, std::string_view name) const = 0;
    /// Follows the components of `path` from the root. Errors: NotFound, also below a file.
    virtual Result<InodeNumber> resolve(std::string_view path) const = 0;
    /// The path of an inode, without leading slash; "" for the root. Errors: NotFound.
    virtual Result<std::string> path_of(InodeNumber number) const = 0;

    struct Child {
        InodeNumber inode;
        EntryType type = EntryType::File;
        std::string_view name;  ///< borrowed like content()
    };
    /// The children of `directory` with an inode above `after`, ascending; stops when `sink`
    /// returns false. `after` 0 starts at the first.
    virtual Status children(InodeNumber directory, InodeNumber after,
                            const std::function<bool(const Child&)>& sink) const = 0;
    /// The same with the header of each child. Children whose header is missing are left out.
    virtual Status headers(InodeNumber directory, InodeNumber after,
                           const std::function<bool(const Inode&)>& sink) const = 0;
    /// The tree version when an entry of `directory` was last added, removed or renamed. A directory
    /// has no trace of that in its own record, since the replicated format knows none. Kept on this
    /// node alone. Errors: Corrupt for what is no directory.
    virtual Result<Version> names_version(InodeNumber directory) const = 0;
    /// Every entry, ascending by inode, the root included; stops when `sink` returns an error.
    virtual Status for_each(
        const std::function<Status(const Inode&, std::string_view content)>& sink) const = 0;
};

/// What a peer needs to have the same entry. Errors: NotFound.
///
/// The content is as stored: none where the entry is unbacked. An update message has to carry as
/// many bytes as it says, so there such a file is sent with zeros in their place; who takes it over
/// finds out by its digest (Takeover::index), which leaves the bytes out.
Result<Entry> entry_as_stored(const ReadView& view, InodeNumber inode);

/// Another member's tree, as far as it may differ from the one here.
struct Takeover {
    std::vector<InodeNumber> removed;  ///< what is not there is no error
    /// Inserted, or put in the place of what has the same inode; in any order. The root's, if it is
    /// among them, says the head of the tree. What is removed as well is there afterwards.
    std::vector<Entry> entries;
    std::string index;  ///< encoded: what the result's must be, to the byte
    std::string from;   ///< whose tree it is, for the log and the journal
};

/// What a takeover has done.
struct TakeoverReport {
    Sequence sequence;  ///< for sync()
    /// One or two of each inode; their version is that of the new tree.
    std::vector<Change> changes;
    struct Lost {
        std::string path;  ///< as it was
        std::string what;  ///< "removed", "replaced"
    };
    std::vector<Lost> lost;  ///< entries that are not in the new tree as they were; the first 1000
    std::uint64_t lost_total = 0;  ///< all of them
    /// Both trees have gone on from a common one, so what is lost is not just what others have
    /// changed meanwhile. Where it is false that is likely, and not certain: an entry that is gone
    /// leaves no trace of when it went.
    bool diverged = false;
    std::optional<std::string>
        snapshot;  ///< the file that holds the tree as it was, if any was lost
};

enum class Durability : std::uint8_t {
    Durable,  ///< sync() returns when the journal is on stable storage
    Relaxed,  ///< sync() returns at once: a power cut may take the last moments, never consistency
};

struct StoreOptions {
    std::string directory;
    Durability durability = Durability::Durable;
    std::uint64_t map_bytes = 8ULL << 30;
    std::uint64_t segment_bytes = 16ULL << 20;
    std::uint64_t snapshot_after_bytes = 64ULL << 20;  ///< journal gathered since the last snapshot
    /// The past is kept as long as it is within both (store/history/snapshots.h).
    std::uint64_t journal_keep_bytes = 256ULL << 20;
    std::uint32_t journal_keep_seconds = 30U * 24 * 3600;
    GuardLimits guard;
    /// Names this boot of the machine; a power cut changes it.
    std::function<std::string()> boot_id;  ///< empty: /proc/sys/kernel/random/boot_id
    WallClock clock = system_wall_clock();
};

/// What the start found, for the log and for `status`.
enum class StartKind : std::uint8_t {
    Fresh,    ///< no store was there
    Clean,    ///< stopped cleanly
    Resumed,  ///< the process had ended without a stop; the last records were replayed
    Rebuilt,  ///< the machine had ended without a stop: snapshot and journal
};
std::string_view to_string(StartKind kind);

/// How a journal record can be named; ordered.
struct JournalStatus {
    Sequence appended;  ///< last record written
    Sequence synced;    ///< last record known to be on stable storage
    std::uint64_t segments = 0;
    std::uint64_t bytes = 0;  ///< of records since the oldest kept segment
};

class Store {
public:
    /// Opens the store in `options.directory`, or makes a new one there. The caller holds the
    /// directory's lock (directory_lock.h). Errors: Corrupt, NoSpace, InputOutput and what the
    /// system says, with the file in the detail.
    static Result<std::unique_ptr<Store>> open(StoreOptions options, Logger log);

    /// Makes a store of these entries in a directory without one. Errors: Exists, and as open().
    static Status create_from(const StoreOptions& options, const TreeHead& head,
                              const std::vector<Entry>& entries, Logger log);

    /// Whether there is a store in the directory.
    static bool exists(const std::string& directory);

    virtual ~Store() = default;

    /// Any thread.
    virtual Result<std::unique_ptr<ReadView>> read() const = 0;

    /// Called for each entry about to vanish (deleted, or replaced by rename), inside the write
    /// transaction and before the change is published. Set once, before the first batch.
    using RemovalObserver = std::function<void(const Inode&, std::string_view content)>;
    virtual void observe_removals(RemovalObserver observer) = 0;

    /// Sees the tree right after a change, in its transaction. What it returns is kept in the
    /// journal record of the change, on this node alone, unless it is empty. Must not block.
    using Annotate = std::function<std::string(const ReadView&, const Applied&)>;

    /// One write transaction. One at a time, on one thread from begin to end.
    class Batch {
    public:
        virtual ~Batch() = default;  ///< without commit(): nothing happened
        /// Performs an operation; a refused one changes nothing and is no error of the batch. After
        /// a result of InputOutput or NoSpace with `broken` the whole batch must be dropped.
        /// `annotate`, where given, is asked right after a change; what it returns is its note.
        virtual Applied apply(const Operation& operation, const Stamp& stamp,
                              const Annotate& annotate = {}) = 0;
        /// The tree as this batch has made it so far.
        virtual const ReadView& view() const = 0;
        /// Appends the journal records, then publishes the tree. Returns the last record's number,
        /// for sync(). On an error nothing of the batch happened. Errors: NoSpace, InputOutput.
        virtual Result<Sequence> commit() = 0;
    };
    virtual Result<std::unique_ptr<Batch>> begin() = 0;

    /// Makes the tree that of another member, in one transaction: the new tree whole, or nothing. It
    /// is journaled like a batch, and as durable after sync(). Where entries are lost, a snapshot of
    /// the tree is written first and kept (the newest four of this kind). To be called like begin(),
    /// with no batch open. Errors: BadMessage where the result is no tree or has another index;
    /// NoSpace, InputOutput; ReadOnly in the error state.
    virtual Result<TakeoverReport> take_over(const Takeover& takeover) = 0;

    /// Puts every journal record up to `upto` on stable storage (Durable), or returns (Relaxed).
    /// Any thread; callers that overlap share one flush. Errors: InputOutput: the store is then in
    /// its error state and refuses changes.
    virtual Status sync(Sequence upto) = 0;

    /// Why the store refuses changes; nothing while it is well.
    virtual std::optional<std::string> failure() const = 0;
    /// Why the last change could not be stored; nothing as soon as one is stored again.
    virtual std::optional<std::string> trouble() const = 0;

    /// Back to service after an error, if that is possible now: a fresh snapshot takes the place of
    /// what the journal may have lost, and a new segment that of the one which failed. After changes
    /// were refused for want of space: whether there is some again. Nothing happens to a store that
    /// is well. Waits for an open batch. Errors: NoSpace, InputOutput: the cause persists; Corrupt:
    /// tree.mdb is damaged, and only the next start rebuilds it.
    virtual Status try_recover() = 0;
    /// From now on try_recover() is called by the store itself after an error, at growing intervals.
    /// For an owner whose changes need nothing else after an error: a cluster's do.
    virtual void recover_by_itself() = 0;

    /// The notes of the last `most` annotated changes that are not older than `since`, oldest
    /// first. Reads the journal: slow, for a start.
    struct Note {
        std::uint32_t time = 0;  ///< of the change
        std::string bytes;
    };
    virtual Result<std::vector<Note>> notes(std::uint32_t since, std::size_t most) const = 0;

    virtual const GuestRegistry& guests() const = 0;
    virtual const ChangeCounters& change_counters() const = 0;
    virtual LockLeases& lock_leases() = 0;
    virtual JournalStatus journal_status() const = 0;
    virtual StartKind start_kind() const = 0;
    virtual std::uint64_t file_system_id() const = 0;  ///< random in local mode, never 0
    /// Durable when it returns. The newest 16 former ones stay known. Errors: Invalid for 0.
    virtual Status set_file_system_id(std::uint64_t id) = 0;
    /// The present one, or a former one: file handles with it were issued here.
    virtual bool is_own_file_system_id(std::uint64_t id) const = 0;

    /// The index and the checksum of the whole tree as published. Of the index only what has changed
    /// since the last question is hashed; the checksum is kept until anything changes.
    virtual Result<Index> index() const = 0;
    virtual Result<std::string> encoded_index() const = 0;
    virtual Result<Digest> tree_checksum() const = 0;

    /// Writes a snapshot of the tree as published and drops what it makes unnecessary.
    virtual Status write_snapshot() = 0;

    /// A snapshot of the tree as published, kept until it is deleted. Errors: Invalid, Exists for
    /// the name (is_snapshot_name()).
    virtual Status create_snapshot(const std::string& name) = 0;
    /// A named one, or a tree that a takeover has replaced. Errors: NotFound; Invalid for an
    /// automatic one, which the store needs.
    virtual Status delete_snapshot(const std::string& name) = 0;
    /// Takes the content of what ever was at `path` or below out of this node's past; the present
    /// stays. Repeatable, also after an end in the middle. Errors: Invalid for the root; ReadOnly
    /// in the error state; NoSpace, InputOutput.
    virtual Result<PurgeReport> purge_history(const std::string& path) = 0;
    /// The last time that many entries went in a short time.
    virtual std::optional<RemovalBurst> last_removal_burst() const = 0;

    /// Everything on stable storage, state "clean". Nothing may be called after it.
    virtual Status close() = 0;
};

}  // namespace cfsgate::store
