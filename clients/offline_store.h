// SPDX-License-Identifier: Apache-2.0
// A state directory that no daemon uses.
#pragma once

#include <optional>
#include <string>

#include "clients/arguments.h"
#include "clients/control_client.h"
#include "store/directory_lock.h"

namespace cfsgate::clients {

/// The lock of the state directory; or why not: kInUse with the process that has it, as far as the
/// pid file tells, kFailed with what the system says.
struct OfflineAccess {
    std::optional<store::DirectoryLock> lock;
    AskError error;
};
OfflineAccess lock_state(const Arguments& arguments);

/// Runs `request` on the daemon that holds the state directory. kInUse where the daemon behind the
/// control socket is another one.
Answer ask_holder(const Arguments& arguments, const nlohmann::json& request,
                  const AskError& in_use);

}  // namespace cfsgate::clients
