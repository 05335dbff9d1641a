// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/doorman.h"

namespace cfsgate::gateway::nfs {

Result<Doorman> Doorman::make(const ExportRules& rules) {
    return Doorman(rules, CFSGATE_TRY(SocketOwners::open()));
}

Result<Peer> Doorman::admit(const SocketAddress& peer, const SocketAddress& local) {
    // Also for other addresses: a process of this host may come by one of its own. One that has no
    // socket here is elsewhere, and so is one that is closed already; that one is served as its
    // address deserves.
    const auto owner = owners_.owner_of(peer, local);
    if (owner) return Peer(LocalPeer{*owner, peer.reserved_port(), nullptr});
    if (peer.is_loopback() || peer.ip == local.ip) {
        return fail(Errno::NoAccess, "nobody owns the socket any more");
    }
    const ExportRule* rule = rules_->find(peer.ip);
    if (rule == nullptr) return fail(Errno::NoAccess, "no export rule admits this address");
    return Peer(RemotePeer{rule, peer.reserved_port()});
}

}  // namespace cfsgate::gateway::nfs
