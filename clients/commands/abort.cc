// SPDX-License-Identifier: Apache-2.0
// Ends a FUSE connection from outside, without touching the mount: whoever waits on it gets an
// error, even where its daemon is stopped.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "store/base/mount_table.h"
#include "store/base/unique_fd.h"

namespace cfsgate::clients {
namespace {

constexpr const char* kConnections = "/sys/fs/fuse/connections";

Status mount_control_file_system(const MountTable& table) {
    const bool mounted = std::any_of(table.begin(), table.end(), [](const MountEntry& entry) {
        return entry.type == "fusectl" && entry.mount_point == kConnections;
    });
    // For this process alone, so that nothing is left mounted.
    if (mounted || (::unshare(CLONE_NEWNS) == 0 &&
                    ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                    ::mount("fusectl", kConnections, "fusectl", 0, nullptr) == 0)) {
        return {};
    }
    return fail_posix(errno, std::string(kConnections) + ": mount fusectl");
}

Status write_one(const std::string& file) {
    const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid()) return fail_posix(errno, file);
    return ::write(fd.get(), "1", 1) == 1 ? Status{} : fail_posix(errno, file);
}

/// Returns the number of the connection that was cut.
Result<std::uint32_t> abort_mount(const std::string& path) {
    const std::string place = CFSGATE_TRY(to_mount_point(path));
    const MountTable table = CFSGATE_TRY(read_mount_table());
    const MountEntry* mount = find_mount(table, place);
    if (mount == nullptr) return fail(Errno::NotFound, place + ": nothing is mounted there");
    if (!mount->is_fuse()) {
        return fail(Errno::Invalid, place + ": the mount is no FUSE mount but " + mount->type);
    }
    CFSGATE_TRY(mount_control_file_system(table));
    const std::uint32_t number = mount->device_minor;
    CFSGATE_TRY(write_one(std::string(kConnections) + "/" + std::to_string(number) + "/abort"));
    return number;
}

}  // namespace

int run_abort(const Arguments& arguments) {
    const auto number = abort_mount(arguments.mount);
    if (!number) return report({kFailed, number.error().detail});
    if (arguments.json) {
        const nlohmann::json done = {{"ok", true}, {"fuse_connection", *number}};
        std::printf("%s\n", done.dump(2).c_str());
    } else {
        std::printf("%s: FUSE connection %u is cut\n", arguments.mount.c_str(), *number);
    }
    return kOk;
}

}  // namespace cfsgate::clients
