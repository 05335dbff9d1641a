// SPDX-License-Identifier: Apache-2.0
// Decides at accept who is at the other end of a connection.
#pragma once

#include <memory>
#include <string>

#include "gateway/nfs/caller.h"
#include "gateway/nfs/export_rules.h"
#include "gateway/nfs/socket_owner.h"

namespace cfsgate::gateway::nfs {

/// Threads: one at a time.
class Doorman {
public:
    /// Borrows the rules. Errors: those of SocketOwners::open().
    static Result<Doorman> make(const ExportRules& rules);

    /// A peer inside this host is whoever owns its socket; one from elsewhere needs a rule.
    /// Errors: NoAccess, with the reason: close the connection unserved.
    Result<Peer> admit(const SocketAddress& peer, const SocketAddress& local);

private:
    Doorman(const ExportRules& rules, SocketOwners owners)
        : rules_(&rules), owners_(std::move(owners)) {}

    const ExportRules* rules_;
    SocketOwners owners_;
};

}  // namespace cfsgate::gateway::nfs
