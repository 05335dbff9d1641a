// SPDX-License-Identifier: Apache-2.0
// Where things are unless an option or the configuration file says otherwise. The daemon and the
// command share them.
#pragma once

namespace cfsgate::default_paths {

inline constexpr const char* kConfig = "/etc/cfsgate/cfsgate.conf";
inline constexpr const char* kMountPoint = "/etc/pve";
inline constexpr const char* kState = "/var/lib/pve-cluster";
inline constexpr const char* kRun = "/run/pve-cluster";
inline constexpr const char* kPidFile = "/run/pve-cluster.pid";
inline constexpr const char* kControl = "/run/cfsgate/control";
inline constexpr const char* kCorosyncConf = "/etc/corosync/corosync.conf";

}  // namespace cfsgate::default_paths
