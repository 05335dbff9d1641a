// SPDX-License-Identifier: Apache-2.0
// The hosts that hold locks, kept over restarts of the daemon: after one they must be told, so that
// they claim their locks again.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "gateway/nfs/socket_address.h"
#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

/// One client, as its lock manager names itself, at the address that it calls from.
struct LockClient {
    std::string name;
    IpAddress address;
    IpAddress server;  ///< the address of ours that it calls
    std::string mark;  ///< what more is known of who calls; "-": it may speak for its host

    /// Names it among all: one host's lock manager cannot touch what another's holds.
    std::string key() const;
    /// Whose limits count: names are the caller's choice, an address is not.
    std::string account() const;

    friend bool operator==(const LockClient&, const LockClient&) = default;
};

struct LockClientList {
    /// Odd, and another one after each start: clients see by it that we have restarted.
    std::int32_t state = 1;
    std::map<std::string, LockClient> clients;  ///< by key
};

/// Whether a name that a client gives itself can stand in the list.
bool is_plain_name(std::string_view name);

/// Lines of text: "cfsgate-lock-clients 1", "state N", and "client ADDRESS SERVER MARK NAME" for each.
std::string format_lock_clients(const LockClientList& list);
/// Errors: BadMessage.
Result<LockClientList> parse_lock_clients(std::string_view text);

}  // namespace cfsgate::gateway::nfs
