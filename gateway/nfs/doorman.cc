// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/doorman.h"

#include "gateway/nfs/own_address.h"

namespace cfsgate::gateway::nfs {

Result<Doorman> Doorman::make(const ExportRules& rules) {
    return Doorman(rules, CFSGATE_TRY(SocketOwners::open()));
}

Result<Peer> Doorman::admit(const SocketAddress& peer, const SocketAddress& local) {
    // Also for other addresses: a process of this host may come by one of its own.
    const auto owner = owners_.owner_of(peer, local);
    if (owner) return Peer(LocalPeer{*owner, peer.reserved_port(), nullptr});
    if (peer.is_loopback() || peer.ip == local.ip) {
        return fail(Errno::NoAccess, "nobody owns the socket any more");
    }
    const ExportRule* rule = rules_->find(peer.ip);
    if (rule == nullptr) return fail(Errno::NoAccess, "no export rule admits this address");
    // A network that a rule admits may hold addresses of this host, whose closed sockets must not
    // pass for another host's.
    if (CFSGATE_TRY(is_own_address(peer.ip))) {
        return fail(Errno::NoAccess, "nobody owns the socket any more");
    }
    return Peer(RemotePeer{rule, peer.reserved_port()});
}

}  // namespace cfsgate::gateway::nfs
