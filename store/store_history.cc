// SPDX-License-Identifier: Apache-2.0
// What the store keeps of its past, and what it takes out of it.
#include <array>
#include <ctime>

#include "store/file_io.h"
#include "store/history/purge.h"
#include "store/lmdb/scrub.h"
#include "store/model/path.h"
#include "store/snapshot.h"
#include "store/store_impl.h"

namespace cfsgate::store {
namespace {

constexpr std::size_t kGuardSnapshotsKept = 4;

std::string guard_name(std::uint32_t time) {
    const std::time_t seconds = time;
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &parts);
    return kGuardNamePrefix + std::string(text.data());
}

Result<bool> has_snapshot(const std::string& directory, const std::string& name) {
    for (const SnapshotFile& snapshot : CFSGATE_TRY(list_snapshots(directory))) {
        if (snapshot.name == name) return true;
    }
    return false;
}

std::string undo_command(const RemovalBurst& burst, const std::string& snapshot) {
    if (burst.path.empty()) return "cfsgate restore --all --version " + snapshot;
    return "cfsgate restore '" + burst.path + "@" + snapshot + "'";
}

}  // namespace

Status StoreImpl::drop_old_past() {
    std::vector<SnapshotFile> automatic = CFSGATE_TRY(list_snapshots(options_.directory));
    std::erase_if(automatic, [](const SnapshotFile& snapshot) {
        return snapshot.kind != SnapshotKind::Automatic;
    });
    std::vector<SegmentSpan> segments;
    for (const auto& segment : CFSGATE_TRY(Journal::segment_ranges(options_.directory))) {
        segments.push_back({segment.first, segment.file_bytes});
    }
    RetentionPolicy policy;
    policy.keep_bytes = options_.journal_keep_bytes;
    policy.oldest_time =
        std::int64_t{options_.clock()} - std::int64_t{options_.journal_keep_seconds};
    policy.spacing_bytes = options_.snapshot_after_bytes;
    const RetentionPlan plan = plan_retention(automatic, segments, state_.from_empty, policy);
    for (const std::string& file : plan.drop) {
        CFSGATE_TRY(remove_file(options_.directory + "/" + file));
    }
    return journal_->prune(plan.prune_upto, 0, INT64_MAX);
}

Status StoreImpl::create_snapshot(const std::string& name) {
    if (!is_snapshot_name(name) || name.starts_with(kGuardNamePrefix)) {
        return fail(Errno::Invalid, "'" + name +
                                        "': the name of a snapshot has letters, digits, '-' and "
                                        "'_', at most 64, and does not begin with " +
                                        kGuardNamePrefix);
    }
    const MutexLock lock(snapshot_mutex_);
    if (CFSGATE_TRY(has_snapshot(options_.directory, name))) {
        return fail(Errno::Exists, "'" + name + "': there is a snapshot of this name");
    }
    const auto view = CFSGATE_TRY(reader());
    const std::string file = CFSGATE_TRY(write_snapshot_file(
        options_.directory, state_.ids.store, *view, named_snapshot_file(name, view->journal())));
    log_->info("{} written: {} entries, version {}", file, view->usage().entries,
               view->head().version.value());
    return {};
}

Status StoreImpl::delete_snapshot(const std::string& name) {
    const MutexLock lock(snapshot_mutex_);
    for (const SnapshotFile& snapshot : CFSGATE_TRY(list_snapshots(options_.directory))) {
        if (snapshot.name != name) continue;
        if (snapshot.kind == SnapshotKind::Automatic) {
            return fail(Errno::Invalid, "'" + name +
                                            "' is an automatic snapshot, which the store needs; it "
                                            "goes by itself");
        }
        CFSGATE_TRY(remove_file(options_.directory + "/" + snapshot.file));
        CFSGATE_TRY(sync_directory(options_.directory));
        log_->info("{} deleted", snapshot.file);
        return {};
    }
    return fail(Errno::NotFound, "'" + name + "': there is no snapshot of this name");
}

Result<Sequence> StoreImpl::close_segment(std::unique_ptr<TreeReader>* tree) {
    if (const auto why = failure()) return fail(Errno::ReadOnly, *why);
    const MutexLock batch(batch_mutex_);
    if (const auto synced = journal_->sync(); !synced) {
        consider(synced.error());
        return tl::unexpected(synced.error());
    }
    const Sequence last = journal_->appended();
    CFSGATE_TRY(journal_->go_on_after(last));
    *tree = CFSGATE_TRY(reader());
    return last;
}

Status StoreImpl::scrub_tree() {
    {
        const MutexLock batch(batch_mutex_);
        if (const auto renewed = environment_->renew(); !renewed) {
            fail_store(renewed.error().detail);
            return renewed;
        }
    }
    using lmdb::Table;
    return lmdb::scrub(*environment_, options_.directory + "/" + kTreeFileName,
                       {Table::Inode, Table::Content, Table::Dirent, Table::Child}, batch_mutex_);
}

Result<PurgeReport> StoreImpl::purge_history(const std::string& path) {
    if (path_components(path).empty()) {
        return fail(Errno::Invalid, "the whole past cannot be purged; name what has to go");
    }
    std::unique_ptr<TreeReader> tree;
    const Sequence last = CFSGATE_TRY(close_segment(&tree));
    PurgeReport report;
    {
        const MutexLock lock(snapshot_mutex_);
        report = CFSGATE_TRY(purge_past(past_source(), path, last, *tree));
    }
    tree.reset();
    CFSGATE_TRY(scrub_tree());
    log_->warn("history of '{}' purged: {} journal records and {} snapshots have lost content",
               path, report.records, report.snapshots.size());
    return report;
}

// --- The guard ---

void StoreImpl::note_removals(RemovalGuard::Published published) {
    published.now = options_.clock();
    if (!guard_.note(published)) return;
    burst_waiting_ = true;
    wake_maintenance();
}

Result<std::string> StoreImpl::write_guard_snapshot(const RemovalBurst& burst) {
    const MutexLock lock(snapshot_mutex_);
    std::string name = guard_name(burst.time);
    const auto past = CFSGATE_TRY(make_past_tree(past_source(), burst.before));
    CFSGATE_TRY(write_snapshot_file(options_.directory, state_.ids.store,
                                    *CFSGATE_TRY(past->read()),
                                    named_snapshot_file(name, burst.before)));
    const auto names = CFSGATE_TRY(
        list_files(options_.directory, std::string(kNamedSnapshotPrefix) + kGuardNamePrefix));
    for (std::size_t i = 0; i + kGuardSnapshotsKept < names.size(); ++i) {
        CFSGATE_TRY(remove_file(options_.directory + "/" + names[i]));
    }
    return name;
}

void StoreImpl::keep_tree_before_burst() {
    const auto burst = guard_.last();
    if (!burst) return;
    const auto name = write_guard_snapshot(*burst);
    if (name) guard_.set_snapshot(*name);
    log_->warn(
        "many entries were removed: {} below '{}' within {} s; {}", burst->removed, burst->path,
        options_.guard.seconds,
        name ? "the tree before that is kept as snapshot " + *name +
                   "; to undo all of it: " + undo_command(*burst, *name)
             : "the tree before that could not be kept as a snapshot: " + name.error().detail);
}

}  // namespace cfsgate::store
