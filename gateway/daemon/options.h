// SPDX-License-Identifier: Apache-2.0
// What the daemon is asked to do: command line, then configuration file, then defaults.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "gateway/daemon/nfs_service.h"
#include "gateway/file_system.h"
#include "replication/cluster_sequencer.h"
#include "store/base/default_paths.h"
#include "store/model/limits.h"
#include "store/store.h"

namespace cfsgate::gateway::daemon {

/// Exit codes, those of the original.
inline constexpr int kExitUsage = 1;          ///< an option or a configuration key is wrong
inline constexpr int kExitStartFailed = 255;  ///< left-over arguments, or the start failed

/// Which database counts where a store and a changed config.db are found side by side.
enum class DatabaseChoice : std::uint8_t { Ask, Store, ConfigDb };

struct Options {
    std::string identity = "cfsgated";  ///< in the system log; "pmxcfs" when started by that name
    bool local = false;
    bool foreground = false;
    bool debug = false;
    std::string mount_point = default_paths::kMountPoint;
    std::string state_directory = default_paths::kState;
    std::string run_directory = default_paths::kRun;
    std::string pid_file = default_paths::kPidFile;
    std::string control = default_paths::kControl;
    std::string corosync_conf = default_paths::kCorosyncConf;
    std::string node_name;  ///< empty: the machine's
    store::Durability durability = store::Durability::Durable;
    replication::Ack ack = replication::Ack::Delivery;
    ChmodPolicy chmod_policy = ChmodPolicy::Strict;
    std::uint32_t history_days = 30;
    std::uint64_t history_mib = 256;
    std::uint64_t tree_bytes_max = limits::kTreeBytesMax;
    std::uint64_t entries_max = limits::kEntriesMax;
    std::chrono::seconds deadline{30};
    DatabaseChoice use = DatabaseChoice::Ask;
    bool unmount_dead = false;  ///< only take away the mount of a daemon that died
    NfsOptions nfs;
};

/// The program ends at once: `output` goes to stdout, `error` to stderr.
struct EarlyExit {
    int code = 0;
    std::string output;
    std::string error;
};

/// `arguments[0]` is the program's name; a basename of `pmxcfs` admits the original's options alone.
/// The default configuration file may be missing; one named by --config must be there.
std::variant<Options, EarlyExit> parse_options(
    const std::vector<std::string>& arguments,
    const std::string& default_config = default_paths::kConfig);

}  // namespace cfsgate::gateway::daemon
