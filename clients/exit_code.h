// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace cfsgate::clients {

/// Documented in docs/command.md.
enum ExitCode : int {
    kOk = 0,
    kFailed = 1,        ///< what was asked failed, or a check found something
    kUsage = 2,         ///< the command line or the configuration file is wrong
    kNotReachable = 3,  ///< no daemon answers on the control socket, no server over NFS
    kInUse = 4,         ///< an offline command, and a daemon uses the store
    kLost = 5,          ///< a repair that cannot keep everything
};

}  // namespace cfsgate::clients
