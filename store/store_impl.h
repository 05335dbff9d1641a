// SPDX-License-Identifier: Apache-2.0
// The one Store there is. Its start: store_start.cc; errors and the way back: store_recovery.cc; all
// else: store.cc.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "store/base/mutex.h"
#include "store/base/unique_fd.h"
#include "store/digest_cache.h"
#include "store/file_io.h"
#include "store/history/past_tree.h"
#include "store/history/removal_guard.h"
#include "store/journal.h"
#include "store/journal_notes.h"
#include "store/state_file.h"
#include "store/store.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

class StoreImpl final : public Store {
public:
    StoreImpl(StoreOptions options, Logger log)
        : options_(std::move(options)),
          log_(std::move(log)),
          leases_(options_.clock),
          digests_([this] { return reader(); }),
          guard_(options_.guard) {}
    ~StoreImpl() override { stop_threads(); }

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
    Result<TakeoverReport> take_over(const Takeover& takeover) override;
    Status sync(Sequence upto) override;
    std::optional<std::string> failure() const override {
        MutexLock lock(mutex_);
        return failure_;
    }
    std::optional<std::string> trouble() const override {
        MutexLock lock(mutex_);
        return trouble_;
    }
    Status try_recover() override;
    void recover_by_itself() override;
    Result<std::vector<Note>> notes(std::uint32_t since, std::size_t most) const override {
        return read_notes(options_.directory, state_.ids.store, since, most);
    }
    const GuestRegistry& guests() const override { return guests_; }
    const ChangeCounters& change_counters() const override { return counters_; }
    LockLeases& lock_leases() override { return leases_; }
    JournalStatus journal_status() const override;
    StartKind start_kind() const override { return start_kind_; }
    std::uint64_t file_system_id() const override {
        MutexLock lock(ids_mutex_);
        return state_.ids.file_system;
    }
    Status set_file_system_id(std::uint64_t id) override;
    bool is_own_file_system_id(std::uint64_t id) const override;
    Result<Index> index() const override { return digests_.index(); }
    Result<std::string> encoded_index() const override { return digests_.encoded_index(); }
    Result<Digest> tree_checksum() const override { return digests_.tree_checksum(); }
    Status write_snapshot() override;
    Status create_snapshot(const std::string& name) override;
    Status delete_snapshot(const std::string& name) override;
    Result<PurgeReport> purge_history(const std::string& path) override;
    std::optional<RemovalBurst> last_removal_burst() const override { return guard_.last(); }
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
    /// Snapshot and a new segment, where the tree knows more than the journal.
    Status open_journal_behind_tree(JournalOptions options, const std::string& why);
    /// Opens tree.mdb as the last process left it. Errors: Corrupt: rebuild it.
    Status trust_tree();
    Result<std::uint64_t> rebuild_tree();
    Result<std::uint64_t> replace_tree();
    Status load_base(const std::vector<std::string>& snapshots);
    void put_aside(const std::string& snapshot);
    Result<std::uint64_t> replay();
    Status learn_from_tree();
    Status relearn_guests();
    Result<TakeoverReport> perform(const Takeover& takeover);
    /// Writes what the journal has collected, then makes the tree the published one. On an error
    /// nothing of it happened.
    Status publish(std::unique_ptr<TreeWriter> tree, Sequence last,
                   const std::vector<InodeNumber>& changed);
    /// A change could not be stored; the store may have to refuse more of them.
    void consider(const Error& error);
    void fail_store(const std::string& why);
    /// Whether the map has room for little more than removals.
    bool map_is_tight() const;
    /// For readers: they need not wait until changes are possible again.
    void reopen_if_stuck();
    /// A change was stored.
    void end_trouble();
    /// The next start rebuilds tree.mdb.
    void distrust_tree();
    Status same_directory() const;
    Status leave_clean();
    bool await_failure(std::chrono::steady_clock::duration pause);
    void keep_recovering();
    /// Returns the file's name.
    Result<std::string> make_snapshot();
    Result<std::string> keep_tree();
    /// What is beyond the limits of the past goes.
    Status drop_old_past() CFSGATE_REQUIRES(snapshot_mutex_);
    PastSource past_source() const { return {options_.directory, state_.ids, state_.from_empty}; }
    /// Ends the present journal segment. Returns its last record.
    Result<Sequence> close_segment(std::unique_ptr<TreeReader>* tree);
    /// Of tree.mdb nothing is left but the present.
    Status scrub_tree();
    void note_removals(RemovalGuard::Published published);
    void keep_tree_before_burst();
    Result<std::string> write_guard_snapshot(const RemovalBurst& burst);
    void maintain();
    void wake_maintenance();
    void stop_threads();

    StoreOptions options_;
    Logger log_;
    mutable Mutex ids_mutex_;  ///< file-system ids, once started
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
    std::atomic<bool> short_of_space_{false};

    UniqueFd directory_;
    FileId directory_id_;
    bool snapshot_soon_ = false;  ///< at the start only
    std::atomic<bool> tree_damaged_{false};
    std::atomic<bool> in_trouble_{false};

    /// Held by the open batch, by a takeover and by the way back to service.
    Mutex batch_mutex_;
    mutable Mutex mutex_;
    std::optional<std::string> failure_ CFSGATE_GUARDED_BY(mutex_);
    std::optional<std::string> trouble_ CFSGATE_GUARDED_BY(mutex_);
    CondVar recovery_wanted_;
    CondVar maintenance_wanted_;
    bool work_waiting_ CFSGATE_GUARDED_BY(mutex_) = false;
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    Mutex snapshot_mutex_;  ///< one snapshot at a time; nothing that is purged is read meanwhile
    RemovalGuard guard_;
    std::atomic<bool> burst_waiting_{false};
    std::thread maintenance_;
    std::thread recovery_;
};

}  // namespace cfsgate::store
