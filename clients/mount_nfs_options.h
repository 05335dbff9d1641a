// SPDX-License-Identifier: Apache-2.0
// How the local export is mounted. docs/nfs.md says why each option is there. No I/O.
#pragma once

#include <string>
#include <vector>

#include "clients/arguments.h"

namespace cfsgate::clients {

/// The device as mount(8) takes it, such as "127.0.0.1:/etc/pve".
std::string mount_source(const Arguments& arguments);

/// For "-o". What the user adds comes last, and so wins.
std::string mount_options(const Arguments& arguments);

/// The whole command for `place`.
std::vector<std::string> mount_command(const Arguments& arguments, const std::string& place);

}  // namespace cfsgate::clients
