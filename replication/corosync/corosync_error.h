// SPDX-License-Identifier: Apache-2.0
// What corosync's libraries answer, as a Status.
#pragma once

#include <corosync/corotypes.h>

#include "store/base/result.h"

namespace cfsgate::replication {

/// The answer of the library call named `call`. The detail names the call and corosync's own text.
///
/// Errors: TryAgain: nothing was done; corosync is starting, forming a ring or full. InputOutput:
///         corosync is gone, or the connection to it is of no more use; make a new one. Any other
///         code: this very call was wrong, and would be again.
Status check_corosync(cs_error_t answer, const char* call);

}  // namespace cfsgate::replication
