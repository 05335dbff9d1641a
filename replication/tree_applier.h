// SPDX-License-Identifier: Apache-2.0
// Carries out what the configuration group's machine wants of the tree, in order. No thread and no
// queue of its own: the driver has those, and the simulation needs none.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "replication/core/group_machine.h"
#include "replication/sequencer.h"
#include "store/base/log.h"
#include "store/store.h"

namespace cfsgate::replication {

/// What is kept on this node of a change that it has sent.
struct OwnChange {
    store::Store::Annotate annotate;
    Need need = Need::Durable;
    Completion done;
};

/// One ordered change and what came of it.
struct OrderedChange {
    Apply what;
    std::optional<OwnChange> own;
    Result<Outcome> result = fail(Errno::InputOutput);
};

/// Threads: one at a time.
class TreeApplier {
public:
    /// Called after the tree was published; they must not block.
    struct Listener {
        std::function<void(const std::vector<store::Change>&)> changed;
        /// `own`: the change was this node's. After a state sync: not.
        std::function<void(bool own)> corosync_conf_changed;
        /// This node is the one that takes away a lock whose time is over.
        std::function<void(Unlock)> lock_expired;
        /// Another node has asked all of them to purge a path (purge_message.h), which is as it came.
        std::function<void(std::string_view path, NodeId from)> purge_ordered = {};
    };
    TreeApplier(store::Store& store, Listener listener, Logger log);

    /// All of them in one transaction; sets their results. An error: nothing of it happened, and
    /// this node must leave the group, since the others have applied them.
    Status apply(std::span<OrderedChange> changes);

    StateRead read_state(const ReadState& effect) const;
    /// What is missing meanwhile is left out: whoever lacks it cannot commit and comes again.
    Result<UpdatesRead> read_updates(const ReadUpdates& effect) const;
    /// An error: the tree is as before.
    Result<Committed> commit(Commit effect);
    Result<ChecksumComputed> compute_checksum(const ComputeChecksum& effect) const;

private:
    void tell_of_purges(std::span<const OrderedChange> changes) const;
    void consider_unlock(const store::ReadView& view, const UnlockRequest& request) const;
    void log_lost(const store::TakeoverReport& report, const Member& leader) const;

    store::Store& store_;
    Listener listener_;
    Logger log_;
};

}  // namespace cfsgate::replication
