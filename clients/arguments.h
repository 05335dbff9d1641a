// SPDX-License-Identifier: Apache-2.0
// The command line of a subcommand, and what the daemon's configuration file says of its places.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "store/base/default_paths.h"

namespace cfsgate::clients {

struct Arguments {
    bool json = false;
    bool checksum = false;
    std::string control = default_paths::kControl;
    std::string state = default_paths::kState;
    std::string mount = default_paths::kMountPoint;
    std::string pid_file = default_paths::kPidFile;
    std::string corosync_conf = default_paths::kCorosyncConf;

    // Of top.
    int interval_seconds = 1;
    int count = 0;  ///< 0: without end

    // Of backups and of a store without a daemon.
    bool state_given = false;  ///< by the command line or the configuration file
    bool force = false;
    bool check_only = false;
    bool dry_run = false;
    bool replace = false;
    std::string node_name;

    // Of the history.
    std::string since;  ///< times, as given
    std::string until;
    std::string at;
    std::string version;  ///< a position, as given
    bool reverse = false;
    bool all = false;
    bool all_nodes = false;

    // Over NFS.
    std::string server = "127.0.0.1";
    int port = 2049;
    std::string export_path = "/etc/pve";
    int timeout_seconds = 30;
    bool long_listing = false;
    bool in_place = false;
    bool read_only = false;
    bool unmount = false;
    std::vector<std::string> mount_options;

    std::vector<std::string> operands;
};

/// Which options a subcommand accepts besides --help and --config.
enum class OptionSet : std::uint8_t {
    Daemon,   ///< --json, --control, --state, --mount
    Status,   ///< the same and --checksum
    Top,      ///< --interval, --count, --control, --state, --mount
    Doctor,   ///< those of Daemon and --corosync-conf
    Nfs,      ///< --server, --port, --export, --timeout
    NfsData,  ///< the same and --json
    NfsList,  ///< the same and --long
    NfsPut,   ///< those of Nfs and --in-place
    MountNfs,
    Backup,   ///< those of Daemon, --force, --check, --node-name
    Recover,  ///< those of Daemon, --replace, --node-name
    Repair,   ///< those of Daemon, --dry-run
    Log,      ///< those of Daemon, --count, --since, --until, --reverse
    Restore,  ///< those of Daemon, --all, --at, --version, --dry-run
    Purge,    ///< those of Daemon, --all-nodes
};

struct Syntax {
    std::string name;
    std::string operands;  ///< as help shows them, such as "FILE" or "[PATH]"
    std::string summary;
    std::size_t operands_min = 0;
    std::size_t operands_max = 0;
    OptionSet options = OptionSet::Daemon;
};

/// The program ends at once.
struct EarlyExit {
    int code = 0;
    std::string output;  ///< to stdout
    std::string error;   ///< to stderr
};

/// `words` follow the subcommand's name.
std::variant<Arguments, EarlyExit> parse_arguments(const Syntax& syntax,
                                                   const std::vector<std::string>& words);

/// A path inside the tree: what lies under the mount point may be named by its whole path.
std::string tree_path(const Arguments& arguments, const std::string& operand);

}  // namespace cfsgate::clients
