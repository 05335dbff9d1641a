// SPDX-License-Identifier: Apache-2.0
// The one Store there is. Its start: store_start.cc; all else: store.cc.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "store/base/mutex.h"
#include "store/digest_cache.h"
#include "store/journal.h"
#include "store/journal_notes.h"
#include "store/state_file.h"
#include "store/store.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

/// Snapshots under this prefix hold trees that lost to another member's.
inline constexpr const char* kLostTreePrefix = "lost.";

class StoreImpl final : public Store {
public:
    StoreImpl(StoreOptions options, Logger log)
        : options_(std::move(options)),
          log_(std::move(log)),
          leases_(options_.clock),
          digests_([this] { return reader(); }) {}
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
    Result<TakeoverReport> take_over(const Takeover& takeover) override;
    Status sync(Sequence upto) override;
    std::optional<std::string> failure() const override {
        MutexLock lock(mutex_);
        return failure_;
    }
    Status try_recover() override;
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
    Status replay_record(TreeWriter& tree, std::string_view payload);
    Status learn_from_tree();
    Status relearn_guests();
    Result<TakeoverReport> perform(const Takeover& takeover);
    /// Writes what the journal has collected, then makes the tree the published one. On an error
    /// nothing of it happened.
    Status publish(std::unique_ptr<TreeWriter> tree, Sequence last,
                   const std::vector<InodeNumber>& changed);
    /// The store may have to refuse changes because of this error.
    void consider(const Error& error);
    void fail_store(const std::string& why);
    /// Returns the file's name.
    Result<std::string> make_snapshot();
    Result<std::string> keep_tree();
    void maintain();
    void wake_maintenance();
    void stop_maintenance();

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

    mutable Mutex mutex_;
    std::optional<std::string> failure_ CFSGATE_GUARDED_BY(mutex_);
    CondVar maintenance_wanted_;
    bool work_waiting_ CFSGATE_GUARDED_BY(mutex_) = false;
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    Mutex snapshot_mutex_;  ///< one snapshot at a time
    std::thread maintenance_;
};

}  // namespace cfsgate::store
