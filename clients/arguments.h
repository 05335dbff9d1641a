// SPDX-License-Identifier: Apache-2.0
// The command line of a subcommand, and what the daemon's configuration file says of its places.
#pragma once

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
    std::vector<std::string> operands;
};

/// What a subcommand accepts besides --help, --json, --config, --control, --state and --mount.
struct Syntax {
    std::string name;
    std::string operands;  ///< as help shows them, such as "FILE" or "[PATH]"
    std::string summary;
    std::size_t operands_min = 0;
    std::size_t operands_max = 0;
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
