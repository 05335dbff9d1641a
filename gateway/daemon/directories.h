// SPDX-License-Identifier: Apache-2.0
// The directories and small files that the daemon keeps outside its tree.
#pragma once

#include <sys/types.h>

#include <string>

#include "store/base/result.h"

namespace cfsgate::gateway::daemon {

/// Creates `path` and what is missing above it; only a new one gets `mode`. Errors: what the system
/// says, with the path.
Status make_directory(const std::string& path, mode_t mode);

/// Gives `path` to root and `group`. Does nothing where this process is not root (tests).
Status give_to_group(const std::string& path, gid_t group);

/// Decimal process id and LF, mode 0644, never seen half-written.
Status write_pid_file(const std::string& path);

/// Tells IPC clients to keep trying, since the service will be back: `<run>/cfs-restart-flag`,
/// empty, 0440.
Status raise_restart_flag(const std::string& run_directory, gid_t group);
void clear_restart_flag(const std::string& run_directory);

}  // namespace cfsgate::gateway::daemon
