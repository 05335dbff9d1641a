// SPDX-License-Identifier: Apache-2.0
#include "replication/tree_applier.h"

#include <algorithm>

#include "replication/core/state_sync.h"
#include "replication/purge_message.h"
#include "store/model/digest.h"
#include "store/model/path.h"

namespace cfsgate::replication {
namespace {

constexpr std::string_view kCorosyncConf = "corosync.conf";
constexpr std::size_t kLostLogged = 20;

bool writes_corosync_conf(const Operation& operation) {
    struct Writes {
        bool operator()(const CreateFile& op) const { return op.path == kCorosyncConf; }
        bool operator()(const WriteFile& op) const { return op.path == kCorosyncConf; }
        bool operator()(const Rename& op) const { return op.target == kCorosyncConf; }
        bool operator()(const MakeDirectory&) const { return false; }
        bool operator()(const Delete&) const { return false; }
        bool operator()(const SetMtime&) const { return false; }
        bool operator()(const Unlock&) const { return false; }
    };
    return std::visit(Writes(), operation);
}

/// The inodes that `own` lists and `leader` does not.
std::vector<InodeNumber> only_in(const Index& own, const Index& leader) {
    std::vector<InodeNumber> result;
    auto theirs = leader.entries.begin();
    for (const IndexEntry& entry : own.entries) {
        while (theirs != leader.entries.end() && theirs->inode < entry.inode) ++theirs;
        if (theirs == leader.entries.end() || theirs->inode != entry.inode) {
            result.push_back(entry.inode);
        }
    }
    return result;
}

std::string describe(const Member& member) { return "node " + std::to_string(member.node.value()); }

}  // namespace

TreeApplier::TreeApplier(store::Store& store, Listener listener, Logger log)
    : store_(store), listener_(std::move(listener)), log_(std::move(log)) {}

Status TreeApplier::apply(std::span<OrderedChange> changes) {
    auto batch = CFSGATE_TRY(store_.begin());
    std::vector<store::Change> published;
    std::optional<bool> corosync_conf;
    for (OrderedChange& change : changes) {
        if (const auto* request = std::get_if<UnlockRequest>(&change.what.operation)) {
            if (change.what.lowest) consider_unlock(batch->view(), *request);
            change.result = Outcome();
            continue;
        }
        const auto& operation = std::get<Operation>(change.what.operation);
        const store::Applied applied =
            batch->apply(operation, Stamp{change.what.from.node, change.what.time},
                         change.own ? change.own->annotate : store::Store::Annotate());
        if (applied.broken) return fail(applied.error, "an ordered change could not be stored");
        if (!applied.ok) {
            change.result = fail(applied.error);
            continue;
        }
        change.result = Outcome{applied.bytes, applied.inode, applied.version, {}};
        published.insert(published.end(), applied.changes.begin(), applied.changes.end());
        if (writes_corosync_conf(operation)) {
            corosync_conf = corosync_conf.value_or(false) || change.what.own_count.has_value();
        }
    }
    const Sequence sequence = CFSGATE_TRY(batch->commit());
    for (OrderedChange& change : changes) {
        if (change.result) change.result->sequence = sequence;
    }
    if (listener_.changed && !published.empty()) listener_.changed(published);
    if (listener_.corosync_conf_changed && corosync_conf) {
        listener_.corosync_conf_changed(*corosync_conf);
    }
    tell_of_purges(changes);
    return {};
}

/// Whoever sends one has done it already.
void TreeApplier::tell_of_purges(std::span<const OrderedChange> changes) const {
    if (!listener_.purge_ordered) return;
    for (const OrderedChange& change : changes) {
        const auto* const operation = std::get_if<Operation>(&change.what.operation);
        if (operation == nullptr || change.what.own_count) continue;
        if (const auto path = purge_path_of(*operation)) {
            listener_.purge_ordered(*path, change.what.from.node);
        }
    }
}

void TreeApplier::consider_unlock(const store::ReadView& view, const UnlockRequest& request) const {
    if (!is_below_lock_directory(request.path)) return;
    const auto number = view.resolve(request.path);
    if (!number) return;
    const auto inode = view.inode(*number);
    if (!inode || !inode->is_directory()) return;
    if (entry_checksum(*inode, {}) != request.checksum) return;
    if (!store_.lock_leases().expired(request.path, request.checksum)) return;
    if (listener_.lock_expired) listener_.lock_expired(Unlock{request.path, request.checksum});
}

StateRead TreeApplier::read_state(const ReadState& effect) const {
    auto index = store_.encoded_index();
    if (!index) {
        log_->error("the index of the tree cannot be made: {}", index.error().detail);
        return {effect.epoch, {}};
    }
    return {effect.epoch, std::move(*index)};
}

Result<UpdatesRead> TreeApplier::read_updates(const ReadUpdates& effect) const {
    const auto view = CFSGATE_TRY(store_.read());
    UpdatesRead result{effect.epoch, {}, true};
    result.updates.reserve(effect.inodes.size());
    for (const InodeNumber number : effect.inodes) {
        auto entry = store::entry_as_stored(*view, number);
        if (!entry && entry.error().code == Errno::NotFound) {
            log_->error("inode {} is in the index and not in the tree", number.value());
            continue;
        }
        result.updates.push_back(encode_update(CFSGATE_TRY(std::move(entry))));
    }
    return result;
}

Result<Committed> TreeApplier::commit(Commit effect) {
    store::Takeover takeover;
    takeover.removed = only_in(CFSGATE_TRY(decode_index(effect.own_index)),
                               CFSGATE_TRY(decode_index(effect.leader_index)));
    takeover.entries = std::move(effect.updates);
    takeover.index = std::move(effect.leader_index);
    takeover.from = describe(effect.leader);
    const store::TakeoverReport report = CFSGATE_TRY(store_.take_over(takeover));
    log_lost(report, effect.leader);
    if (listener_.changed && !report.changes.empty()) listener_.changed(report.changes);
    if (listener_.corosync_conf_changed) listener_.corosync_conf_changed(false);
    return Committed{effect.epoch};
}

void TreeApplier::log_lost(const store::TakeoverReport& report, const Member& leader) const {
    if (report.snapshot) {
        log_->info("the tree as it was before that of {} is kept in {}", describe(leader),
                   *report.snapshot);
    }
    if (!report.diverged) return;
    log_->warn(
        "this node's tree and that of {} had gone different ways; {} entries here have lost:",
        describe(leader), report.lost_total);
    const std::size_t shown = std::min(report.lost.size(), kLostLogged);
    for (std::size_t i = 0; i < shown; ++i) {
        const auto& lost = report.lost[i];
        if (!is_private_path(lost.path)) log_->warn("{}: {}", lost.path, lost.what);
    }
}

Result<ChecksumComputed> TreeApplier::compute_checksum(const ComputeChecksum& effect) const {
    return ChecksumComputed{effect.epoch, effect.number, CFSGATE_TRY(store_.tree_checksum())};
}

}  // namespace cfsgate::replication
