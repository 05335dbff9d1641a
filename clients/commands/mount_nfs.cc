// SPDX-License-Identifier: Apache-2.0
// Mounts this host's own export by NFS, and takes such a mount away whatever state it is in.
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "clients/command_process.h"
#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/mount_nfs_options.h"
#include "clients/nfs_connection.h"
#include "store/base/mount_table.h"

namespace cfsgate::clients {
namespace {

constexpr int kProbeSeconds = 5;
constexpr std::chrono::seconds kMountLimit{60};
constexpr std::chrono::seconds kUnmountLimit{10};
constexpr int kForceAttempts = 5;
constexpr int kForcePauseMilliseconds = 200;

AskError failed(std::string text) { return {kFailed, std::move(text)}; }

Status check_directory(const std::string& place) {
    struct stat found {};
    if (::stat(place.c_str(), &found) != 0) return fail_posix(errno, place);
    if (!S_ISDIR(found.st_mode)) return fail(Errno::NotDirectory, place + ": is no directory");
    return {};
}

/// The absolute name of a directory where nothing is mounted. Asks the mount table first: a
/// directory below a dead mount may hang whoever touches it.
Result<std::string> free_place(const std::string& directory) {
    std::string place = CFSGATE_TRY(to_mount_point(directory));
    const MountTable table = CFSGATE_TRY(read_mount_table());
    if (const MountEntry* mount = find_mount(table, place)) {
        return fail(Errno::Busy,
                    place + ": is a mount already, of " + mount->source + " (" + mount->type + ")");
    }
    CFSGATE_TRY(check_directory(place));
    return place;
}

Result<std::string> nfs_mount_at(const std::string& directory) {
    std::string place = CFSGATE_TRY(to_mount_point(directory));
    const MountTable table = CFSGATE_TRY(read_mount_table());
    const MountEntry* mount = find_mount(table, place);
    if (mount == nullptr) return fail(Errno::NotFound, place + ": nothing is mounted there");
    if (!mount->type.starts_with("nfs")) {
        return fail(Errno::Invalid, place + ": the mount is no NFS mount but " + mount->type);
    }
    return place;
}

bool has_helper() {
    return ::access("/sbin/mount.nfs", X_OK) == 0 || ::access("/usr/sbin/mount.nfs", X_OK) == 0;
}

int mount(const Arguments& arguments) {
    const auto place = free_place(arguments.operands[0]);
    if (!place) return report(failed(place.error().detail));
    const auto answered = probe_nfs({arguments.server, arguments.port, kProbeSeconds});
    if (!answered) return report({kNotReachable, answered.error().detail});
    const auto code = run_program(mount_command(arguments, *place), kMountLimit, Messages::Show);
    if (!code) return report(failed(code.error().detail));
    if (*code == 0) return kOk;
    const std::string hint = has_helper() ? "" : "; install nfs-common, which brings mount.nfs";
    return report(failed(*place + ": mount failed (" + std::to_string(*code) + ")" + hint));
}

/// -i and -c: no helper that talks to the server, no look at the directory itself.
bool umount(const std::string& place, const std::vector<std::string>& options, Messages messages) {
    std::vector<std::string> command{"umount", "-i", "-c"};
    command.insert(command.end(), options.begin(), options.end());
    command.push_back(place);
    const auto code = run_program(command, kUnmountLimit, messages);
    return code && *code == 0;
}

/// Requests that wait for the server fail. Whoever made one may at once make another, as when a
/// name is looked up again, so once is not enough.
bool force(const std::string& place) {
    for (int attempt = 0; attempt < kForceAttempts; ++attempt) {
        if (umount(place, {"-f"}, Messages::Hide)) return true;
        ::poll(nullptr, 0, kForcePauseMilliseconds);
    }
    return false;
}

/// With a server as usual, so that what was written reaches it; force would fail what others have
/// under way. What is still in use leaves the tree and ends with its last user.
int unmount(const Arguments& arguments) {
    const auto place = nfs_mount_at(arguments.operands[0]);
    if (!place) return report(failed(place.error().detail));
    const bool answers = probe_nfs({arguments.server, arguments.port, kProbeSeconds}).has_value();
    if (answers && umount(*place, {}, Messages::Hide)) return kOk;
    if (!answers && force(*place)) {
        std::printf("%s: no server answers, unmounted by force\n", place->c_str());
        return kOk;
    }
    if (!umount(*place, {"-l"}, Messages::Show)) {
        return report(failed(*place + ": cannot be unmounted; are you root?"));
    }
    std::printf("%s: in use, detached; gone when its last user is\n", place->c_str());
    return kOk;
}

}  // namespace

int run_mount_nfs(const Arguments& arguments) {
    return arguments.unmount ? unmount(arguments) : mount(arguments);
}

}  // namespace cfsgate::clients
