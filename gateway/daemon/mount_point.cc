// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/mount_point.h"

#include <sys/mount.h>

#include <cerrno>
#include <filesystem>

#include "gateway/daemon/directories.h"
#include "store/base/mount_table.h"

namespace cfsgate::gateway::daemon {
namespace {

constexpr std::chrono::milliseconds kProbeDeadline{5000};
// Nobody looks again after this one. Within TimeoutStopSec= of the unit.
constexpr std::chrono::milliseconds kLastProbeDeadline{10000};
constexpr int kStackedMountsMax = 64;

Status detach_dead_mount(const MountEntry& mount, const Logger& log) {
    if (::umount2(mount.mount_point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
        return fail_posix(errno, mount.mount_point + ": take away the mount of a daemon that died");
    }
    log->warn("{}: took away the mount that a daemon left when it died", mount.mount_point);
    return {};
}

Status refuse_living_mount(const MountEntry& mount, Probe found) {
    const std::string number = std::to_string(mount.device_minor);
    std::string text = mount.mount_point + ": another file system (" + mount.type +
                       ", FUSE connection " + number + ") is mounted there";
    text += found == Probe::NoAnswer
                ? " and does not answer; cut it: cfsgate abort --mount " + mount.mount_point
                : "; stop its daemon, or take it away: umount " + mount.mount_point;
    return fail(Errno::Busy, std::move(text));
}

Status check_foreign(const MountEntry& mount, Probe found) {
    if (found == Probe::Answers) return {};
    return fail(Errno::Busy, mount.mount_point + ": a file system of type " + mount.type +
                                 (found == Probe::NotEmpty ? " with content" : "") +
                                 " is mounted there; take it away, or mount elsewhere (--mount)");
}

void warn_of_hidden_files(const std::string& path, Probe found, const Logger& log) {
    if (found != Probe::NotEmpty) return;
    log->warn("{}: the directory is not empty; the mount hides what is in it", path);
}

}  // namespace

Result<std::string> prepare_mount_point(const std::string& path, Prober& prober,
                                        const Logger& log) {
    for (int round = 0; round < kStackedMountsMax; ++round) {
        // The table first: mkdir or stat on a mount that hangs would hang as well.
        std::error_code ignored;
        std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
        const std::string place = CFSGATE_TRY(to_mount_point(path));
        const MountTable table = CFSGATE_TRY(read_mount_table());
        const MountEntry* mount = find_mount(table, place);
        if (mount == nullptr) {
            CFSGATE_TRY(make_directory(place, 0750));
            warn_of_hidden_files(place, probe_directory(place), log);
            return place;
        }
        const Probe found = prober.run(kProbeDirectory, place, kProbeDeadline);
        if (!mount->is_fuse()) {
            CFSGATE_TRY(check_foreign(*mount, found));
            return place;
        }
        if (found != Probe::Dead) {
            CFSGATE_TRY(refuse_living_mount(*mount, found));
        }
        CFSGATE_TRY(detach_dead_mount(*mount, log));
    }
    return fail(Errno::Busy, path + ": too many mounts on top of each other");
}

Status take_away_dead_mounts(const std::string& path, Prober& prober, const Logger& log) {
    const std::string place = CFSGATE_TRY(to_mount_point(path));
    for (int round = 0; round < kStackedMountsMax; ++round) {
        const MountTable table = CFSGATE_TRY(read_mount_table());
        const MountEntry* mount = find_mount(table, place);
        if (mount == nullptr || !mount->is_fuse()) return {};
        const Probe found = prober.run(kProbeDirectory, place, kLastProbeDeadline);
        if (found == Probe::NoAnswer) return refuse_living_mount(*mount, found);
        if (found != Probe::Dead) return {};
        CFSGATE_TRY(detach_dead_mount(*mount, log));
    }
    return fail(Errno::Busy, path + ": too many mounts on top of each other");
}

}  // namespace cfsgate::gateway::daemon
