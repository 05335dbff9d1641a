// SPDX-License-Identifier: Apache-2.0
// How long each lock directory has been held, by this node's own clock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/clock.h"
#include "store/base/mutex.h"
#include "store/model/operation.h"

namespace cfsgate::store {

/// Threads: any.
class LockLeases {
public:
    explicit LockLeases(WallClock clock) : clock_(std::move(clock)) {}

    /// Held for more than limits::kLockSeconds. The first question about a lock, or about another
    /// state of it (checksum), starts its time and says no.
    bool expired(std::string_view path, const Digest& checksum) CFSGATE_EXCLUDES(mutex_);

    /// Starts the time of a lock, anew if it is known.
    void start(std::string_view path, const Digest& checksum) CFSGATE_EXCLUDES(mutex_);
    void remove(std::string_view path) CFSGATE_EXCLUDES(mutex_);

    struct Lock {
        std::string path;
        Digest checksum{};
    };
    /// The tree was opened or replaced, and these are its locks. Times go on where path and checksum
    /// are as before, and start now for the others.
    void rebuild(const std::vector<Lock>& locks) CFSGATE_EXCLUDES(mutex_);

private:
    struct Lease {
        std::uint32_t since = 0;
        Digest checksum{};
    };
    WallClock clock_;
    Mutex mutex_;
    std::map<std::string, Lease, std::less<>> leases_ CFSGATE_GUARDED_BY(mutex_);
};

}  // namespace cfsgate::store
