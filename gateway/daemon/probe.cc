// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <memory>

extern char** environ;

namespace cfsgate::gateway::daemon {
namespace {

/// The daemon's descriptors must not live on in a child that hangs: /dev/fuse among them would keep
/// a dead connection alive.
void close_inherited() { ::syscall(SYS_close_range, 3U, UINT_MAX, 0U); }

Probe from_errno(int error) {
    if (error == ENOTCONN || error == ECONNABORTED) return Probe::Dead;
    return error == ENOENT ? Probe::Missing : Probe::Failed;
}

Probe probe_mount(const std::string& mount_point) {
    // A name that no earlier probe used, so that the kernel has to ask the daemon.
    const std::string name = mount_point + "/.cfsgate-probe-" + std::to_string(::getpid());
    if (::access(name.c_str(), F_OK) != 0 && errno != ENOENT) return from_errno(errno);
    struct statvfs statistics {};
    return ::statvfs(mount_point.c_str(), &statistics) == 0 ? Probe::Answers : from_errno(errno);
}

/// Starts this program anew with the request; 0 where that failed.
pid_t spawn(const char* request, const std::string& path) {
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    std::string program = "cfsgated";
    std::string first = request;
    std::string second = path;
    std::array<char*, 4> arguments{program.data(), first.data(), second.data(), nullptr};
    pid_t child = 0;
    const int error =
        ::posix_spawn(&child, "/proc/self/exe", nullptr, &attributes, arguments.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    return error == 0 ? child : 0;
}

/// False when the child still runs after `time`.
bool wait_for_end(const UniqueFd& process, std::chrono::milliseconds time) {
    pollfd entry{.fd = process.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, static_cast<int>(time.count())) > 0;
}

Probe to_probe(int wait_status) {
    if (!WIFEXITED(wait_status)) return Probe::Failed;
    switch (WEXITSTATUS(wait_status)) {
        case 0: return Probe::Answers;
        case 2: return Probe::NotEmpty;
        case 3: return Probe::Dead;
        case 4: return Probe::Missing;
        default: return Probe::Failed;
    }
}

}  // namespace

Probe probe_directory(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
    if (!directory) return from_errno(errno);
    errno = 0;
    while (const dirent* entry = ::readdir(directory.get())) {
        const std::string name(&entry->d_name[0]);
        if (name != "." && name != ".." && name != "lost+found") return Probe::NotEmpty;
    }
    return errno == 0 ? Probe::Answers : from_errno(errno);
}

std::optional<int> run_as_probe(const std::vector<std::string>& arguments) {
    if (arguments.size() != 3) return {};
    const std::string& request = arguments[1];
    if (request != kProbeMount && request != kProbeDirectory) return {};
    close_inherited();
    return static_cast<int>(request == kProbeMount ? probe_mount(arguments[2])
                                                   : probe_directory(arguments[2]));
}

Prober::~Prober() { reap(); }

bool Prober::reap() {
    if (child_ != 0 && ::waitpid(child_, nullptr, WNOHANG) == 0) return false;
    child_ = 0;
    return true;
}

Probe Prober::run(const char* request, const std::string& path,
                  std::chrono::milliseconds deadline) {
    constexpr std::chrono::milliseconds kKillTime{100};
    if (!reap()) return Probe::NoAnswer;
    child_ = spawn(request, path);
    if (child_ == 0) return Probe::NoAnswer;
    const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, child_, 0U)));
    if (wait_for_end(process, deadline)) {
        int status = 0;
        ::waitpid(child_, &status, 0);
        child_ = 0;
        return to_probe(status);
    }
    ::kill(child_, SIGKILL);
    wait_for_end(process, kKillTime);
    reap();
    return Probe::NoAnswer;
}

}  // namespace cfsgate::gateway::daemon
