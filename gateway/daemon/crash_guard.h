// SPDX-License-Identifier: Apache-2.0
// What a crash leaves behind. LMDB trusts its pages: one that cannot be read, or that is damaged, ends
// the process (SIGBUS, SIGSEGV, SIGABRT), and would end the next one as well.
#pragma once

#include <string>

#include "store/base/result.h"

namespace cfsgate::gateway::daemon {

/// From now on a crash puts tree.mdb of this directory aside, so that the next start rebuilds it from
/// snapshot and journal, says so on standard error, and then takes its course. Once in a process, and
/// only while it holds the directory's lock. Errors: NameTooLong.
Status install_crash_guard(const std::string& state_directory);

}  // namespace cfsgate::gateway::daemon
