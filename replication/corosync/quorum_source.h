// SPDX-License-Identifier: Apache-2.0
// Whether this node's partition may write, and the votes behind that.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "store/base/ids.h"
#include "store/base/result.h"

namespace cfsgate::replication {

/// How the votes stand, as this node's corosync counts them.
struct VoteFacts {
    std::uint32_t own = 0;       ///< of this node
    std::uint32_t expected = 0;  ///< of all nodes, and of the quorum device
    std::uint32_t total = 0;     ///< of this partition
    std::uint32_t needed = 0;    ///< to be quorate
    bool quorate = false;
    std::string device;        ///< name of the quorum device; empty: none has registered
    std::string device_state;  ///< such as "registered, alive, voting"
    std::uint32_t device_votes = 0;
};

/// Follows corosync's quorum by libquorum, and asks libvotequorum for the votes.
///
/// Errors:  TryAgain: ask later. InputOutput: corosync is gone; destroy this and connect() anew.
/// Threads: one at a time. dispatch() takes over 1 MiB of stack.
/// Waits:   for corosync's answer in connect() and votes(), which is as long as it takes where
///          corosync is stopped by a signal; dispatch() never waits.
class QuorumSource {
public:
    /// `members`: the nodes of this ring. Must not destroy the source.
    using OnQuorum = std::function<void(bool quorate, std::vector<NodeId> members)>;

    /// The state of now arrives with the first dispatch(). NotSupported if corosync.conf has no
    /// quorum provider; else as every call.
    static Result<std::unique_ptr<QuorumSource>> connect(OnQuorum on_quorum);

    ~QuorumSource();
    QuorumSource(const QuorumSource&) = delete;
    QuorumSource& operator=(const QuorumSource&) = delete;

    /// Readable when dispatch() has something to do, also when corosync is gone.
    int descriptor() const { return descriptor_; }
    /// Calls on_quorum for everything that has arrived; success if that was nothing.
    Status dispatch();
    Result<VoteFacts> votes() const;

private:
    struct Handles;

    QuorumSource(std::unique_ptr<Handles> handles, OnQuorum on_quorum);

    std::unique_ptr<Handles> handles_;
    OnQuorum on_quorum_;
    int descriptor_ = -1;
};

}  // namespace cfsgate::replication
