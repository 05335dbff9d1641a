// SPDX-License-Identifier: Apache-2.0
// What the commands over NFS share.
#pragma once

#include <memory>

#include "clients/arguments.h"
#include "clients/nfs_connection.h"

namespace cfsgate::clients {

NfsServer nfs_server(const Arguments& arguments);

/// A connection; or null after printing why not, with the exit code in `code`.
std::unique_ptr<NfsConnection> open_nfs(const Arguments& arguments, int& code);

/// Prints what failed. Returns the exit code.
int report_nfs(const Error& error);

/// Operand `index` as a path inside the export; the root where it is missing.
std::string nfs_path(const Arguments& arguments, std::size_t index = 0);

}  // namespace cfsgate::clients
