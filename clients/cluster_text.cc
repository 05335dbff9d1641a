// SPDX-License-Identifier: Apache-2.0
#include "clients/cluster_text.h"

#include <algorithm>

#include "clients/json_fields.h"
#include "clients/listing.h"
#include "clients/table.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

std::string or_dash(std::string text) { return text.empty() ? "-" : std::move(text); }

std::string moment(const json& from, FieldPath path) {
    const auto seconds = number_field(from, path);
    return seconds ? time_text(static_cast<std::time_t>(*seconds)) : "-";
}

std::string votes_text(const json& status) {
    const json& votes = field(status, {"cluster", "votes"});
    if (votes.is_null()) return "-";
    std::string text = or_dash(text_field(votes, {"total"})) + " of " +
                       or_dash(text_field(votes, {"expected"})) + ", " +
                       or_dash(text_field(votes, {"needed"})) + " needed";
    const std::string device = text_field(votes, {"device"});
    if (device.empty()) return text;
    return text + "; quorum device " + device + ": " + or_dash(text_field(votes, {"device_state"}));
}

std::string ids_text(const json::array_t& ids) {
    std::string text;
    for (const json& id : ids) text += (text.empty() ? "" : " ") + id.dump();
    return text.empty() ? "none" : text;
}

std::string group_text(const json& status, const char* group) {
    const json& part = field(status, {"cluster", group});
    std::string text = or_dash(text_field(part, {"mode"}));
    // Without a connection they are those of before.
    if (text != "not connected") text += "; members " + ids_text(list_field(part, {"members"}));
    text += "; unsent " + or_dash(text_field(part, {"unsent"})) + ", queued " +
            or_dash(text_field(part, {"queued"}));
    const std::string why = text_field(part, {"last_leave"});
    const std::uint64_t leaves = number_field(part, {"leaves"}).value_or(0);
    if (leaves == 0) return text;
    return text + "; left " + (leaves == 1 ? "once" : std::to_string(leaves) + " times") +
           (why.empty() ? "" : ", last because: " + why);
}

std::string leader_text(const json& status) {
    const auto leader = number_field(status, {"cluster", "last_leader"});
    return leader ? member_text(status, *leader) : "none yet";
}

std::string verification_text(const json& status) {
    const json& last = field(status, {"cluster", "last_verification"});
    if (last.is_null()) return "none yet";
    return std::string(is_true(last, {"equal"}) ? "equal" : "DIFFERENT") + ", " +
           moment(last, {"at"}) + ", number " + or_dash(text_field(last, {"number"}));
}

std::string changes_text(const json& status) {
    return or_dash(text_field(status, {"cluster", "in_flight"})) + " in flight, " +
           or_dash(text_field(status, {"cluster", "held"})) + " held, oldest " +
           or_dash(text_field(status, {"sequencer", "oldest_waiting_ms"})) + " ms";
}

std::string apply_text(const json& status) {
    return or_dash(text_field(status, {"cluster", "apply_waiting"})) + " waiting, lag " +
           or_dash(text_field(status, {"cluster", "apply_lag_ms"})) + " ms";
}

std::string versions_text(const json& status) {
    return "tree " + or_dash(text_field(status, {"tree", "version"})) + ", corosync.conf " +
           or_dash(text_field(status, {"cluster", "config_version"}));
}

/// The address that the node names itself; else that of its first link.
std::string address_of(const json& node) {
    const std::string ip = text_field(node, {"ip"});
    if (!ip.empty()) return ip;
    const auto& addresses = list_field(node, {"addresses"});
    if (addresses.empty() || !addresses.front().is_string()) return "-";
    return addresses.front().get<std::string>();
}

std::vector<TableRow> member_rows(const json& status) {
    std::vector<TableRow> rows{{"ID", "NAME", "ADDRESS", "ONLINE", "VOTES"}};
    const std::string self = text_field(status, {"cluster", "node_id"});
    for (const json& node : list_field(status, {"cluster", "nodes"})) {
        const std::string id = text_field(node, {"id"});
        rows.push_back(
            {id, or_dash(text_field(node, {"name"})), address_of(node),
             is_true(node, {"online"}) ? "yes" : "no",
             or_dash(text_field(node, {"votes"})) + (id == self ? "  (this node)" : "")});
    }
    return rows;
}

}  // namespace

std::string member_text(const json& status, std::uint64_t id) {
    for (const json& node : list_field(status, {"cluster", "nodes"})) {
        if (number_field(node, {"id"}) != id) continue;
        return text_field(node, {"name"}) + " (" + std::to_string(id) + ")";
    }
    return std::to_string(id);
}

std::string quorum_text(const json& status) {
    const std::string since = ", since " + moment(status, {"cluster", "quorate_since"});
    if (is_true(status, {"cluster", "quorate"})) return "yes" + since;
    return "NO" + since + ": " + or_dash(text_field(status, {"cluster", "why_not_quorate"}));
}

std::vector<std::string> cluster_lines(const json& status) {
    if (!field(status, {"cluster"}).is_object()) return {};
    const std::string name = text_field(status, {"cluster", "name"});
    std::vector<std::string> lines{name.empty() ? "Cluster (not known yet)" : "Cluster " + name};
    const std::vector<TableRow> facts{
        {"  quorate", quorum_text(status)},
        {"  votes", votes_text(status)},
        {"  configuration group", group_text(status, "configuration")},
        {"  status group", group_text(status, "status")},
        {"  leader of the last sync", leader_text(status)},
        {"  versions", versions_text(status)},
        {"  own changes", changes_text(status)},
        {"  ordered, to be applied", apply_text(status)},
        {"  last verification", verification_text(status)},
    };
    for (std::string& line : table_lines(facts)) lines.push_back(std::move(line));
    lines.emplace_back();
    for (const std::string& line : table_lines(member_rows(status))) lines.push_back("  " + line);
    return lines;
}

}  // namespace cfsgate::clients
