// SPDX-License-Identifier: Apache-2.0
#include "store/checker.h"

#include <algorithm>
#include <map>
#include <set>

#include "store/directory_lock.h"
#include "store/file_io.h"
#include "store/history/snapshots.h"
#include "store/journal.h"
#include "store/journal_record.h"
#include "store/model/digest.h"
#include "store/model/limits.h"
#include "store/model/path.h"
#include "store/snapshot.h"
#include "store/state_file.h"
#include "store/tree_tables.h"

namespace cfsgate::store {
namespace {

/// Collects findings about one tree.
class TreeCheck {
public:
    TreeCheck(const ReadView& view, CheckReport& report) : view_(view), report_(report) {}

    Status run() {
        Sha256 sum;
        CFSGATE_TRY(view_.for_each([&](const Inode& inode, std::string_view content) -> Status {
            add_to_tree_checksum(sum, inode, content);
            report_.entries += 1;
            report_.content_bytes += inode.size;
            if (inode.size > kInlineBytesMax) ++large_;
            if (inode.number != kRootInode) check_inode(inode, content);
            types_[inode.number] = inode.type;
            return {};
        }));
        report_.tree_checksum = to_hex(sum.finish());
        report_.version = view_.head().version.value();
        if (report_.entries != view_.usage().entries) {
            say("the tree", "counts " + std::to_string(view_.usage().entries) + " entries, holds " +
                                std::to_string(report_.entries));
        }
        if (report_.content_bytes != view_.usage().content_bytes) {
            say("the tree", "counts " + std::to_string(view_.usage().content_bytes) +
                                " bytes, holds " + std::to_string(report_.content_bytes));
        }
        return check_names();
    }

    /// What belongs to no entry, and so is never met on the way through the tree. After run().
    Status check_tables(const lmdb::Transaction& txn) {
        const auto expect = [&](lmdb::Table table, std::uint64_t expected,
                                const char* what) -> Status {
            const std::uint64_t count = CFSGATE_TRY(txn.count(table));
            if (count == expected) return {};
            say("the tree", "has " + std::to_string(count) + " records of " + what + ", needs " +
                                std::to_string(expected));
            return {};
        };
        CFSGATE_TRY(expect(lmdb::Table::Dirent, report_.entries - 1, "names"));
        // Each directory has one record more: when its names last changed.
        CFSGATE_TRY(expect(lmdb::Table::Child, report_.entries - 1 + directories_, "children"));
        return expect(lmdb::Table::Content, large_, "content");
    }

private:
    void say(std::string where, std::string what) {
        report_.findings.push_back({std::move(where), std::move(what)});
    }
    std::string name_of(const Inode& inode) const {
        const auto path = view_.path_of(inode.number);
        return "inode " + std::to_string(inode.number.value()) + " (" +
               (path ? *path : inode.name) + ")";
    }

    void check_inode(const Inode& inode, std::string_view content) {
        const std::string where = name_of(inode);
        if (inode.version > view_.head().version) say(where, "is newer than the tree");
        if (inode.number.value() > view_.head().version.value()) {
            say(where, "has a number above the tree's version");
        }
        if (inode.is_directory() && (inode.size != 0 || !content.empty())) {
            say(where, "is a directory with content");
        }
        if (inode.size > limits::kFileBytesMax) say(where, "is larger than a file may be");
        if (inode.name.empty() || inode.name == "." || inode.name == ".." ||
            inode.name.find('/') != std::string::npos ||
            inode.name.find('\0') != std::string::npos ||
            inode.name.size() > limits::kNameBytesStoredMax) {
            say(where, "has a name that cannot be");
        }
        const auto parent = view_.inode(inode.parent);
        if (!parent) {
            say(where, "its parent " + std::to_string(inode.parent.value()) + " does not exist");
        } else if (!parent->is_directory()) {
            say(where, "its parent is a file");
        } else if (!view_.path_of(inode.number)) {
            say(where, "cannot be reached from the root");
        }
        const auto named = view_.lookup(inode.parent, inode.name);
        if (!named || *named != inode.number) say(where, "its directory does not list it");
        check_guest(inode, where);
    }

    void check_guest(const Inode& inode, const std::string& where) {
        const auto path = view_.path_of(inode.number);
        if (!path || inode.is_directory()) return;
        const auto guest = parse_guest_path(*path);
        if (guest && !guests_.insert(guest->vmid).second) {
            say(where, "guest " + std::to_string(guest->vmid) + " is configured twice");
        }
    }

    /// Each listed child exists, with that parent, name and type; and nothing is listed twice.
    Status check_names() {
        std::uint64_t listed = 0;
        for (const auto& entry : types_) {
            if (entry.second != EntryType::Directory) continue;
            const InodeNumber directory = entry.first;
            ++directories_;
            const auto names = view_.names_version(directory);
            if (!names || *names > view_.head().version) {
                say("directory " + std::to_string(directory.value()),
                    names ? "its names are newer than the tree" : names.error().detail);
            }
            CFSGATE_TRY(view_.children(directory, kRootInode, [&](const ReadView::Child& child) {
                ++listed;
                const auto inode = view_.inode(child.inode);
                if (!inode || inode->parent != directory || inode->name != child.name ||
                    inode->type != child.type) {
                    say("directory " + std::to_string(directory.value()),
                        "lists " + std::string(child.name) + ", which is not so");
                }
                return true;
            }));
        }
        if (listed + 1 != report_.entries) {
            say("the tree", "directories list " + std::to_string(listed) + " entries, there are " +
                                std::to_string(report_.entries - 1));
        }
        return {};
    }

    const ReadView& view_;
    CheckReport& report_;
    std::uint64_t large_ = 0;
    std::map<InodeNumber, EntryType> types_;
    std::uint64_t directories_ = 0;
    std::set<std::uint32_t> guests_;
};

/// The tree's version after a record.
Result<Version> version_made(std::string_view payload) {
    if (is_takeover_record(payload)) {
        return CFSGATE_TRY(decode_takeover_record(payload)).head.version;
    }
    return CFSGATE_TRY(decode_journal_record(payload)).version;
}

/// A segment that was only begun when the process ended; a start begins it anew.
bool holds_nothing(const std::string& path) {
    const auto bytes = read_file(path);
    return bytes && bytes->find_first_not_of('\0') == std::string::npos;
}

/// The journal alone: every segment's records, their order, and the versions that they claim.
/// `held`: what a snapshot holds; records up to there may be missing, since the store goes on behind
/// a snapshot when the journal has lost its end. `*last`: where the journal has got to.
Status check_journal(const std::string& directory, std::uint64_t store_id, Sequence held,
                     CheckReport& report, Sequence* last) {
    std::uint64_t expected = 0;
    std::uint64_t version = 0;
    const auto numbers = CFSGATE_TRY(Journal::segment_numbers(directory));
    const auto first_of = [&](std::uint64_t number) {
        const auto first = Journal::first_of_segment(directory, number);
        return first ? first->value() : UINT64_MAX;
    };
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const std::string path = Journal::segment_path(directory, numbers[i]);
        const auto say = [&](const std::string& what) { report.findings.push_back({path, what}); };
        const std::uint64_t end = i + 1 < numbers.size() ? first_of(numbers[i + 1]) : UINT64_MAX;
        // Versions are missing where records are; whether they may be is asked below.
        if (first_of(numbers[i]) != expected) version = 0;
        const auto info = Journal::scan_segment(
            directory, numbers[i], store_id,
            [&](Sequence sequence, std::string_view payload) -> Status {
                if (sequence.value() >= end) return {};
                const auto made = version_made(payload);
                const std::string where = "record " + std::to_string(sequence.value());
                if (!made) {
                    say(where + ": " + made.error().detail);
                } else if (version != 0 && !is_takeover_record(payload) &&
                           made->value() != version + 1) {
                    say(where + ": version " + std::to_string(made->value()) + " follows version " +
                        std::to_string(version));
                }
                if (made) version = made->value();
                *last = sequence;
                report.journal_records += 1;
                return {};
            });
        report.journal_segments += 1;
        if (!info && i + 1 == numbers.size() && holds_nothing(path)) continue;
        if (!info) {
            say(info.error().detail);
            continue;
        }
        const std::uint64_t next = std::min(info->first.value() + info->records, end);
        if (expected != 0 && info->first.value() != expected) {
            if (info->first.value() > held.value() + 1) say("records are missing before it");
        }
        if (info->torn && end != UINT64_MAX && next != end && end > held.value() + 1) {
            say("a damaged record, and newer segments follow");
        }
        if (info->damaged && end == UINT64_MAX) {
            say("record " + std::to_string(next) + " is damaged, and it had been flushed");
        }
        *last = std::max(*last, Sequence(info->first.value() - 1));
        expected = next;
    }
    return {};
}

}  // namespace

Result<CheckReport> check_tree(const ReadView& view) {
    CheckReport report;
    report.state = "in use";
    CFSGATE_TRY(TreeCheck(view, report).run());
    return report;
}

Result<CheckReport> check_tree_and_tables(const TreeReader& tree) {
    CheckReport report;
    TreeCheck check(tree, report);
    CFSGATE_TRY(check.run());
    CFSGATE_TRY(check.check_tables(tree.transaction()));
    return report;
}

Result<CheckReport> check_directory(const std::string& directory) {
    CheckReport report;
    const StateFile state = CFSGATE_TRY(read_state_file(directory));
    if (state.word == StateFile::Word::Filling) {
        return fail(Errno::NotFound, directory + ": an import did not end; import again");
    }
    report.state = state.clean() ? "clean" : "in use";

    Sequence last;
    Sequence held;
    for (const SnapshotFile& snapshot : CFSGATE_TRY(list_snapshots(directory))) {
        const auto header = read_snapshot_file(directory + "/" + snapshot.file, nullptr);
        if (!header) report.findings.push_back({snapshot.file, header.error().detail});
        if (header && snapshot.kind == SnapshotKind::Automatic)
            held = std::max(held, header->journal);
        report.snapshots += 1;
    }
    CFSGATE_TRY(check_journal(directory, state.ids.store, held, report, &last));

    const bool trusted = state.clean() || state.boot_id == system_boot_id();
    if (!trusted) {
        report.state = "in use by an earlier boot: the next start rebuilds the tree";
        return report;
    }
    const auto environment = lmdb::Environment::open({directory + "/tree.mdb", 8ULL << 30, true});
    if (!environment) {
        report.findings.push_back({"tree.mdb", environment.error().detail});
        return report;
    }
    const auto tree = TreeReader::make(CFSGATE_TRY(lmdb::Transaction::read(**environment)));
    if (!tree) {
        report.findings.push_back({"tree.mdb", tree.error().detail});
        return report;
    }
    if ((*tree)->journal() > last) {
        report.findings.push_back({"tree.mdb", "is ahead of the journal"});
    }
    if (state.clean() && (*tree)->journal() < last) {
        report.findings.push_back({"tree.mdb", "is behind the journal after a clean stop"});
    }
    TreeCheck check(**tree, report);
    auto status = check.run();
    if (status) status = check.check_tables((*tree)->transaction());
    if (!status) {
        report.findings.push_back({"tree.mdb", status.error().detail});
    }
    return report;
}

}  // namespace cfsgate::store
