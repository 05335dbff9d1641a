// SPDX-License-Identifier: Apache-2.0
// Makes the place ready on which the tree is mounted.
#pragma once

#include <string>

#include "gateway/daemon/probe.h"
#include "store/base/log.h"
#include "store/base/result.h"

namespace cfsgate::gateway::daemon {

/// Creates the directory (0750) if it is missing, and takes away FUSE mounts there whose server has
/// died. Returns its path with links resolved. Errors: Busy where a living mount or a foreign file
/// system with content is in the way; what the system says.
Result<std::string> prepare_mount_point(const std::string& path, Prober& prober, const Logger& log);

/// Takes away FUSE mounts there whose server has died, and leaves whatever else is there alone.
/// Errors: Busy where a mount does not answer; what the system says.
Status take_away_dead_mounts(const std::string& path, Prober& prober, const Logger& log);

}  // namespace cfsgate::gateway::daemon
