// SPDX-License-Identifier: Apache-2.0
#include "clients/top_text.h"

#include <array>
#include <cstdio>

#include "clients/cluster_text.h"
#include "clients/json_fields.h"
#include "clients/table.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

struct Samples {
    const json& before;
    const json& now;
    double seconds;
};

std::string or_dash(std::string text) { return text.empty() ? "-" : std::move(text); }

std::string rate(const Samples& samples, FieldPath path) {
    const auto then = number_field(samples.before, path);
    const auto now = number_field(samples.now, path);
    const bool same_daemon = field(samples.before, {"pid"}) == field(samples.now, {"pid"});
    if (!then || !now || *now < *then || !same_daemon || samples.seconds <= 0) return "-";
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f/s",
                  static_cast<double>(*now - *then) / samples.seconds);
    return text.data();
}

std::string milliseconds(const json& status, FieldPath path) {
    return or_dash(text_field(status, path)) + " ms";
}

std::string members_text(const json& status) {
    const auto& nodes = list_field(status, {"cluster", "nodes"});
    std::size_t online = 0;
    std::string offline;
    for (const json& node : nodes) {
        if (is_true(node, {"online"})) {
            ++online;
        } else {
            offline += (offline.empty() ? "; offline: " : ", ") + text_field(node, {"name"});
        }
    }
    return std::to_string(online) + " of " + std::to_string(nodes.size()) + " online" + offline;
}

void add_cluster(const json& status, std::vector<TableRow>& rows) {
    if (!field(status, {"cluster"}).is_object()) return;
    rows.push_back({"in flight / held", or_dash(text_field(status, {"cluster", "in_flight"})) +
                                            " / " +
                                            or_dash(text_field(status, {"cluster", "held"}))});
    rows.push_back({"apply lag", milliseconds(status, {"cluster", "apply_lag_ms"})});
    rows.push_back({"quorate", quorum_text(status)});
    rows.push_back({"members", members_text(status)});
    rows.push_back({"group", or_dash(text_field(status, {"cluster", "configuration", "mode"}))});
}

}  // namespace

std::vector<std::string> top_lines(const json& before, const json& now, double seconds) {
    const Samples samples{before, now, seconds};
    std::vector<TableRow> rows{
        {"node", text_field(now, {"node"}) + ", " + text_field(now, {"mode"}) + ", tree version " +
                     or_dash(text_field(now, {"tree", "version"}))},
        {"operations", rate(samples, {"sequencer", "completed"})},
        {"batches", rate(samples, {"sequencer", "batches"})},
        {"flushes", rate(samples, {"sequencer", "flushes"})},
        {"mount requests", rate(samples, {"mount", "requests"})},
        {"NFS requests", rate(samples, {"nfs", "requests"})},
        {"oldest waiting", milliseconds(now, {"sequencer", "oldest_waiting_ms"})},
    };
    add_cluster(now, rows);
    return table_lines(rows);
}

}  // namespace cfsgate::clients
