// SPDX-License-Identifier: Apache-2.0
// Which addresses are this host's own.
#pragma once

#include "gateway/nfs/socket_address.h"
#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

/// Whether packets to this address stay on this host (in this network namespace): asks the kernel's
/// routing, which also knows addresses that are at no device. Threads: any.
/// Errors: what the system says, also where there is no way to the address.
Result<bool> is_own_address(const IpAddress& address);

}  // namespace cfsgate::gateway::nfs
