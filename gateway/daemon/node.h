// SPDX-License-Identifier: Apache-2.0
// Who this machine is.
#pragma once

#include <sys/types.h>

#include <string>

#include "store/base/result.h"

namespace cfsgate::gateway::daemon {

/// `configured`, or where that is empty the machine's name up to the first dot. Errors: Invalid for
/// what is no node name.
Result<std::string> find_node_name(const std::string& configured);

/// The first address of `node` that is not a loopback address. Errors: NotFound.
Result<std::string> find_node_address(const std::string& node);

/// Errors: NotFound where there is no such group.
Result<gid_t> find_group(const std::string& name);

}  // namespace cfsgate::gateway::daemon
