// SPDX-License-Identifier: Apache-2.0
#include "store/history/past_tree.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "store/file_io.h"
#include "store/journal.h"
#include "store/replay.h"
#include "store/snapshot.h"

namespace cfsgate::store {
namespace {

constexpr std::uint64_t kMapBytes = 8ULL << 30;
constexpr std::uint64_t kReplayBatch = 1000;
constexpr std::uint64_t kReplayBytes = 64ULL << 20;
constexpr const char* kFolderPrefix = "past.";
constexpr int kTries = 3;

Status load_snapshot(lmdb::Environment& environment, const StoreIds& ids, const std::string& path,
                     Sequence* journal) {
    auto txn = CFSGATE_TRY(lmdb::Transaction::write(environment));
    auto tree = CFSGATE_TRY(TreeWriter::make_new(std::move(txn), ids, TreeHead{}));
    const SnapshotHeader header =
        CFSGATE_TRY(read_snapshot_file(path, [&](const Inode& inode, std::string_view content) {
            return tree->add(inode, content);
        }));
    if (header.store_id != ids.store) {
        return fail(Errno::Corrupt, path + ": belongs to another store");
    }
    tree->set_head(header.head);
    CFSGATE_TRY(tree->set_all_names_versions(header.head.version));
    tree->set_journal(header.journal);
    *journal = header.journal;
    return tree->commit();
}

}  // namespace

Status remove_leftovers(const std::string& directory) {
    for (const std::string& name : CFSGATE_TRY(list_files(directory, kFolderPrefix))) {
        std::error_code error;
        std::filesystem::remove_all(directory + "/" + name, error);
        if (error) return fail_posix(error.value(), directory + "/" + name);
    }
    for (const char* prefix : {"new.snapshot.", "new.lost.", "new.named.", "new.journal."}) {
        for (const std::string& name : CFSGATE_TRY(list_files(directory, prefix))) {
            CFSGATE_TRY(remove_file(directory + "/" + name));
        }
    }
    return {};
}

PastTree::~PastTree() {
    environment_.reset();
    if (folder_.empty()) return;
    std::error_code ignored;  // the next start tries again
    std::filesystem::remove_all(folder_, ignored);
}

Status PastTree::make_environment() {
    std::string pattern = source_.directory + "/" + kFolderPrefix + "XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) return fail_posix(errno, pattern);
    folder_ = pattern;
    environment_ = CFSGATE_TRY(lmdb::Environment::open({folder_ + "/tree.mdb", kMapBytes, false}));
    return {};
}

Result<std::unique_ptr<PastTree>> PastTree::load(const PastSource& source,
                                                 const SnapshotFile* base) {
    std::unique_ptr<PastTree> past(new PastTree(source));
    CFSGATE_TRY(past->make_environment());
    if (base != nullptr) {
        CFSGATE_TRY(load_snapshot(*past->environment_, source.ids,
                                  source.directory + "/" + base->file, &past->at_));
        return past;
    }
    auto tree = CFSGATE_TRY(TreeWriter::make_new(
        CFSGATE_TRY(lmdb::Transaction::write(*past->environment_)), source.ids, TreeHead{}));
    CFSGATE_TRY(tree->commit());
    return past;
}

Status PastTree::advance(Sequence upto, const Watch& watch) {
    if (upto <= at_) return {};
    const auto open = [this]() -> Result<std::unique_ptr<TreeWriter>> {
        return TreeWriter::make(CFSGATE_TRY(lmdb::Transaction::write(*environment_)));
    };
    auto tree = CFSGATE_TRY(open());
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
    const auto replay = [&](Sequence sequence, std::string_view payload) -> Status {
        const std::string where = "journal record " + std::to_string(sequence.value());
        if (sequence.value() != at_.value() + 1) {
            return fail(Errno::NotFound, where + ": records before it are missing");
        }
        const auto entry = replay_record(*tree, payload, system_wall_clock());
        if (!entry) return fail(Errno::Corrupt, where + ": " + entry.error().detail);
        tree->set_journal(sequence);
        at_ = sequence;
        if (watch) CFSGATE_TRY(watch(*tree, sequence, payload, *entry));
        bytes += payload.size();
        if (++count % kReplayBatch != 0 && bytes < kReplayBytes) return {};
        CFSGATE_TRY(tree->commit());
        tree = CFSGATE_TRY(open());
        bytes = 0;
        return {};
    };
    CFSGATE_TRY(Journal::read_directory(source_.directory, source_.ids.store, at_, upto, replay));
    CFSGATE_TRY(tree->commit());
    if (at_ == upto) return {};
    return fail(Errno::NotFound,
                "journal record " + std::to_string(at_.value() + 1) + " is not there any more");
}

Result<std::unique_ptr<TreeReader>> PastTree::read() const {
    return TreeReader::make(CFSGATE_TRY(lmdb::Transaction::read(*environment_)));
}

namespace {

Result<std::unique_ptr<PastTree>> try_past_tree(const PastSource& source, Sequence at) {
    const auto snapshots = CFSGATE_TRY(list_snapshots(source.directory));
    Error error{Errno::NotFound,
                "the history does not reach back to journal record " + std::to_string(at.value())};
    for (auto base = snapshots.rbegin(); base != snapshots.rend(); ++base) {
        if (base->journal > at) continue;
        auto past = PastTree::load(source, &*base);
        if (!past) {
            error = past.error();
            if (error.code != Errno::Corrupt && error.code != Errno::NotFound) break;
            continue;
        }
        CFSGATE_TRY((*past)->advance(at));
        return past;
    }
    if (error.code != Errno::NotFound && error.code != Errno::Corrupt) {
        return tl::unexpected(std::move(error));
    }
    const auto segments = CFSGATE_TRY(Journal::segment_numbers(source.directory));
    const bool from_start =
        source.from_empty && !segments.empty() &&
        CFSGATE_TRY(Journal::first_of_segment(source.directory, segments.front())) == Sequence(1);
    if (!from_start) return tl::unexpected(std::move(error));
    auto past = CFSGATE_TRY(PastTree::load(source, nullptr));
    CFSGATE_TRY(past->advance(at));
    return past;
}

}  // namespace

/// A file that goes away meanwhile was pruned, or was written anew.
Result<std::unique_ptr<PastTree>> make_past_tree(const PastSource& source, Sequence at) {
    Result<std::unique_ptr<PastTree>> past = try_past_tree(source, at);
    for (int tries = 1; !past && past.error().code == Errno::NotFound && tries < kTries; ++tries) {
        past = try_past_tree(source, at);
    }
    return past;
}

}  // namespace cfsgate::store
