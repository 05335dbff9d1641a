// SPDX-License-Identifier: Apache-2.0
// What stops real clusters, each as a function of what was found. No I/O; commands/doctor.cc looks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clients/corosync_conf.h"
#include "store/base/result.h"

namespace cfsgate::clients {

enum class Level : std::uint8_t { Ok, NotChecked, Warning, Problem };

/// "ok", "not checked", "warning", "problem".
const char* to_string(Level level);

struct Finding {
    Level level = Level::Ok;
    std::string check;  ///< what was looked at, in a word or two
    std::string text;   ///< what is there and, where it is not well, what to do
};

/// `addresses`: what the name resolves to, numeric.
Finding check_node_name(const std::string& name, const Result<std::vector<std::string>>& addresses);

/// This node's name must be in the node list.
Finding check_node_list(const std::string& name, const CorosyncSettings& settings);

/// How long a lost member can stop all others, against a watchdog of 60 s.
Finding check_timeouts(const CorosyncSettings& settings);

/// corosync's own file against the tree's. `in_tree`: nothing where the tree cannot be read.
Finding check_conf_copies(const std::string& path, std::string_view in_file,
                          const std::optional<std::string>& in_tree);

struct KeyFile {
    mode_t mode = 0;
    uid_t owner = 0;
    std::uint64_t bytes = 0;
    std::string fingerprint;  ///< the start of its SHA-256, in hex
};
/// `key`: why it cannot be read, otherwise.
Finding check_key(const CorosyncSettings& settings, const Result<KeyFile>& key);

Finding check_space(const std::string& directory, const Result<std::uint64_t>& free_bytes);

/// Whether corosync's sockets are in `sockets`, the text of /proc/net/unix.
bool corosync_listens(std::string_view sockets);
/// `status`: the daemon's answer, null without one.
Finding check_corosync(bool listens, const nlohmann::json& status);

struct Clock {
    bool synchronised = false;  ///< by NTP or the like, as the kernel says
    std::uint32_t now = 0;      ///< seconds since 1970
    std::uint32_t newest = 0;   ///< the highest modification time seen in the tree; 0: none
    std::string newest_in;      ///< where
};
Finding check_clock(const Clock& clock);

/// Of a daemon in a cluster.
Finding check_quorum(const nlohmann::json& status);
Finding check_members(const nlohmann::json& status);
Finding check_groups(const nlohmann::json& status);
Finding check_protocol(const nlohmann::json& status);
Finding check_verification(const nlohmann::json& status);
/// Of any daemon.
Finding check_store(const nlohmann::json& status);

}  // namespace cfsgate::clients
