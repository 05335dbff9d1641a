// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/purge_command.h"

#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "gateway/daemon/await.h"
#include "gateway/daemon/requests.h"
#include "replication/purge_message.h"
#include "store/model/path.h"

namespace cfsgate::gateway::daemon {
namespace {

using nlohmann::json;
using Members = std::vector<NodeId>;

std::string normalised(const std::string& path) {
    std::string result;
    for (const std::string_view component : path_components(path)) {
        result = join_path(result, component);
    }
    return result;
}

Status can_order(const replication::ClusterSequencer* cluster) {
    if (cluster == nullptr) return fail(Errno::NotSupported, "this node is not in a cluster");
    const auto status = cluster->cluster_status();
    if (!cluster->quorate()) {
        return fail(Errno::NoAccess, "this node has no quorum: " + status.why_not_quorate);
    }
    if (status.configuration.mode != "synced") {
        return fail(Errno::Busy, "this node is not in the group, or not in sync with it");
    }
    return {};
}

Result<json> purge_here(const PurgeSource& source, const std::string& path) {
    const store::PurgeReport report = CFSGATE_TRY(source.worker.purge(path));
    struct stat info {};
    const bool database = ::stat((source.state_directory + "/config.db").c_str(), &info) == 0;
    return json{{"records", report.records},
                {"snapshots", report.snapshots},
                {"still_there", report.still_there},
                {"unreadable", report.unreadable},
                {"config_db", database}};
}

/// By name: the members that got it besides this node, and the nodes of the list that did not.
json describe_members(const replication::ClusterStatus& status, Members members) {
    json asked = json::array();
    json missed = json::array();
    for (const auto& node : status.nodes) {
        const bool member = std::erase(members, node.id) > 0;
        if (node.id != status.self) (member ? asked : missed).push_back(node.name);
    }
    for (const NodeId id : members) {  // what the list does not know
        if (id != status.self) asked.push_back("node " + std::to_string(id.value()));
    }
    return {{"asked", std::move(asked)}, {"missed", std::move(missed)}};
}

}  // namespace

Result<json> purge_history(const PurgeSource& source, const json& request,
                           const std::stop_token& stop) {
    const std::string path = CFSGATE_TRY(text_of(request, "path"));
    if (!is_set(request, "all_nodes")) return purge_here(source, path);
    const std::string wanted = normalised(path);
    if (const Status good = replication::check_purge_path(wanted); !good) {
        return fail(good.error().code, "--all-nodes: " + good.error().detail);
    }
    CFSGATE_TRY(can_order(source.cluster));
    json answer = CFSGATE_TRY(purge_here(source, wanted));
    const auto members =
        await<Members>([&](auto done) { source.cluster->order_purge(wanted, std::move(done)); },
                       source.deadline, stop);
    if (!members) {
        return fail(
            members.error().code,
            "this node's past was purged; asking the others failed: " + members.error().detail);
    }
    answer["nodes"] = describe_members(source.cluster->cluster_status(), *members);
    return answer;
}

}  // namespace cfsgate::gateway::daemon
