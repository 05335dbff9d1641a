// SPDX-License-Identifier: Apache-2.0
// Who may touch a state directory: the holder of its lock file.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace cfsgate::store {

/// Holds an exclusive flock on `<directory>/.pmxcfs.lockfile`, which the original takes as well.
/// The kernel drops it when the process ends.
class DirectoryLock {
public:
    /// Tries every second until `patience` has passed. Errors: Busy (detail says what to do), and
    /// what the system says.
    static Result<DirectoryLock> acquire(const std::string& directory,
                                         std::chrono::seconds patience);

    /// For reading alone: nothing is created, and several may read. Nothing where there is no lock
    /// file, so nobody who could use the directory. Errors: Busy, and what the system says.
    static Result<std::optional<DirectoryLock>> share(const std::string& directory);

private:
    explicit DirectoryLock(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

}  // namespace cfsgate::store
