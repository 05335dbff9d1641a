// SPDX-License-Identifier: Apache-2.0
// The nodes of the cluster as corosync is configured to know them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "store/base/ids.h"
#include "store/base/result.h"

namespace cfsgate::replication {

struct ConfiguredNode {
    NodeId id;
    std::uint32_t votes = 1;
    std::string name;                    ///< the key `name`; where that is missing, ring0_addr
    std::vector<std::string> addresses;  ///< of its links, in their order
};

/// What corosync runs with now, which may differ from the corosync.conf on disk.
struct ClusterConfig {
    std::string cluster_name;
    std::uint64_t config_version = 0;  ///< 0: corosync.conf has none
    std::vector<ConfiguredNode>
        nodes;                   ///< in the file's order; without those that lack a name or id
    NodeId self;                 ///< 0: corosync does not say
    std::uint32_t token_ms = 0;  ///< the timeout in force, which grows with the nodes
    std::uint32_t consensus_ms = 0;
};

/// Reads corosync's configuration map and follows its changes.
///
/// Errors:  TryAgain: ask later. InputOutput: corosync is gone; destroy this and connect() anew.
/// Threads: one at a time. dispatch() takes over 1 MiB of stack.
/// Waits:   for corosync's answer in connect() and read(), which is as long as it takes where
///          corosync is stopped by a signal; dispatch() never waits.
class NodeList {
public:
    /// `on_change`: something in it may read otherwise now. It may read(), and must not destroy the
    /// list. Not called for the state at connect().
    static Result<std::unique_ptr<NodeList>> connect(std::function<void()> on_change);

    ~NodeList();
    NodeList(const NodeList&) = delete;
    NodeList& operator=(const NodeList&) = delete;

    /// Readable when dispatch() has something to do, also when corosync is gone.
    int descriptor() const { return descriptor_; }
    /// Calls on_change once for all that has arrived; success if that was nothing.
    Status dispatch();
    /// Errors: NotFound if the cluster has no name; else as every call. Two reads during a reload of
    /// corosync.conf may differ: a later on_change brings the end of it.
    Result<ClusterConfig> read() const;

private:
    struct Handle;

    NodeList(std::unique_ptr<Handle> handle, std::function<void()> on_change);

    std::unique_ptr<Handle> handle_;
    std::function<void()> on_change_;
    int descriptor_ = -1;
    bool changed_ = false;
};

}  // namespace cfsgate::replication
