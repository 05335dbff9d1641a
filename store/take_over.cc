// SPDX-License-Identifier: Apache-2.0
#include "store/take_over.h"

#include <algorithm>
#include <unordered_map>

#include "store/digest_cache.h"
#include "store/entry_codec.h"
#include "store/model/digest.h"
#include "store/model/limits.h"

namespace cfsgate::store {
namespace {

constexpr std::size_t kLostListed = 1000;

tl::unexpected<Error> refuse(InodeNumber inode, const std::string& what) {
    return fail(Errno::BadMessage, "inode " + std::to_string(inode.value()) + ": " + what);
}

bool is_possible_name(std::string_view name) {
    return !name.empty() && name != "." && name != ".." &&
           name.size() <= limits::kNameBytesStoredMax &&
           name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

Status check_entry(const Inode& inode, std::string_view content) {
    if (inode.type != EntryType::Directory && inode.type != EntryType::File) {
        return refuse(inode.number, "unknown type");
    }
    if (inode.number == kRootInode) {
        if (inode.is_directory() && inode.parent == kRootInode && inode.name.empty() &&
            inode.size == 0 && content.empty()) {
            return {};
        }
        return refuse(inode.number, "this is no root");
    }
    if (!is_possible_name(inode.name)) return refuse(inode.number, "its name cannot be");
    if (inode.is_directory() && (inode.size != 0 || inode.unbacked)) {
        return refuse(inode.number, "a directory with content");
    }
    if (!content_fits(inode, content)) return refuse(inode.number, "content and size disagree");
    return {};
}

/// A length without bytes travels as that many zeros, since an update carries as many bytes as it
/// says. Only the digest, which leaves the bytes out, tells the two apart.
bool is_unbacked(const Inode& inode, std::string_view content, const Index& index) {
    if (content.empty() || content.find_first_not_of('\0') != std::string_view::npos) return false;
    const auto found = std::lower_bound(
        index.entries.begin(), index.entries.end(), inode.number,
        [](const IndexEntry& entry, InodeNumber wanted) { return entry.inode < wanted; });
    return found != index.entries.end() && found->inode == inode.number &&
           found->digest != index_digest(inode, content) &&
           found->digest == index_digest(inode, {});
}

Result<std::optional<Inode>> find(const TreeReader& tree, InodeNumber number) {
    auto inode = tree.inode(number);
    if (inode) return std::optional<Inode>(std::move(*inode));
    if (inode.error().code == Errno::NotFound) return std::optional<Inode>();
    return tl::unexpected(inode.error());
}

/// Every entry hangs in a directory that hangs in a directory, up to the root.
Status check_shape(const TreeReader& tree) {
    std::unordered_map<InodeNumber, InodeNumber> parents;  // of directories
    std::vector<std::pair<InodeNumber, InodeNumber>> entries;
    CFSGATE_TRY(tree.for_each([&](const Inode& inode, std::string_view) -> Status {
        if (inode.number == kRootInode) return {};
        entries.emplace_back(inode.number, inode.parent);
        if (inode.is_directory()) parents.emplace(inode.number, inode.parent);
        return {};
    }));
    for (const auto& [inode, parent] : entries) {
        if (parent == kRootInode || parents.contains(parent)) continue;
        return refuse(
            inode, "its parent " + std::to_string(parent.value()) + " is missing or no directory");
    }
    std::unordered_map<InodeNumber, bool> reached{{kRootInode, true}};  // false: on the way up
    for (const auto& directory : parents) {
        std::vector<InodeNumber> way;
        InodeNumber at = directory.first;
        for (; reached.try_emplace(at, false).second; at = parents.at(at)) way.push_back(at);
        if (!reached.at(at)) return refuse(at, "its parents form a circle");
        for (const InodeNumber passed : way) reached[passed] = true;
    }
    return {};
}

/// Whether this step shows that the other tree is not simply what ours has become: it has something
/// else of a version that we had, or another entry under the number of one that was made here.
bool shows_divergence(const TakeoverStep& step, Version ours) {
    if (!step.after) return false;
    if (step.after->version <= ours) return true;
    return step.before && step.before->version.value() == step.before->number.value() &&
           step.before->name != step.after->name && step.before->writer != step.after->writer;
}

}  // namespace

std::vector<InodeNumber> TakeoverPlan::inodes() const {
    std::vector<InodeNumber> inodes;
    inodes.reserve(steps.size());
    for (const auto& step : steps) inodes.push_back(step.first);
    return inodes;
}

Result<TakeoverPlan> plan_takeover(const TreeReader& tree, const std::vector<InodeNumber>& removed,
                                   const std::vector<Entry>& entries, const Index* index) {
    TakeoverPlan plan;
    plan.head = tree.head();
    for (const InodeNumber number : removed) {
        if (number == kRootInode) return refuse(number, "the root cannot be removed");
        auto before = CFSGATE_TRY(find(tree, number));
        if (before) plan.steps[number].before = std::move(before);
    }
    for (const Entry& entry : entries) {
        TakeoverStep step;
        step.after = entry.inode;
        step.content = entry.content;
        if (index != nullptr && is_unbacked(entry.inode, step.content, *index)) {
            step.after->unbacked = true;
            step.content = {};
        }
        CFSGATE_TRY(check_entry(*step.after, step.content));
        const InodeNumber number = entry.inode.number;
        if (number == kRootInode) {
            plan.head = {entry.inode.version, entry.inode.writer, entry.inode.mtime};
            continue;
        }
        step.before = CFSGATE_TRY(find(tree, number));
        if (step.before && step.is_same_kind()) {
            step.same_content = step.before->unbacked == step.after->unbacked &&
                                step.before->size == step.after->size &&
                                CFSGATE_TRY(tree.stored_content(*step.before)) == step.content;
        }
        const bool same = step.same_content && step.before == step.after;
        plan.steps.erase(number);
        if (!same) plan.steps.emplace(number, std::move(step));
    }
    return plan;
}

/// Everything that goes or changes is taken out first: names may be swapped, entries may change
/// places, and parents may come after their children.
Status apply_takeover(TreeWriter& tree, const TakeoverPlan& plan) {
    tree.set_head(plan.head);
    for (const auto& [number, step] : plan.steps) {
        if (step.before) CFSGATE_TRY(tree.take_out(*step.before));
    }
    for (const auto& [number, step] : plan.steps) {
        if (!step.after) continue;
        const auto taken = tree.lookup(step.after->parent, step.after->name);
        if (taken) return refuse(number, "another entry has its name");
        if (taken.error().code != Errno::NotFound) return tl::unexpected(taken.error());
        CFSGATE_TRY(tree.add(*step.after, step.content));
    }
    CFSGATE_TRY(check_shape(tree));
    return tree.set_all_names_versions(plan.head.version);
}

Result<TakeoverReport> report_takeover(const TreeReader& before, const TakeoverPlan& plan) {
    TakeoverReport report;
    const Version version = plan.head.version;
    const auto note = [&](Change::Kind kind, const Inode& inode) {
        report.changes.push_back({kind, inode.number, inode.parent, version});
    };
    for (const auto& [number, step] : plan.steps) {
        report.diverged = report.diverged || shows_divergence(step, before.head().version);
        if (!step.is_same_kind()) {
            if (step.before) note(Change::Kind::Removed, *step.before);
            if (step.after) note(Change::Kind::Created, *step.after);
        } else {
            const bool moved =
                step.before->parent != step.after->parent || step.before->name != step.after->name;
            if (moved) note(Change::Kind::Moved, *step.after);
            if (!moved || !step.same_content) note(Change::Kind::Modified, *step.after);
        }
        if (!step.before) continue;
        report.lost_total += 1;
        if (report.lost.size() == kLostListed) continue;
        report.lost.push_back(
            {CFSGATE_TRY(before.path_of(number)), step.after ? "replaced" : "removed"});
    }
    return report;
}

Status observe_takeover(const TreeReader& before, const TakeoverPlan& plan,
                        const Store::RemovalObserver& observer) {
    if (!observer) return {};
    for (const auto& [number, step] : plan.steps) {
        if (!step.before || step.same_content) continue;
        observer(*step.before, CFSGATE_TRY(before.content(*step.before)));
    }
    return {};
}

TakeoverRecord record_takeover(const TakeoverPlan& plan) {
    TakeoverRecord record;
    record.head = plan.head;
    for (const auto& [number, step] : plan.steps) {
        if (step.after) {
            record.entries.push_back({*step.after, std::string(step.content)});
        } else {
            record.removed.push_back(number);
        }
    }
    return record;
}

Status replay_takeover(TreeWriter& tree, const TakeoverRecord& record) {
    TakeoverPlan plan = CFSGATE_TRY(plan_takeover(tree, record.removed, record.entries, nullptr));
    plan.head = record.head;
    CFSGATE_TRY(apply_takeover(tree, plan));
    if (record.index == kUncheckedIndex) return {};
    const Index index = CFSGATE_TRY(compute_index(tree));
    if (Sha256::of(encode_index(index)) != record.index) {
        return fail(Errno::Corrupt, "the result is not the tree of that time");
    }
    return {};
}

}  // namespace cfsgate::store
