// SPDX-License-Identifier: Apache-2.0
// A state directory that no daemon uses.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "clients/arguments.h"
#include "clients/control_client.h"
#include "store/directory_lock.h"
#include "store/salvage.h"

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

/// The tree as the next start would have it, or the newest that can be had of a damaged store; then
/// a warning goes to stderr. Nothing is written, not even a lock file.
struct OfflineTree {
    std::optional<store::DirectoryLock> lock;
    std::optional<store::Salvage> store;
    AskError error;  ///< where there is no tree
};
OfflineTree read_state(const Arguments& arguments);

/// Whether a request about the tree is for the state directory itself: no daemon answers, or it
/// serves another directory than the one that was asked for. `answer`: what the daemon said, else.
bool is_for_files(const Arguments& arguments, const nlohmann::json& request, Answer& answer);

}  // namespace cfsgate::clients
