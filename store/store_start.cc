// SPDX-License-Identifier: Apache-2.0
// From the files of the directory to a store in service.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <random>

#include "store/file_io.h"
#include "store/file_sum.h"
#include "store/history/past_tree.h"
#include "store/history/purged.h"
#include "store/replay.h"
#include "store/snapshot.h"
#include "store/store_impl.h"
#include "store/tree_scan.h"

namespace cfsgate::store {
namespace {

constexpr std::size_t kReplayBatch = 1000;

std::string tree_file(const std::string& directory) { return directory + "/" + kTreeFileName; }

Status remove_store_files(const std::string& directory) {
    for (const char* prefix : {"tree.mdb", "journal.", "snapshot.", "new.snapshot.", "spare.",
                               kLostTreePrefix, kNamedSnapshotPrefix, kDamagedPrefix}) {
        for (const std::string& name : CFSGATE_TRY(list_files(directory, prefix))) {
            CFSGATE_TRY(remove_file(directory + "/" + name));
        }
    }
    CFSGATE_TRY(remove_leftovers(directory));
    CFSGATE_TRY(remove_file(directory + "/" + kPurgedFileName));
    return remove_file(directory + "/" + kStateFileName);
}

std::uint64_t random_id() {
    std::random_device device;
    std::uint64_t id = 0;
    while (id == 0) id = (std::uint64_t{device()} << 32) | device();
    return id;
}

}  // namespace

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
    const bool trusted = environment_ != nullptr;
    if (trusted) journal.at_least = CFSGATE_TRY(reader())->journal();
    auto opened = Journal::open(journal, log_);
    if (!opened && trusted && opened.error().code == Errno::Corrupt) {
        return open_journal_behind_tree(std::move(journal), opened.error().detail);
    }
    journal_ = CFSGATE_TRY(std::move(opened));
    return {};
}

/// The tree is as it was left, so nothing of it is lost with the journal; the history is.
Status StoreImpl::open_journal_behind_tree(JournalOptions options, const std::string& why) {
    const auto view = CFSGATE_TRY(reader());
    log_->error(
        "{}; the tree is whole, so the journal goes on behind it, at record {}; the history has a "
        "gap there, and the damaged file stays as it is",
        why, view->journal().value());
    CFSGATE_TRY(write_snapshot_file(options_.directory, state_.ids.store, *view));
    journal_ = CFSGATE_TRY(Journal::open_behind(std::move(options), view->journal(), log_));
    return {};
}

Status StoreImpl::trust_tree() {
    struct stat info {};
    if (::stat(tree_file(options_.directory).c_str(), &info) != 0) {
        return fail(Errno::Corrupt, tree_file(options_.directory) + " is missing");
    }
    if (state_.clean() && state_.tree &&
        CFSGATE_TRY(sum_file(tree_file(options_.directory))) != *state_.tree) {
        return fail(Errno::Corrupt, tree_file(options_.directory) + " is not as it was left");
    }
    CFSGATE_TRY(open_environment());
    const auto txn = CFSGATE_TRY(lmdb::Transaction::read(*environment_));
    const StoreIds ids = CFSGATE_TRY(read_ids(*txn));
    if (ids.store != state_.ids.store) {
        return fail(Errno::Corrupt, tree_file(options_.directory) + " belongs to another store");
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
        if (!header && header.error().code == Errno::Corrupt) put_aside(name);
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

/// It would count as one of those that are kept. A new one takes its place soon.
void StoreImpl::put_aside(const std::string& snapshot) {
    const std::string path = options_.directory + "/" + snapshot;
    const std::string aside = options_.directory + "/" + kDamagedPrefix + snapshot;
    if (std::rename(path.c_str(), aside.c_str()) != 0) {
        log_->warn("{}: {}", aside, fail_posix(errno, path).value().detail);
    }
    snapshot_soon_ = true;
}

/// From nothing but snapshot and journal; returns how many records were replayed.
Result<std::uint64_t> StoreImpl::rebuild_tree() {
    environment_.reset();
    const std::string file = tree_file(options_.directory);
    CFSGATE_TRY(remove_file(file));
    CFSGATE_TRY(remove_file(file + "-lock"));
    CFSGATE_TRY(open_environment());
    const auto snapshots = CFSGATE_TRY(snapshot_files(options_.directory));
    CFSGATE_TRY(load_base(snapshots));
    return replay();
}

/// Where the tree cannot be rebuilt, the file that was there is left for a repair.
Result<std::uint64_t> StoreImpl::replace_tree() {
    const std::string file = tree_file(options_.directory);
    const std::string aside = options_.directory + "/" + kDamagedPrefix + kTreeFileName;
    if (std::rename(file.c_str(), aside.c_str()) != 0 && errno != ENOENT) {
        return fail_posix(errno, aside);
    }
    auto rebuilt = rebuild_tree();
    if (!rebuilt && rebuilt.error().code == Errno::NoSpace) {
        CFSGATE_TRY(remove_file(aside));
        rebuilt = rebuild_tree();
    }
    if (rebuilt) {
        CFSGATE_TRY(remove_file(aside));
        return rebuilt;
    }
    environment_.reset();
    if (std::rename(aside.c_str(), file.c_str()) == 0 && !state_.clean()) distrust_tree();
    return rebuilt;
}

/// Applies the records that the tree lacks; returns how many.
Result<std::uint64_t> StoreImpl::replay() {
    auto tree = CFSGATE_TRY(writer());
    std::uint64_t count = 0;
    std::uint64_t uncommitted_bytes = 0;
    Sequence expected(tree->journal().value() + 1);
    CFSGATE_TRY(
        journal_->read(tree->journal(), [&](Sequence sequence, std::string_view payload) -> Status {
            const std::string where = "journal record " + std::to_string(sequence.value());
            if (sequence != expected) return fail(Errno::Corrupt, where + ": records are missing");
            if (const auto status = replay_record(*tree, payload, options_.clock); !status) {
                return fail(Errno::Corrupt, where + ": " + status.error().detail);
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
    const Sequence last = tree->journal();
    if (uncommitted_bytes > 0) CFSGATE_TRY(tree->commit());
    tree.reset();
    // The snapshot reached the disk, and not all of the journal before it: what comes next must not
    // look like a part of the snapshot.
    if (last > journal_->appended()) CFSGATE_TRY(journal_->go_on_after(last));
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
    leases_.rebuild(CFSGATE_TRY(find_locks(*CFSGATE_TRY(reader()))));
    return {};
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

    CFSGATE_TRY(remove_leftovers(options_.directory));
    directory_ = CFSGATE_TRY(open_file(options_.directory, O_RDONLY | O_DIRECTORY));
    directory_id_ = CFSGATE_TRY(file_id(directory_.get(), options_.directory));
    if (start_kind_ == StartKind::Clean || start_kind_ == StartKind::Resumed) {
        if (const Status trusted = trust_tree(); !trusted) {
            log_->error("{}; rebuilding the tree from snapshot and journal",
                        trusted.error().detail);
            start_kind_ = StartKind::Rebuilt;
            environment_.reset();
        }
    }
    CFSGATE_TRY(open_journal());
    const bool anew = start_kind_ == StartKind::Fresh || start_kind_ == StartKind::Rebuilt;
    const std::uint64_t replayed = CFSGATE_TRY(anew ? replace_tree() : replay());
    CFSGATE_TRY(learn_from_tree());
    log_->info("store opened: {}, {} journal records replayed", to_string(start_kind_), replayed);

    if (!filling) {
        state_.word = StateFile::Word::InUse;
        state_.boot_id = boot_id;
        CFSGATE_TRY(write_state_file(options_.directory, state_));
    }
    snapshot_at_bytes_ = snapshot_soon_ ? 0 : options_.snapshot_after_bytes;
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
