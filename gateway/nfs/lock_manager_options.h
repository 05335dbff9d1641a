// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

namespace cfsgate::gateway::nfs {

struct LockManagerOptions {
    std::string clients_file;        ///< of the hosts that hold locks; empty: they are not kept
    std::chrono::seconds grace{45};  ///< after a start, for locks of before
    bool rpcbind = false;            ///< register with the portmapper of this host
};

}  // namespace cfsgate::gateway::nfs
