// SPDX-License-Identifier: Apache-2.0
// The groups of a user as the system's user database has them. Asking it may take seconds (a
// directory service) and must not hold up the event loop.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

/// Nobody's uid and gid, as Linux has them.
inline constexpr uid_t kNobody = 65534;
inline constexpr gid_t kNogroup = 65534;

struct Groups {
    gid_t primary = kNogroup;  ///< also of a user that the system does not know
    std::vector<gid_t> others;

    bool has(gid_t gid) const;

    friend bool operator==(const Groups&, const Groups&) = default;
};
using GroupsPtr = std::shared_ptr<const Groups>;

/// Asks the user database; blocks as long as that does. A user that it does not know has no groups.
/// Errors: what the database says.
Result<Groups> system_groups(uid_t uid);

struct UserGroupsOptions {
    std::chrono::milliseconds valid_for{60'000};
    std::size_t users_max = 1024;
    std::size_t waiting_max = 1024;            ///< callbacks
    std::chrono::milliseconds stop_max{5000};  ///< what stop() waits for the user database
    std::function<Result<Groups>(uid_t)> look_up = system_groups;
    std::function<std::chrono::steady_clock::time_point()> clock = std::chrono::steady_clock::now;
};

/// A cache of groups, filled by its thread "nfs-users", which may block in the user database.
/// Threads: any.
class UserGroups {
public:
    /// Gets null where the database failed.
    using Callback = std::function<void(GroupsPtr)>;

    explicit UserGroups(UserGroupsOptions options = {});
    ~UserGroups();
    UserGroups(const UserGroups&) = delete;
    UserGroups& operator=(const UserGroups&) = delete;

    /// What is known and not too old; else null: request() it.
    GroupsPtr find(uid_t uid) const;

    /// Looks the user up; `done` is called once, on the thread "nfs-users", unless stop() comes
    /// first; it must not block. Errors: TryAgain if too many wait already, or after stop();
    /// `done` is then not called.
    Status request(uid_t uid, Callback done);

    /// No callback begins after it. Waits for the thread, but not for ever: one that is stuck in
    /// the user database is left to itself; it then touches nothing but its own state. The owner calls.
    void stop();

private:
    class State;

    std::shared_ptr<State> state_;
};

}  // namespace cfsgate::gateway::nfs
