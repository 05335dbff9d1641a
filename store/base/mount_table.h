// SPDX-License-Identifier: Apache-2.0
// What is mounted where, from /proc/self/mountinfo: asking that never touches a mount, so it never
// hangs on one whose server is stuck.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace cfsgate {

struct MountEntry {
    std::uint32_t device_major = 0;
    std::uint32_t device_minor = 0;  ///< of a FUSE mount: its number in /sys/fs/fuse/connections
    std::string mount_point;
    std::string type;  ///< such as "ext4" or "fuse.sshfs"
    std::string source;

    /// Served by a process over /dev/fuse; not the control file system fusectl.
    bool is_fuse() const { return type == "fuse" || type.starts_with("fuse."); }
};

using MountTable = std::vector<MountEntry>;

/// Lines that do not follow proc(5) are left out.
MountTable parse_mount_table(std::string_view mountinfo);

/// Errors: what the system says.
Result<MountTable> read_mount_table();

/// The mount that a path walk ends on at `mount_point`, where several are stacked; or null.
const MountEntry* find_mount(const MountTable& table, std::string_view mount_point);

/// `path` as the table shows it: absolute, links in its directory resolved. The last component is
/// not looked at. Errors: what the system says of the directory; Invalid for "/".
Result<std::string> to_mount_point(const std::string& path);

}  // namespace cfsgate
