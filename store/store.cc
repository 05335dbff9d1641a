// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <iterator>
#include <random>
#include <thread>

#include "store/base/check.h"
#include "store/digest_cache.h"
#include "store/file_io.h"
#include "store/journal.h"
#include "store/journal_record.h"
#include "store/model/digest.h"
#include "store/model/path.h"
#include "store/snapshot.h"
#include "store/state_file.h"
#include "store/tree_tables.h"

namespace cfsgate::store {
namespace {

constexpr std::size_t kSnapshotsKept = 2;
constexpr std::size_t kReplayBatch = 1000;

std::string tree_file(const std::string& directory) { return directory + "/tree.mdb"; }

Status remove_store_files(const std::string& directory) {
    for (const char* prefix : {"tree.mdb", "journal.", "snapshot.", "new.snapshot.", "spare."}) {
        for (const std::string& name : CFSGATE_TRY(list_files(directory, prefix))) {
            CFSGATE_TRY(remove_file(directory + "/" + name));
        }
    }
    return remove_file(directory + "/" + kStateFileName);
}

std::uint64_t random_id() {
    std::random_device device;
    std::uint64_t id = 0;
    while (id == 0) id = (std::uint64_t{device()} << 32) | device();
    return id;
}

/// Every guest that the tree configures, ascending by inode.
Result<std::vector<GuestRegistry::Found>> find_guests(const ReadView& view) {
    std::map<InodeNumber, GuestRegistry::Found> found;
    const auto nodes = view.lookup(kRootInode, "nodes");
    if (!nodes) return std::vector<GuestRegistry::Found>();
    Status status;
    const auto files_of = [&](const std::string& node, GuestType type, InodeNumber directory) {
        return view.children(directory, kRootInode, [&](const ReadView::Child& child) {
            const auto vmid = parse_guest_file_name(child.name);
            if (vmid && child.type == EntryType::File) found[child.inode] = {node, type, *vmid};
            return true;
        });
    };
    CFSGATE_TRY(view.children(*nodes, kRootInode, [&](const ReadView::Child& child) {
        if (child.type != EntryType::Directory || !is_valid_node_name(child.name)) return true;
        const std::string node(child.name);
        for (const GuestType type : {GuestType::Qemu, GuestType::OpenVz, GuestType::Lxc}) {
            const auto directory = view.lookup(child.inode, guest_directory(type));
            if (!directory) continue;
            status = files_of(node, type, *directory);
            if (!status) return false;
        }
        return true;
    }));
    CFSGATE_TRY(std::move(status));
    std::vector<GuestRegistry::Found> guests;
    for (auto& [inode, guest] : found) guests.push_back(std::move(guest));
    return guests;
}

class StoreImpl final : public Store {
public:
    StoreImpl(StoreOptions options, Logger log)
        : options_(std::move(options)), log_(std::move(log)), leases_(options_.clock) {}
    ~StoreImpl() override { stop_maintenance(); }

    /// With `filling` the store counts as none until close().
    Status start(bool filling);
    Status fill(const TreeHead& head, const std::vector<Entry>& entries);

    Result<std::unique_ptr<ReadView>> read() const override {
        return std::unique_ptr<ReadView>(CFSGATE_TRY(reader()));
    }
    void observe_removals(RemovalObserver observer) override {
        removal_observer_ = std::move(observer);
    }
    Result<std::unique_ptr<Batch>> begin() override;
    Status sync(Sequence upto) override;
    std::optional<std::string> failure() const override {
        MutexLock lock(mutex_);
        return failure_;
    }
    Result<std::vector<Note>> notes(std::uint32_t since, std::size_t most) const override;
    const GuestRegistry& guests() const override { return guests_; }
    const ChangeCounters& change_counters() const override { return counters_; }
    LockLeases& lock_leases() override { return leases_; }
    JournalStatus journal_status() const override;
    StartKind start_kind() const override { return start_kind_; }
    std::uint64_t file_system_id() const override { return state_.ids.file_system; }
    Result<Index> index() const override { return digests_.index(*CFSGATE_TRY(reader())); }
    Result<Digest> tree_checksum() const override {
        return digests_.tree_checksum(*CFSGATE_TRY(reader()));
    }
    Status write_snapshot() override;
    Status close() override;

private:
    class BatchImpl;

    Result<std::unique_ptr<TreeReader>> reader() const {
        return TreeReader::make(CFSGATE_TRY(lmdb::Transaction::read(*environment_)));
    }
    Result<std::unique_ptr<TreeWriter>> writer() {
        return TreeWriter::make(CFSGATE_TRY(lmdb::Transaction::write(*environment_)));
    }
    Status open_environment();
    Status open_journal();
    /// Opens tree.mdb as the last process left it. Errors: Corrupt: rebuild it.
    Status trust_tree();
    Status rebuild_tree();
    Status load_base(const std::vector<std::string>& snapshots);
    Result<std::uint64_t> replay();
    Status learn_from_tree();
    Status relearn_guests();
    void fail_store(const std::string& why);
    void maintain();
    void wake_maintenance();
    void stop_maintenance();

    StoreOptions options_;
    Logger log_;
    StateFile state_;
    StartKind start_kind_ = StartKind::Fresh;
    std::unique_ptr<lmdb::Environment> environment_;
    std::unique_ptr<Journal> journal_;
    GuestRegistry guests_;
    ChangeCounters counters_;
    LockLeases leases_;
    mutable DigestCache digests_;
    RemovalObserver removal_observer_;
    std::atomic<std::uint64_t> snapshot_at_bytes_{0};

    mutable Mutex mutex_;
    std::optional<std::string> failure_ CFSGATE_GUARDED_BY(mutex_);
    CondVar maintenance_wanted_;
    bool work_waiting_ CFSGATE_GUARDED_BY(mutex_) = false;
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    Mutex snapshot_mutex_;  ///< one snapshot at a time
    std::thread maintenance_;
};

// --- Start ---

Status StoreImpl::open_environment() {
    environment_ = CFSGATE_TRY(
        lmdb::Environment::open({tree_file(options_.directory), options_.map_bytes, false}));
    return {};
}

Status StoreImpl::open_journal() {
    JournalOptions journal;
    journal.directory = options_.directory;
    journal.store_id = state_.ids.store;
    journal.segment_bytes = options_.segment_bytes;
    journal.sync_segments = options_.durability == Durability::Durable;
    journal_ = CFSGATE_TRY(Journal::open(std::move(journal), log_));
    return {};
}

Status StoreImpl::trust_tree() {
    struct stat info {};
    if (::stat(tree_file(options_.directory).c_str(), &info) != 0) {
        return fail(Errno::Corrupt, tree_file(options_.directory) + " is missing");
    }
    CFSGATE_TRY(open_environment());
    const auto txn = CFSGATE_TRY(lmdb::Transaction::read(*environment_));
    const StoreIds ids = CFSGATE_TRY(read_ids(*txn));
    if (ids.store != state_.ids.store) {
        return fail(Errno::Corrupt, tree_file(options_.directory) + " belongs to another store");
    }
    if (CFSGATE_TRY(reader())->journal() > journal_->appended()) {
        return fail(Errno::Corrupt, "the tree is ahead of the journal");
    }
    return {};
}

Status StoreImpl::load_base(const std::vector<std::string>& snapshots) {
    for (const std::string& name : snapshots) {
        auto txn = CFSGATE_TRY(lmdb::Transaction::write(*environment_));
        auto tree = CFSGATE_TRY(TreeWriter::make_new(std::move(txn), state_.ids, TreeHead{}));
        const auto header = read_snapshot_file(options_.directory + "/" + name,
                                               [&](const Inode& inode, std::string_view content) {
                                                   return tree->add(inode, content);
                                               });
        if (header && header->store_id == state_.ids.store) {
            tree->set_head(header->head);
            CFSGATE_TRY(tree->set_all_names_versions(header->head.version));
            tree->set_journal(header->journal);
            return tree->commit();
        }
        log_->error("{}; trying an older snapshot",
                    header ? name + ": belongs to another store" : header.error().detail);
    }
    // With records, their versions tell whether they begin with an empty tree.
    if (!snapshots.empty() && journal_->appended() == Sequence()) {
        return fail(Errno::Corrupt,
                    options_.directory + ": no snapshot can be read, and the journal is empty");
    }
    if (!state_.from_empty) {
        return fail(Errno::Corrupt, options_.directory +
                                        ": no snapshot can be read, and without one the tree "
                                        "cannot be rebuilt; restore the directory from a backup");
    }
    auto tree = CFSGATE_TRY(TreeWriter::make_new(
        CFSGATE_TRY(lmdb::Transaction::write(*environment_)), state_.ids, TreeHead{}));
    return tree->commit();
}

Status StoreImpl::rebuild_tree() {
    environment_.reset();
    const std::string file = tree_file(options_.directory);
    CFSGATE_TRY(remove_file(file));
    CFSGATE_TRY(remove_file(file + "-lock"));
    CFSGATE_TRY(open_environment());
    const auto snapshots = CFSGATE_TRY(snapshot_files(options_.directory));
    CFSGATE_TRY(load_base(snapshots));
    return {};
}

/// Applies the records that the tree lacks; returns how many.
Result<std::uint64_t> StoreImpl::replay() {
    // The daemon's own counters start after this.
    ChangeCounters counters;
    LockLeases leases(options_.clock);
    auto tree = CFSGATE_TRY(writer());
    std::uint64_t count = 0;
    std::uint64_t uncommitted_bytes = 0;
    Sequence expected(tree->journal().value() + 1);
    const RemovalObserver nobody;
    CFSGATE_TRY(
        journal_->read(tree->journal(), [&](Sequence sequence, std::string_view payload) -> Status {
            const std::string where = "journal record " + std::to_string(sequence.value());
            if (sequence != expected) return fail(Errno::Corrupt, where + ": records are missing");
            const JournalRecord record = CFSGATE_TRY(decode_journal_record(payload));
            // What was applied once is not judged again: the list of that time may have known less
            // than the tree says.
            GuestRegistry guests;
            ApplyContext context{*tree, guests, leases, counters, nobody};
            const Applied applied = apply(context, record.operation, record.stamp);
            if (!applied.ok || applied.version != record.version) {
                return fail(Errno::Corrupt, where + ": does not apply to the tree");
            }
            tree->set_journal(sequence);
            expected = Sequence(sequence.value() + 1);
            ++count;
            uncommitted_bytes += payload.size();
            // One transaction does not reuse the pages that it has freed itself.
            if (count % kReplayBatch == 0 || uncommitted_bytes > options_.map_bytes / 64) {
                CFSGATE_TRY(tree->commit());
                tree = CFSGATE_TRY(writer());
                uncommitted_bytes = 0;
            }
            return {};
        }));
    if (expected.value() <= journal_->appended().value()) {
        return fail(Errno::Corrupt, "journal record " + std::to_string(expected.value()) +
                                        " is damaged, and newer ones follow it");
    }
    if (uncommitted_bytes > 0) CFSGATE_TRY(tree->commit());
    return count;
}

Status StoreImpl::relearn_guests() {
    const auto view = CFSGATE_TRY(reader());
    if (!view->lookup(kRootInode, "nodes") && guests_.list().guests.empty()) return {};
    for (const auto& guest : guests_.rebuild(CFSGATE_TRY(find_guests(*view)))) {
        log_->error(
            "guest {} is configured twice: the second one, on node {}, is left out of the "
            "guest list; remove one of the two",
            guest.vmid, guest.node);
    }
    return {};
}

Status StoreImpl::learn_from_tree() {
    CFSGATE_TRY(relearn_guests());
    counters_.count_all();
    const auto view = CFSGATE_TRY(reader());
    const auto locks = view->resolve("priv/lock");
    if (!locks) return {};
    return view->children(*locks, kRootInode, [&](const ReadView::Child& child) {
        if (child.type != EntryType::Directory) return true;
        if (const auto lock = view->inode(child.inode)) {
            leases_.start("priv/lock/" + lock->name, entry_checksum(*lock, {}));
        }
        return true;
    });
}

Status StoreImpl::start(bool filling) {
    if (!options_.boot_id) options_.boot_id = system_boot_id;
    const std::string boot_id = options_.boot_id();
    auto found = read_state_file(options_.directory);
    if (found && found->word == StateFile::Word::Filling) {
        // What an import left that did not end.
        CFSGATE_TRY(remove_store_files(options_.directory));
        found = fail(Errno::NotFound);
    }
    if (found) {
        state_ = *found;
        // A boot that cannot be named is never the same one.
        const bool same_boot = !boot_id.empty() && state_.boot_id == boot_id;
        start_kind_ = state_.clean() ? StartKind::Clean
                      : same_boot    ? StartKind::Resumed
                                     : StartKind::Rebuilt;
    } else if (found.error().code == Errno::NotFound && !exists(options_.directory)) {
        state_.ids = {random_id(), random_id()};
        start_kind_ = StartKind::Fresh;
        state_.boot_id = boot_id;
        if (filling) state_.word = StateFile::Word::Filling;
        CFSGATE_TRY(write_state_file(options_.directory, state_));
    } else {
        return tl::unexpected(found.error());
    }

    CFSGATE_TRY(open_journal());
    if (start_kind_ == StartKind::Clean || start_kind_ == StartKind::Resumed) {
        if (const Status trusted = trust_tree(); !trusted) {
            log_->error("{}; rebuilding the tree from snapshot and journal",
                        trusted.error().detail);
            start_kind_ = StartKind::Rebuilt;
        }
    }
    if (start_kind_ == StartKind::Fresh || start_kind_ == StartKind::Rebuilt) {
        CFSGATE_TRY(rebuild_tree());
    }
    const std::uint64_t replayed = CFSGATE_TRY(replay());
    CFSGATE_TRY(learn_from_tree());
    log_->info("store opened: {}, {} journal records replayed", to_string(start_kind_), replayed);

    if (!filling) {
        state_.word = StateFile::Word::InUse;
        state_.boot_id = boot_id;
        CFSGATE_TRY(write_state_file(options_.directory, state_));
    }
    snapshot_at_bytes_ = options_.snapshot_after_bytes;
    maintenance_ = std::thread([this] { maintain(); });
    wake_maintenance();
    return {};
}

Status StoreImpl::fill(const TreeHead& head, const std::vector<Entry>& entries) {
    auto txn = CFSGATE_TRY(lmdb::Transaction::write(*environment_));
    auto tree = CFSGATE_TRY(TreeWriter::make(std::move(txn)));
    for (const Entry& entry : entries) CFSGATE_TRY(tree->add(entry.inode, entry.content));
    tree->set_head(head);
    CFSGATE_TRY(tree->set_all_names_versions(head.version));
    CFSGATE_TRY(tree->commit());
    state_.from_empty = false;
    return write_snapshot();
}

// --- Changing ---

class StoreImpl::BatchImpl final : public Batch {
public:
    BatchImpl(StoreImpl& store, std::unique_ptr<TreeWriter> tree)
        : store_(store), tree_(std::move(tree)) {}

    ~BatchImpl() override {
        if (tree_ == nullptr || !changed_) return;
        tree_.reset();
        store_.journal_->discard();
        forget();
    }

    Applied apply(const Operation& operation, const Stamp& stamp,
                  const Annotate& annotate) override {
        const Version before = tree_->head().version;
        ApplyContext context{*tree_, store_.guests_, store_.leases_, store_.counters_,
                             store_.removal_observer_};
        Applied applied = store::apply(context, operation, stamp);
        changed_ = changed_ || applied.broken || applied.version != before;
        if (applied.ok && applied.version != before) {
            std::string note = annotate ? annotate(*tree_, applied) : std::string();
            last_ = store_.journal_->add(
                encode_journal_record({applied.version, stamp, operation, std::move(note)}));
        } else if (applied.ok && annotate) {
            annotate(*tree_, applied);
        }
        return applied;
    }

    const ReadView& view() const override { return *tree_; }

    Result<Sequence> commit() override {
        if (!changed_) {
            tree_.reset();
            return store_.journal_->appended();
        }
        tree_->set_journal(last_);
        if (auto written = store_.journal_->write(); !written) {
            return give_up(written.error(), false);
        }
        if (auto committed = tree_->commit(); !committed) {
            return give_up(committed.error(), true);
        }
        tree_.reset();
        if (store_.journal_->spare_wanted() ||
            store_.journal_->bytes_written() >= store_.snapshot_at_bytes_) {
            store_.wake_maintenance();
        }
        return last_;
    }

private:
    tl::unexpected<Error> give_up(const Error& error, bool written) {
        tree_.reset();
        store_.journal_->discard();
        if (written) {
            if (const auto undone = store_.journal_->undo_write(); !undone) {
                store_.fail_store(undone.error().detail);
            }
        }
        forget();
        store_.log_->error("a change could not be stored: {}", error.detail);
        return tl::unexpected(error);
    }
    /// What lives beside the tree goes back to what the published tree says.
    void forget() {
        if (const auto status = store_.relearn_guests(); !status) {
            store_.fail_store(status.error().detail);
        }
    }

    StoreImpl& store_;
    std::unique_ptr<TreeWriter> tree_;
    Sequence last_;
    bool changed_ = false;
};

Result<std::unique_ptr<Store::Batch>> StoreImpl::begin() {
    if (const auto why = failure()) return fail(Errno::ReadOnly, *why);
    return std::unique_ptr<Batch>(new BatchImpl(*this, CFSGATE_TRY(writer())));
}

Status StoreImpl::sync(Sequence upto) {
    if (options_.durability == Durability::Relaxed || journal_->synced() >= upto) return {};
    const auto synced = journal_->sync();
    if (!synced) {
        fail_store(synced.error().detail);
        return tl::unexpected(synced.error());
    }
    return {};
}

void StoreImpl::fail_store(const std::string& why) {
    MutexLock lock(mutex_);
    if (failure_) return;
    failure_ = why;
    log_->critical(
        "the store refuses changes from now on: {}; restart the daemon when the cause "
        "is gone",
        why);
}

JournalStatus StoreImpl::journal_status() const {
    JournalStatus status;
    status.appended = journal_->appended();
    status.synced = journal_->synced();
    status.segments = journal_->segment_count();
    status.bytes = journal_->bytes_written();
    return status;
}

Result<std::vector<Store::Note>> StoreImpl::notes(std::uint32_t since, std::size_t most) const {
    std::vector<std::uint64_t> segments = CFSGATE_TRY(Journal::segment_numbers(options_.directory));
    std::vector<std::vector<Note>> found;  // by segment, the newest first
    std::size_t count = 0;
    bool too_old = false;
    for (auto number = segments.rbegin(); number != segments.rend() && !too_old && count < most;
         ++number) {
        std::vector<Note>& notes = found.emplace_back();
        bool first = true;
        CFSGATE_TRY(Journal::scan_segment(
            options_.directory, *number, state_.ids.store,
            [&](Sequence, std::string_view payload) -> Status {
                JournalRecord record = CFSGATE_TRY(decode_journal_record(payload));
                if (std::exchange(first, false)) too_old = record.stamp.time < since;
                if (record.note.empty() || record.stamp.time < since) return {};
                notes.push_back({record.stamp.time, std::move(record.note)});
                return {};
            }));
        count += notes.size();
    }
    std::vector<Note> notes;
    for (auto part = found.rbegin(); part != found.rend(); ++part) {
        std::move(part->begin(), part->end(), std::back_inserter(notes));
    }
    if (notes.size() > most) {
        notes.erase(notes.begin(), notes.end() - static_cast<std::ptrdiff_t>(most));
    }
    return notes;
}

// --- Behind the callers ---

Status StoreImpl::write_snapshot() {
    MutexLock lock(snapshot_mutex_);
    const auto view = CFSGATE_TRY(reader());
    const std::string name =
        CFSGATE_TRY(write_snapshot_file(options_.directory, state_.ids.store, *view));
    snapshot_at_bytes_ = journal_->bytes_written() + options_.snapshot_after_bytes;
    const auto names = CFSGATE_TRY(snapshot_files(options_.directory));
    for (std::size_t i = kSnapshotsKept; i < names.size(); ++i) {
        CFSGATE_TRY(remove_file(options_.directory + "/" + names[i]));
    }
    log_->info("{} written: {} entries, version {}", name, view->usage().entries,
               view->head().version.value());
    if (names.size() < kSnapshotsKept) return {};
    // The older of the kept snapshots must stay usable as well.
    const std::string& oldest = names[kSnapshotsKept - 1];
    const Sequence upto(std::stoull(oldest.substr(oldest.find('.') + 1)));
    const std::int64_t oldest_time =
        std::int64_t{options_.clock()} - std::int64_t{options_.journal_keep_seconds};
    return journal_->prune(upto, options_.journal_keep_bytes, oldest_time);
}

void StoreImpl::maintain() {
    for (;;) {
        {
            MutexLock lock(mutex_);
            while (!work_waiting_ && !stopping_) maintenance_wanted_.wait(mutex_);
            if (stopping_) return;
            work_waiting_ = false;
        }
        if (journal_->spare_wanted()) {
            if (const auto status = journal_->prepare_spare(); !status) {
                log_->warn("{}: the next journal segment will be made when it is needed",
                           status.error().detail);
            }
        }
        if (journal_->bytes_written() >= snapshot_at_bytes_) {
            if (const auto status = write_snapshot(); !status) {
                log_->error("snapshot: {}", status.error().detail);
                snapshot_at_bytes_ = journal_->bytes_written() + options_.segment_bytes;
            }
        }
    }
}

void StoreImpl::wake_maintenance() {
    MutexLock lock(mutex_);
    work_waiting_ = true;
    maintenance_wanted_.notify_one();
}

void StoreImpl::stop_maintenance() {
    {
        MutexLock lock(mutex_);
        stopping_ = true;
        maintenance_wanted_.notify_one();
    }
    if (maintenance_.joinable()) maintenance_.join();
}

Status StoreImpl::close() {
    stop_maintenance();
    if (failure()) return fail(Errno::InputOutput, "not marked clean: " + *failure());
    CFSGATE_TRY(environment_->sync());
    CFSGATE_TRY(journal_->sync());
    state_.word = StateFile::Word::Clean;
    return write_state_file(options_.directory, state_);
}

}  // namespace

std::string_view to_string(StartKind kind) {
    switch (kind) {
        case StartKind::Fresh: return "fresh";
        case StartKind::Clean: return "clean";
        case StartKind::Resumed: return "resumed";
        case StartKind::Rebuilt: return "rebuilt";
    }
    return "unknown";
}

bool Store::exists(const std::string& directory) {
    const auto state = read_state_file(directory);
    if (state) return state->word != StateFile::Word::Filling;
    if (state.error().code != Errno::NotFound) return true;
    struct stat info {};
    return ::stat(tree_file(directory).c_str(), &info) == 0;
}

Result<std::unique_ptr<Store>> Store::open(StoreOptions options, Logger log) {
    auto store = std::make_unique<StoreImpl>(std::move(options), std::move(log));
    CFSGATE_TRY(store->start(false));
    return store;
}

Status Store::create_from(const StoreOptions& options, const TreeHead& head,
                          const std::vector<Entry>& entries, Logger log) {
    if (exists(options.directory)) {
        return fail(Errno::Exists, options.directory + " holds a store already");
    }
    StoreImpl store(options, std::move(log));
    CFSGATE_TRY(store.start(true));
    CFSGATE_TRY(store.fill(head, entries));
    return store.close();
}

}  // namespace cfsgate::store
