// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/directories.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "store/base/files.h"

namespace cfsgate::gateway::daemon {
namespace {

std::string restart_flag_path(const std::string& run_directory) {
    return run_directory + "/cfs-restart-flag";
}

}  // namespace

Status make_directory(const std::string& path, mode_t mode) {
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    if (error) return fail_posix(error.value(), path + ": create the directory above it");
    if (::mkdir(path.c_str(), mode) == 0) return {};
    if (errno == EEXIST && std::filesystem::is_directory(path, error)) return {};
    return fail_posix(errno, path + ": create directory");
}

Status give_to_group(const std::string& path, gid_t group) {
    if (::geteuid() != 0) return {};
    if (::chown(path.c_str(), 0, group) != 0) return fail_posix(errno, path + ": chown");
    return {};
}

Status write_pid_file(const std::string& path) {
    return write_file_atomically(path, std::to_string(::getpid()) + "\n", 0644, Flush::No);
}

Status raise_restart_flag(const std::string& run_directory, gid_t group) {
    const std::string path = restart_flag_path(run_directory);
    CFSGATE_TRY(write_file_atomically(path, "", 0440, Flush::No));
    return give_to_group(path, group);
}

void clear_restart_flag(const std::string& run_directory) {
    ::unlink(restart_flag_path(run_directory).c_str());
}

}  // namespace cfsgate::gateway::daemon
