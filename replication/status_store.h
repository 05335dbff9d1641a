// SPDX-License-Identifier: Apache-2.0
// What the status group carries, as far as this node makes use of it: each node's address.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "replication/core/group_machine.h"

namespace cfsgate::replication {

/// Threads: one.
class StatusStore {
public:
    /// A state that says nothing of the past: an empty log (WIRE.md, "Status group").
    static std::string state();
    /// The message by which a node tells its address.
    static SubmitStatus tell_address(std::string_view ip);

    /// Takes in a message of another node, or of this one. Returns whether an address changed.
    bool apply(const ApplyStatus& message);
    /// Empty where it is not known.
    std::string address_of(NodeId node) const;
    /// Messages that were not understood; they are ignored.
    std::uint64_t malformed() const { return malformed_; }

private:
    std::map<NodeId, std::string> addresses_;
    std::uint64_t malformed_ = 0;
};

}  // namespace cfsgate::replication
