// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "store/base/result.h"

namespace cfsgate::clients {

/// A file to its end, "-" for stdin, and no further than a file of the tree may be long.
/// Errors: FileTooBig; what the system says, with the name in the detail.
Result<std::string> read_input(const std::string& name);

}  // namespace cfsgate::clients
