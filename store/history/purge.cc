// SPDX-License-Identifier: Apache-2.0
#include "store/history/purge.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "store/file_io.h"
#include "store/history/purged.h"
#include "store/journal.h"
#include "store/journal_record.h"
#include "store/model/path.h"
#include "store/snapshot.h"

namespace cfsgate::store {
namespace {

/// A file that another one replaces under its name.
class OldFile {
public:
    static Result<OldFile> open(const std::string& path) {
        OldFile old;
        old.path_ = path;
        old.fd_ = CFSGATE_TRY(open_file(path, O_RDWR));
        if (::fstat(old.fd_.get(), &old.before_) != 0) return fail_posix(errno, path);
        return old;
    }
    /// Once the new one is there: it looks as old, and the bytes are overwritten unless the old file
    /// has another name.
    Status replaced() const {
        const timespec times[] = {before_.st_atim, before_.st_mtim};
        if (::utimensat(AT_FDCWD, path_.c_str(), times, 0) != 0) return fail_posix(errno, path_);
        struct stat now {};
        if (::fstat(fd_.get(), &now) != 0) return fail_posix(errno, path_);
        if (now.st_nlink > 0) return {};
        const std::string zeros(1 << 20, '\0');
        const auto bytes = static_cast<std::uint64_t>(now.st_size);
        for (std::uint64_t at = 0; at < bytes; at += zeros.size()) {
            const auto count = std::min<std::uint64_t>(zeros.size(), bytes - at);
            CFSGATE_TRY(write_all(fd_.get(), std::string_view(zeros).substr(0, count), at, path_));
        }
        return sync_data(fd_.get(), path_);
    }

private:
    std::string path_;
    UniqueFd fd_;
    struct stat before_ {};
};

class Purge {
public:
    Purge(const PastSource& source, const std::string& path, Sequence upto, const TreeReader& now)
        : source_(source), path_(path_components(path)), upto_(upto), now_(now) {}

    Result<PurgeReport> run() {
        snapshots_ = CFSGATE_TRY(list_snapshots(source_.directory));
        CFSGATE_TRY(find_entries());
        CFSGATE_TRY(keep_present_content());
        Purged purged = CFSGATE_TRY(read_purged(source_.directory));
        for (const InodeNumber inode : entries_) purged.add(inode, upto_);
        // First, so that nobody takes what is missing from now on for the content.
        if (!entries_.empty()) CFSGATE_TRY(write_purged(source_.directory, purged));
        for (const SnapshotFile& snapshot : snapshots_) CFSGATE_TRY(purge_snapshot(snapshot));
        const auto segments = CFSGATE_TRY(Journal::segment_ranges(source_.directory));
        for (const auto& segment : segments) {
            if (segment.end.value() <= upto_.value() + 1) CFSGATE_TRY(purge_segment(segment));
        }
        CFSGATE_TRY(list_unreadable(segments));
        return std::move(report_);
    }

private:
    /// What was put aside as damaged, and segments without a good header.
    Status list_unreadable(const std::vector<Journal::SegmentRange>& segments) {
        for (std::string& name : CFSGATE_TRY(list_files(source_.directory, kDamagedPrefix))) {
            report_.unreadable.push_back(std::move(name));
        }
        for (const std::uint64_t number :
             CFSGATE_TRY(Journal::segment_numbers(source_.directory))) {
            const bool good = std::any_of(segments.begin(), segments.end(),
                                          [&](const auto& one) { return one.number == number; });
            if (!good) report_.unreadable.push_back(segment_name(number));
        }
        return {};
    }

    std::string segment_name(std::uint64_t number) const {
        return Journal::segment_path(source_.directory, number)
            .substr(source_.directory.size() + 1);
    }

    bool is_inside(std::string_view path) const {
        const auto components = path_components(path);
        return components.size() >= path_.size() &&
               std::equal(path_.begin(), path_.end(), components.begin());
    }

    /// All that is at the path now in `tree`.
    Status take_subtree(const ReadView& tree) {
        InodeNumber top = kRootInode;
        for (const std::string_view component : path_) {
            const auto found = tree.lookup(top, component);
            if (!found && found.error().code == Errno::NotFound) return {};
            top = CFSGATE_TRY(Result<InodeNumber>(found));
        }
        std::vector<InodeNumber> waiting{top};
        while (!waiting.empty()) {
            const InodeNumber inode = waiting.back();
            waiting.pop_back();
            entries_.insert(inode);
            if (!CFSGATE_TRY(tree.inode(inode)).is_directory()) continue;
            CFSGATE_TRY(tree.children(inode, kRootInode, [&](const ReadView::Child& child) {
                waiting.push_back(child.inode);
                return true;
            }));
        }
        return {};
    }

    Status watch(const TreeReader& tree, Sequence sequence, std::string_view payload,
                 std::optional<InodeNumber> entry) {
        if (!entry) return take_subtree(tree);
        const JournalRecord record = CFSGATE_TRY(decode_journal_record(payload));
        if (std::holds_alternative<WriteFile>(record.operation)) {
            written_.emplace_back(sequence, *entry);
        }
        if (is_about_path(record.operation)) entries_.insert(*entry);
        return {};
    }

    bool is_about_path(const Operation& operation) const {
        const auto path =
            std::visit([](const auto& op) -> std::string_view { return op.path; }, operation);
        const auto* rename = std::get_if<Rename>(&operation);
        return is_inside(path) || (rename != nullptr && is_inside(rename->target));
    }

    /// Goes through all of the past that trees can be made of.
    Status find_entries() {
        CFSGATE_TRY(take_subtree(now_));
        std::vector<const SnapshotFile*> bases;
        const auto segments = CFSGATE_TRY(Journal::segment_ranges(source_.directory));
        if (source_.from_empty && !segments.empty() && segments.front().first == Sequence(1)) {
            bases.push_back(nullptr);
        }
        for (const SnapshotFile& snapshot : snapshots_) {
            if (snapshot.journal <= upto_) bases.push_back(&snapshot);
        }
        std::optional<Sequence> reached;
        for (const SnapshotFile* base : bases) {
            if (base != nullptr && reached && base->journal <= *reached) continue;
            const auto past = PastTree::load(source_, base);
            if (!past) {
                if (past.error().code == Errno::Corrupt) continue;
                return tl::unexpected(past.error());
            }
            CFSGATE_TRY(take_subtree(*CFSGATE_TRY((*past)->read())));
            const Status advanced = (*past)->advance(
                upto_, [this](const TreeReader& tree, Sequence sequence, std::string_view payload,
                              std::optional<InodeNumber> entry) {
                    return watch(tree, sequence, payload, entry);
                });
            reached = (*past)->at();
            const bool goes_on = advanced || advanced.error().code == Errno::NotFound ||
                                 advanced.error().code == Errno::Corrupt;
            if (!goes_on) return advanced;
        }
        entries_.erase(kRootInode);
        return {};
    }

    Status keep_present_content() {
        for (const InodeNumber number : entries_) {
            const auto inode = now_.inode(number);
            if (!inode && inode.error().code == Errno::NotFound) continue;
            const std::string_view content =
                CFSGATE_TRY(now_.stored_content(CFSGATE_TRY(Result<Inode>(inode))));
            if (content.empty()) continue;
            present_.emplace(number, content);
            report_.still_there.push_back(CFSGATE_TRY(now_.path_of(number)));
        }
        std::sort(report_.still_there.begin(), report_.still_there.end());
        return {};
    }

    std::string instead(InodeNumber inode, std::size_t offset, std::size_t size) const {
        std::string bytes(size, '\0');
        const auto found = present_.find(inode);
        if (found == present_.end() || offset >= found->second.size()) return bytes;
        const std::string_view present = found->second.substr(offset, size);
        std::copy(present.begin(), present.end(), bytes.begin());
        return bytes;
    }

    Status purge_snapshot(const SnapshotFile& snapshot) {
        const std::string path = source_.directory + "/" + snapshot.file;
        bool changes = false;
        const auto header =
            read_snapshot_file(path, [&](const Inode& inode, std::string_view content) -> Status {
                changes = changes || (entries_.contains(inode.number) &&
                                      instead(inode.number, 0, content.size()) != content);
                return {};
            });
        if (!header) {
            if (header.error().code != Errno::Corrupt) return tl::unexpected(header.error());
            report_.unreadable.push_back(snapshot.file);
            return {};
        }
        if (!changes) return {};
        const OldFile old = CFSGATE_TRY(OldFile::open(path));
        CFSGATE_TRY(write_snapshot_entries(
            source_.directory, snapshot.file, *header, [&](const EntryReader& sink) -> Status {
                CFSGATE_TRY(read_snapshot_file(
                    path, [&](const Inode& inode, std::string_view content) -> Status {
                        if (!entries_.contains(inode.number)) return sink(inode, content);
                        return sink(inode, instead(inode.number, 0, content.size()));
                    }));
                return {};
            }));
        report_.snapshots.push_back(snapshot.file);
        return old.replaced();
    }

    Status purge_segment(const Journal::SegmentRange& segment) {
        const std::string path = Journal::segment_path(source_.directory, segment.number);
        const auto bytes =
            Journal::change_segment(source_.directory, segment, source_.ids.store,
                                    [this](Sequence sequence, std::string_view payload) {
                                        return change_record(sequence, payload);
                                    });
        if (!bytes) {
            if (bytes.error().code != Errno::Corrupt) return tl::unexpected(bytes.error());
            report_.unreadable.push_back(segment_name(segment.number));
            return {};
        }
        if (!*bytes) return {};
        const OldFile old = CFSGATE_TRY(OldFile::open(path));
        const std::string temporary = source_.directory + "/new." + segment_name(segment.number);
        {
            CFSGATE_TRY(remove_file(temporary));
            const UniqueFd fd = CFSGATE_TRY(open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC));
            CFSGATE_TRY(write_all(fd.get(), **bytes, 0, temporary));
            CFSGATE_TRY(sync_data(fd.get(), temporary));
        }
        if (std::rename(temporary.c_str(), path.c_str()) != 0) return fail_posix(errno, path);
        CFSGATE_TRY(sync_directory(source_.directory));
        return old.replaced();
    }

    Result<std::string> change_record(Sequence sequence, std::string_view payload) {
        if (is_takeover_record(payload)) return change_takeover(payload);
        JournalRecord record = CFSGATE_TRY(decode_journal_record(payload));
        auto* const write = std::get_if<WriteFile>(&record.operation);
        if (write == nullptr) return std::string(payload);
        const auto inode = written_inode(sequence);
        // Of records that no tree of the past is left for, only their path is known.
        const bool concerned = inode ? entries_.contains(*inode) : is_inside(write->path);
        if (!concerned) return std::string(payload);
        std::string bytes = instead(inode.value_or(kRootInode), write->offset, write->data.size());
        if (bytes == write->data) return std::string(payload);
        report_.records += 1;
        write->data = std::move(bytes);
        return encode_journal_record(record);
    }

    Result<std::string> change_takeover(std::string_view payload) {
        if (entries_.empty()) return std::string(payload);
        TakeoverRecord record = CFSGATE_TRY(decode_takeover_record(payload));
        bool changed = false;
        for (Entry& entry : record.entries) {
            if (!entries_.contains(entry.inode.number)) continue;
            std::string bytes = instead(entry.inode.number, 0, entry.content.size());
            changed = changed || bytes != entry.content;
            entry.content = std::move(bytes);
        }
        if (changed) report_.records += 1;
        record.index = kUncheckedIndex;
        return encode_takeover_record(record);
    }

    std::optional<InodeNumber> written_inode(Sequence sequence) const {
        const auto found = std::lower_bound(
            written_.begin(), written_.end(), sequence,
            [](const auto& written, Sequence wanted) { return written.first < wanted; });
        if (found == written_.end() || found->first != sequence) return {};
        return found->second;
    }

    const PastSource& source_;
    std::vector<std::string_view> path_;
    Sequence upto_;
    const TreeReader& now_;
    std::vector<SnapshotFile> snapshots_;
    std::unordered_set<InodeNumber> entries_;  ///< that ever were at the path or below
    std::unordered_map<InodeNumber, std::string_view> present_;
    std::vector<std::pair<Sequence, InodeNumber>> written_;  ///< ascending
    PurgeReport report_;
};

}  // namespace

Result<PurgeReport> purge_past(const PastSource& source, const std::string& path, Sequence upto,
                               const TreeReader& now) {
    return Purge(source, path, upto, now).run();
}

}  // namespace cfsgate::store
