// SPDX-License-Identifier: Apache-2.0
// The sequencer of a cluster: corosync orders the changes of all nodes, and every node applies them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "replication/cluster_status.h"
#include "replication/sequencer.h"
#include "store/base/clock.h"
#include "store/base/log.h"

namespace cfsgate::replication {

/// When a change of this node is answered that has to be durable.
enum class Ack : std::uint8_t {
    Delivery,  ///< it has its place in the order, and is applied and durable here
    Rotation,  ///< and a message that was sent after that has come back (rotation_gate.h)
};

struct ClusterOptions {
    std::string own_ip;  ///< what the others are told; empty: nothing
    Ack ack = Ack::Delivery;
    /// A change that could not be sent in this time is given up.
    std::chrono::milliseconds deadline{30000};
    std::chrono::seconds verify_every{3600};
    std::size_t in_flight_max = 512;  ///< own changes sent and not delivered
    std::size_t held_max = 16384;     ///< own changes that wait; more are refused: Busy
    WallClock clock = system_wall_clock();
};

/// Told, on a thread of the sequencer, after `corosync.conf` in the tree may have changed. `own`: by
/// a change of this node. Must not block.
using CorosyncConfObserver = std::function<void(bool own)>;

/// Told, on a thread of the sequencer, that another node has asked all of them to purge a path, which
/// is as it came: purge_message.h. Must not block.
using PurgeObserver = std::function<void(std::string_view path, NodeId from)>;
/// As Completion; with the nodes that were members of the configuration group at that place of the
/// order, this one among them.
using OrderCompletion = std::function<void(Result<std::vector<NodeId>>)>;

/// Threads: any. Owns "cluster", which has corosync's handles and the groups' state machines, and
/// waits for nothing else; "applier" and "journal flush" (applier_thread.h).
class ClusterSequencer : public Sequencer {
public:
    virtual ClusterStatus cluster_status() const = 0;
    /// Asks for a verification now; its result shows in the status. Only the lowest node's counts:
    /// elsewhere NotSupported, Busy where it cannot be done now.
    virtual Status verify() = 0;
    /// Set once, before start().
    virtual void observe_corosync_conf(CorosyncConfObserver observer) = 0;
    /// Asks the other members to purge a path that check_purge_path() finds good. Errors: NoAccess
    /// without quorum, Busy, TimedOut.
    virtual void order_purge(std::string_view path, OrderCompletion done) = 0;
    /// Set once, before start().
    virtual void observe_purges(PurgeObserver observer) = 0;
    /// Begins to look for corosync, and goes on until stop().
    virtual void start() = 0;
    /// Leaves the cluster and answers all callers; nothing is called back any more when it returns.
    /// Submissions are refused from then on.
    virtual void stop() = 0;
};

/// Borrows the store.
std::unique_ptr<ClusterSequencer> make_cluster_sequencer(store::Store& store,
                                                         ClusterOptions options, Logger log);

}  // namespace cfsgate::replication
