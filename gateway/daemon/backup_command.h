// SPDX-License-Identifier: Apache-2.0
// The request `backup` of the control socket.
#pragma once

#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>

#include "store/store.h"

namespace cfsgate::gateway::daemon {

/// Whose store it is.
struct BackupSource {
    const store::Store& store;
    std::string state_directory;
    std::string mount_point;
    std::string node;
};

/// Writes the tree as it is now to the request's `file`; see store/backup.h. Others go on meanwhile.
/// Errors: Invalid for what is no absolute path outside of the mount; Interrupted when `stop` is
/// requested; those of write_backup().
Result<nlohmann::json> back_up(const BackupSource& source, const nlohmann::json& request,
                               const std::stop_token& stop);

}  // namespace cfsgate::gateway::daemon
