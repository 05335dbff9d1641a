// SPDX-License-Identifier: Apache-2.0
#include "store/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <thread>

namespace cfsgate::store {

Result<DirectoryLock> DirectoryLock::acquire(const std::string& directory,
                                             std::chrono::seconds patience) {
    const std::string file = directory + "/.pmxcfs.lockfile";
    UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd.valid()) return fail_posix(errno, file);
    for (std::chrono::seconds waited{0};; waited += std::chrono::seconds(1)) {
        if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return DirectoryLock(std::move(fd));
        if (errno != EWOULDBLOCK && errno != EINTR) return fail_posix(errno, file);
        if (waited >= patience) {
            return fail(Errno::Busy, file +
                                         " is held by another process: stop the daemon that uses "
                                         "this state directory first");
        }
        std::this_thread::sleep_for(std::chrono::seconds(1));
    }
}

Result<std::optional<DirectoryLock>> DirectoryLock::share(const std::string& directory) {
    const std::string file = directory + "/.pmxcfs.lockfile";
    UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid() && errno == ENOENT) return std::optional<DirectoryLock>();
    if (!fd.valid()) return fail_posix(errno, file);
    if (::flock(fd.get(), LOCK_SH | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) return fail(Errno::Busy, file + " is held by another process");
        return fail_posix(errno, file);
    }
    return std::optional(DirectoryLock(std::move(fd)));
}

}  // namespace cfsgate::store
