// SPDX-License-Identifier: Apache-2.0
#include "clients/doctor_checks.h"

#include <algorithm>

#include "clients/cluster_text.h"
#include "clients/json_fields.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMebibyte = 1ULL << 20;
constexpr std::uint64_t kFreeWarning = 256 * kMebibyte;
constexpr std::uint64_t kFreeProblem = 32 * kMebibyte;
constexpr std::uint64_t kWatchdogMs = 60'000;
constexpr std::uint64_t kKeyBytesMin = 128;  // corosync refuses a shorter one
constexpr std::uint32_t kSkewSeconds = 5;

bool is_loopback(const std::string& address) {
    return address.starts_with("127.") || address.starts_with("::ffff:127.") || address == "::1";
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
}

std::string seconds_text(std::uint64_t milliseconds) {
    const std::uint64_t tenths = (milliseconds + 50) / 100;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

/// Whether anybody but its owner may read or change it.
bool is_open_to_others(mode_t mode) { return (mode & 077) != 0; }

std::string octal(mode_t mode) {
    std::string text = "0000";
    for (std::size_t i = 4; i-- > 1; mode >>= 3) text[i] = static_cast<char>('0' + (mode & 7));
    return text;
}

std::uint64_t version_of(std::string_view conf) {
    const auto parsed = parse_corosync_conf(conf);
    return parsed ? corosync_settings(*parsed).config_version : 0;
}

}  // namespace

const char* to_string(Level level) {
    switch (level) {
        case Level::Ok: return "ok";
        case Level::NotChecked: return "not checked";
        case Level::Warning: return "warning";
        case Level::Problem: return "problem";
    }
    return "";
}

Finding check_node_name(const std::string& name,
                        const Result<std::vector<std::string>>& addresses) {
    const std::string cure = "; give it its own address in /etc/hosts, on every node";
    if (!addresses) {
        return {Level::Problem, "node name",
                name + " has no address (" + addresses.error().detail + ")" + cure};
    }
    const auto loopbacks = std::count_if(addresses->begin(), addresses->end(), is_loopback);
    const std::string found = name + " is " + joined(*addresses);
    if (loopbacks == std::ssize(*addresses)) {
        return {Level::Problem, "node name", found + ", which others cannot reach" + cure};
    }
    if (loopbacks > 0) {
        return {Level::Warning, "node name",
                found + ": take the loopback address away in /etc/hosts"};
    }
    return {Level::Ok, "node name", found};
}

Finding check_node_list(const std::string& name, const CorosyncSettings& settings) {
    const auto& names = settings.node_names;
    if (std::find(names.begin(), names.end(), name) != names.end()) {
        return {Level::Ok, "node list",
                name + " is one of " + std::to_string(names.size()) + " nodes of the cluster " +
                    settings.cluster_name};
    }
    return {Level::Problem, "node list",
            name + " is not in the node list of corosync.conf (" + joined(names) +
                "); names there must be those of the machines"};
}

Finding check_timeouts(const CorosyncSettings& settings) {
    const std::uint64_t sum = settings.token_ms + settings.consensus_ms;
    const std::string found = "token " + seconds_text(settings.token_ms) + " + consensus " +
                              seconds_text(settings.consensus_ms) + " with " +
                              std::to_string(settings.node_names.size()) + " nodes";
    if (sum <= kWatchdogMs / 2) return {Level::Ok, "timeouts", found};
    return {sum < kWatchdogMs ? Level::Warning : Level::Problem, "timeouts",
            found +
                ": a lost member stops all others for longer than half of a watchdog's 60 s; "
                "lower token or token_coefficient (125) in the tree's corosync.conf"};
}

Finding check_conf_copies(const std::string& path, std::string_view in_file,
                          const std::optional<std::string>& in_tree) {
    if (!in_tree) {
        return {Level::NotChecked, "corosync.conf", "the tree's cannot be read without the daemon"};
    }
    const std::string versions = "version " + std::to_string(version_of(in_file)) + " in " + path +
                                 ", " + std::to_string(version_of(*in_tree)) + " in the tree";
    if (in_file == *in_tree) return {Level::Ok, "corosync.conf", "both copies are the same"};
    if (version_of(in_file) > version_of(*in_tree)) {
        return {Level::Problem, "corosync.conf",
                versions +
                    ": the tree's is never written over a newer file; put the right text "
                    "into the tree with a higher config_version"};
    }
    return {Level::Problem, "corosync.conf",
            versions +
                ": the daemon could not write it, or somebody has changed the file since; "
                "the log of cfsgated says why, and a restart of it tries again"};
}

Finding check_key(const CorosyncSettings& settings, const Result<KeyFile>& key) {
    const std::string& path = settings.key_file;
    if (!settings.encrypted) {
        return {Level::Warning, "key",
                "corosync.conf asks for no encryption: whoever reaches the network is a member"};
    }
    if (settings.key_in_text) {
        return {Level::Warning, "key",
                "it stands in corosync.conf, which many may read; use a keyfile"};
    }
    if (!key) {
        return {Level::Problem, "key",
                key.error().detail + "; copy it from a node of the cluster (0400, root)"};
    }
    if (key->bytes < kKeyBytesMin) {
        return {Level::Problem, "key",
                path + " has " + std::to_string(key->bytes) + " bytes, corosync wants " +
                    std::to_string(kKeyBytesMin) + "; copy it from a node of the cluster"};
    }
    if (key->owner != 0 || is_open_to_others(key->mode)) {
        return {Level::Warning, "key",
                path + " has mode " + octal(key->mode) + " and owner " +
                    std::to_string(key->owner) + "; chown root and chmod 0400"};
    }
    return {Level::Ok, "key",
            path + " has fingerprint " + key->fingerprint +
                ", which must be the same on every node: run cfsgate doctor there"};
}

Finding check_space(const std::string& directory, const Result<std::uint64_t>& free_bytes) {
    if (!free_bytes) return {Level::NotChecked, "disk", free_bytes.error().detail};
    const std::string found =
        std::to_string(*free_bytes / kMebibyte) + " MiB are free at " + directory;
    if (*free_bytes >= kFreeWarning) return {Level::Ok, "disk", found};
    return {*free_bytes < kFreeProblem ? Level::Problem : Level::Warning, "disk",
            found + ": make room before changes are refused"};
}

bool corosync_listens(std::string_view sockets) {
    // Abstract names begin with "@"; libqb fills them up with zeros, which show as "@" too.
    for (auto at = sockets.find("cpg"); at != std::string_view::npos;
         at = sockets.find("cpg", at + 1)) {
        const bool begins = at > 0 && (sockets[at - 1] == '@' || sockets[at - 1] == '/');
        const auto behind = sockets.substr(at + 3, 1);
        if (begins && (behind.empty() || behind == "\n" || behind == "@")) return true;
    }
    return false;
}

Finding check_corosync(bool listens, const json& status) {
    if (!listens) {
        return {Level::Problem, "corosync",
                "it does not run here: systemctl status corosync, journalctl -u corosync"};
    }
    const json& mode = field(status, {"cluster", "configuration", "mode"});
    if (mode == "not connected") {
        return {Level::Problem, "corosync",
                "it runs, and the daemon is not connected: the log of cfsgated says why"};
    }
    return {Level::Ok, "corosync",
            mode.is_null() ? "it runs" : "it runs, and the daemon is connected"};
}

Finding check_clock(const Clock& clock) {
    if (clock.newest > clock.now + kSkewSeconds) {
        return {Level::Warning, "clock",
                clock.newest_in + " was changed " + std::to_string(clock.newest - clock.now) +
                    " s in the future: this clock is late, or another node's is early; run an NTP "
                    "service on every node"};
    }
    if (!clock.synchronised) {
        return {Level::Warning, "clock",
                "no NTP service keeps this node's clock; run one on every node"};
    }
    return {Level::Ok, "clock", "synchronised here; nothing in the tree is from the future"};
}

Finding check_quorum(const json& status) {
    if (is_true(status, {"cluster", "quorate"})) {
        return {Level::Ok, "quorum", quorum_text(status)};
    }
    return {Level::Problem, "quorum",
            quorum_text(status) + "; nothing can be changed until enough nodes are here"};
}

Finding check_members(const json& status) {
    const auto& nodes = list_field(status, {"cluster", "nodes"});
    std::vector<std::string> offline;
    for (const json& node : nodes) {
        if (!is_true(node, {"online"})) offline.push_back(text_field(node, {"name"}));
    }
    if (nodes.empty()) return {Level::Problem, "members", "the node list is not known yet"};
    if (offline.empty()) {
        return {Level::Ok, "members", "all " + std::to_string(nodes.size()) + " are online"};
    }
    return {Level::Warning, "members",
            "offline: " + joined(offline) +
                "; see there whether corosync and the daemon run, and reach the others"};
}

Finding check_groups(const json& status) {
    const std::string mode = text_field(status, {"cluster", "configuration", "mode"});
    if (mode == "synced") return {Level::Ok, "synchronisation", "this node has the cluster's tree"};
    const std::string why = text_field(status, {"cluster", "configuration", "last_leave"});
    return {Level::Problem, "synchronisation",
            "the configuration group is: " + mode + (why.empty() ? "" : "; last left: " + why) +
                "; changes wait. If it stays so, see the log of cfsgated"};
}

Finding check_protocol(const json& status) {
    for (const char* const group : {"configuration", "status"}) {
        const std::string why = text_field(status, {"cluster", group, "last_leave"});
        if (why.find("newer protocol") == std::string::npos) continue;
        return {Level::Problem, "protocol",
                "a member speaks a newer protocol; this node stays out until it is upgraded and "
                "restarted"};
    }
    return {Level::Ok, "protocol", "no member with a newer one was met"};
}

Finding check_verification(const json& status) {
    const json& last = field(status, {"cluster", "last_verification"});
    if (last.is_null()) return {Level::Ok, "verification", "none yet"};
    if (is_true(last, {"equal"})) return {Level::Ok, "verification", "the last one was equal"};
    return {Level::Problem, "verification",
            "this node's tree differs from the cluster's; stop the daemon, keep a copy of the "
            "state directory, and start again: it then takes the cluster's tree"};
}

Finding check_store(const json& status) {
    const std::string failure = text_field(status, {"store", "failure"});
    if (failure.empty()) return {Level::Ok, "store", "it takes changes"};
    return {Level::Problem, "store", failure + "; restart the daemon when the cause is gone"};
}

}  // namespace cfsgate::clients
