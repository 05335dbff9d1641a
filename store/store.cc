// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "store/file_io.h"
#include "store/journal_record.h"
#include "store/model/digest.h"
#include "store/snapshot.h"
#include "store/store_impl.h"
#include "store/take_over.h"

namespace cfsgate::store {
namespace {

constexpr std::size_t kLostTreesKept = 4;
constexpr std::size_t kFormerIdsKept = 16;
/// A takeover beyond this is refused: its record is made in memory.
constexpr std::size_t kTakeoverRecordBytesMax = 1 << 30;

RemovalGuard::Published removals_of_takeover(const TreeReader& before, const TreeReader& after,
                                             const TakeoverReport& report) {
    RemovalGuard::Published published;
    published.before = before.journal();
    published.version_before = before.head().version;
    published.entries_before = before.usage().entries - 1;
    published.entries_after = after.usage().entries - 1;
    for (const auto& lost : report.lost) {
        if (lost.what == "removed") published.removals.push_back({kRootInode, lost.path});
    }
    return published;
}

}  // namespace

Result<Entry> entry_as_stored(const ReadView& view, InodeNumber inode) {
    Entry entry;
    entry.inode = CFSGATE_TRY(view.inode(inode));
    if (!entry.inode.unbacked) entry.content = CFSGATE_TRY(view.content(entry.inode));
    return entry;
}

// --- Changing ---

class StoreImpl::BatchImpl final : public Batch {
public:
    BatchImpl(StoreImpl& store, std::unique_lock<Mutex> lock, bool tight,
              std::unique_ptr<TreeWriter> tree)
        : lock_(std::move(lock)), tight_(tight), store_(store), tree_(std::move(tree)) {
        published_.before = tree_->journal();
        published_.version_before = tree_->head().version;
        published_.entries_before = tree_->usage().entries - 1;
    }

    ~BatchImpl() override {
        if (tree_ == nullptr || !changed_) return;
        tree_.reset();
        store_.journal_->discard();
        forget();
    }

    Applied apply(const Operation& operation, const Stamp& stamp,
                  const Annotate& annotate) override {
        if (tight_ && !std::holds_alternative<Delete>(operation)) return refuse_for_space();
        const Version before = tree_->head().version;
        ApplyContext context{*tree_, store_.guests_, store_.leases_, store_.counters_,
                             store_.removal_observer_};
        Applied applied = store::apply(context, operation, stamp);
        changed_ = changed_ || applied.broken || applied.version != before;
        if (applied.broken) store_.consider({applied.error, {}});
        for (const Change& change : applied.changes) inodes_.push_back(change.inode);
        if (applied.ok && applied.version != before) {
            remember_removal(operation, applied.inode);
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
        const std::unique_lock<Mutex> lock = std::move(lock_);
        if (!changed_) {
            tree_.reset();
            return store_.journal_->appended();
        }
        published_.entries_after = tree_->usage().entries - 1;
        if (const auto published = store_.publish(std::move(tree_), last_, inodes_); !published) {
            forget();
            return tl::unexpected(published.error());
        }
        store_.note_removals(std::move(published_));
        return last_;
    }

private:
    /// What lives beside the tree goes back to what the published tree says.
    void forget() {
        if (const auto status = store_.relearn_guests(); !status) {
            store_.fail_store(status.error().detail);
        }
    }

    void remember_removal(const Operation& operation, InodeNumber inode) {
        if (const auto* removal = std::get_if<Delete>(&operation)) {
            published_.removals.push_back({inode, removal->path});
        }
    }

    Applied refuse_for_space() {
        Applied applied;
        applied.broken = true;
        applied.error = Errno::NoSpace;
        changed_ = true;
        store_.consider({applied.error, "LMDB's map is nearly full; something must be removed"});
        return applied;
    }

    std::unique_lock<Mutex> lock_;
    bool tight_;
    StoreImpl& store_;
    std::unique_ptr<TreeWriter> tree_;
    Sequence last_;
    std::vector<InodeNumber> inodes_;
    RemovalGuard::Published published_;
    bool changed_ = false;
};

Result<std::unique_ptr<Store::Batch>> StoreImpl::begin() {
    if (const auto why = failure()) return fail(Errno::ReadOnly, *why);
    std::unique_lock<Mutex> lock(batch_mutex_);
    const bool tight = map_is_tight();
    auto tree = writer();
    if (!tree) {
        consider(tree.error());
        return tl::unexpected(tree.error());
    }
    return std::unique_ptr<Batch>(new BatchImpl(*this, std::move(lock), tight, std::move(*tree)));
}

Status StoreImpl::publish(std::unique_ptr<TreeWriter> tree, Sequence last,
                          const std::vector<InodeNumber>& changed) {
    tree->set_journal(last);
    if (const auto written = journal_->write(); !written) {
        tree.reset();
        journal_->discard();
        consider(written.error());
        return written;
    }
    digests_.mark(last, changed);
    if (const auto committed = tree->commit(); !committed) {
        tree.reset();
        journal_->discard();
        reopen_if_stuck();
        consider(committed.error());
        if (const auto undone = journal_->undo_write(); !undone) {
            fail_store(undone.error().detail);
        }
        return committed;
    }
    end_trouble();
    if (journal_->spare_wanted() || journal_->bytes_written() >= snapshot_at_bytes_ ||
        digests_.is_behind()) {
        wake_maintenance();
    }
    return {};
}

Result<TakeoverReport> StoreImpl::take_over(const Takeover& takeover) {
    if (const auto why = failure()) return fail(Errno::ReadOnly, *why);
    const MutexLock batch(batch_mutex_);
    auto report = perform(takeover);
    if (!report) {
        if (report.error().code != Errno::BadMessage) consider(report.error());
        return report;
    }
    if (const auto learned = learn_from_tree(); !learned) fail_store(learned.error().detail);
    return report;
}

Result<TakeoverReport> StoreImpl::perform(const Takeover& takeover) {
    const Index index = CFSGATE_TRY(decode_index(takeover.index));
    auto tree = CFSGATE_TRY(writer());
    const auto before = CFSGATE_TRY(reader());
    const TakeoverPlan plan =
        CFSGATE_TRY(plan_takeover(*before, takeover.removed, takeover.entries, &index));
    CFSGATE_TRY(apply_takeover(*tree, plan));
    const std::vector<InodeNumber> inodes = plan.inodes();
    if (CFSGATE_TRY(digests_.index_of(*tree, inodes)) != index) {
        return fail(Errno::BadMessage, "with what " + takeover.from +
                                           " has sent, the tree is not " +
                                           "the one that it says it has");
    }
    TakeoverReport report = CFSGATE_TRY(report_takeover(*before, plan));
    report.sequence = journal_->appended();
    RemovalGuard::Published published = removals_of_takeover(*before, *tree, report);
    if (plan.head != before->head() || !inodes.empty()) {
        TakeoverRecord record = record_takeover(plan);
        record.time = options_.clock();
        record.from = takeover.from;
        record.index = Sha256::of(takeover.index);
        const std::string payload = encode_takeover_record(record);
        if (payload.size() > kTakeoverRecordBytesMax) {
            return fail(Errno::NoSpace, "a journal record of " + std::to_string(payload.size()) +
                                            " bytes, for the tree of " + takeover.from);
        }
        if (report.lost_total > 0) report.snapshot = CFSGATE_TRY(keep_tree());
        CFSGATE_TRY(observe_takeover(*before, plan, removal_observer_));
        report.sequence = journal_->add(payload);
        CFSGATE_TRY(publish(std::move(tree), report.sequence, inodes));
        note_removals(std::move(published));
    }
    log_->info(
        "the tree of {} was taken over: version {}, {} entries changed, {} of them "
        "replaced or removed what was here",
        takeover.from, plan.head.version.value(), inodes.size(), report.lost_total);
    return report;
}

Status StoreImpl::sync(Sequence upto) {
    if (options_.durability == Durability::Relaxed || journal_->synced() >= upto) return {};
    const auto synced = journal_->sync();
    if (!synced) {
        consider(synced.error());
        return tl::unexpected(synced.error());
    }
    return {};
}

Status StoreImpl::set_file_system_id(std::uint64_t id) {
    if (id == 0) return fail(Errno::Invalid, "0 is no file-system id");
    MutexLock lock(ids_mutex_);
    if (id == state_.ids.file_system) return {};
    StateFile state = state_;
    std::erase(state.former, id);
    state.former.insert(state.former.begin(), state.ids.file_system);
    if (state.former.size() > kFormerIdsKept) state.former.resize(kFormerIdsKept);
    state.ids.file_system = id;
    CFSGATE_TRY(write_state_file(options_.directory, state));
    // The rest of it is read without the mutex.
    state_.ids.file_system = id;
    state_.former = std::move(state.former);
    return {};
}

bool StoreImpl::is_own_file_system_id(std::uint64_t id) const {
    MutexLock lock(ids_mutex_);
    return id == state_.ids.file_system ||
           std::find(state_.former.begin(), state_.former.end(), id) != state_.former.end();
}

JournalStatus StoreImpl::journal_status() const {
    JournalStatus status;
    status.appended = journal_->appended();
    status.synced = journal_->synced();
    status.segments = journal_->segment_count();
    status.bytes = journal_->bytes_written();
    return status;
}

// --- Behind the callers ---

Status StoreImpl::write_snapshot() {
    CFSGATE_TRY(make_snapshot());
    return {};
}

Result<std::string> StoreImpl::make_snapshot() {
    MutexLock lock(snapshot_mutex_);
    const auto view = CFSGATE_TRY(reader());
    const std::string name =
        CFSGATE_TRY(write_snapshot_file(options_.directory, state_.ids.store, *view));
    snapshot_at_bytes_ = journal_->bytes_written() + options_.snapshot_after_bytes;
    log_->info("{} written: {} entries, version {}", name, view->usage().entries,
               view->head().version.value());
    CFSGATE_TRY(drop_old_past());
    return name;
}

/// A snapshot under a second name, which later snapshots do not push out.
Result<std::string> StoreImpl::keep_tree() {
    const std::string snapshot = CFSGATE_TRY(make_snapshot());
    const std::string name = kLostTreePrefix + snapshot;
    const std::string path = options_.directory + "/" + name;
    CFSGATE_TRY(remove_file(path));
    if (::link((options_.directory + "/" + snapshot).c_str(), path.c_str()) != 0) {
        return fail_posix(errno, path);
    }
    CFSGATE_TRY(sync_directory(options_.directory));
    const auto names = CFSGATE_TRY(list_files(options_.directory, kLostTreePrefix));
    for (std::size_t i = 0; i + kLostTreesKept < names.size(); ++i) {
        CFSGATE_TRY(remove_file(options_.directory + "/" + names[i]));
    }
    return name;
}

void StoreImpl::maintain() {
    for (;;) {
        {
            MutexLock lock(mutex_);
            while (!work_waiting_ && !stopping_) maintenance_wanted_.wait(mutex_);
            if (stopping_) return;
            work_waiting_ = false;
        }
        if (burst_waiting_.exchange(false)) keep_tree_before_burst();
        if (journal_->spare_wanted()) {
            if (const auto status = journal_->prepare_spare(); !status) {
                log_->warn("{}: the next journal segment will be made when it is needed",
                           status.error().detail);
            }
        }
        if (digests_.is_behind()) {
            if (const auto index = digests_.index(); !index) {
                log_->error("index: {}", index.error().detail);
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

}  // namespace cfsgate::store
