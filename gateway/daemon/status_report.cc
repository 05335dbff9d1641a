// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/status_report.h"

#include <unistd.h>

#include "gateway/lock_table.h"
#include "store/model/digest.h"

namespace cfsgate::gateway::daemon {
namespace {

using nlohmann::json;

json mount_part(const StatusSources& sources) {
    const fuse::MountCounters counters = sources.mount.counters();
    return {
        {"point", sources.options.mount_point},    {"fuse_connection", sources.mount.connection()},
        {"requests", counters.requests},           {"interrupted", counters.interrupted},
        {"notifications", counters.notifications}, {"held_truncations", counters.held_truncations}};
}

Result<json> tree_part(const StatusSources& sources, bool with_checksum) {
    const auto view = CFSGATE_TRY(sources.store.read());
    const store::Usage usage = view->usage();
    json tree = {{"version", view->head().version.value()},
                 {"entries", usage.entries},
                 {"entries_max", sources.options.entries_max},
                 {"bytes", usage.content_bytes},
                 {"bytes_max", sources.options.tree_bytes_max}};
    if (with_checksum) tree["checksum"] = to_hex(CFSGATE_TRY(sources.store.tree_checksum()));
    return tree;
}

json store_part(const StatusSources& sources) {
    const store::JournalStatus journal = sources.store.journal_status();
    const bool durable = sources.options.durability == store::Durability::Durable;
    const auto failure = sources.store.failure();
    const auto trouble = sources.store.trouble();
    return {{"state", sources.options.state_directory},
            {"durability", durable ? "durable" : "relaxed"},
            {"start", std::string(to_string(sources.store.start_kind()))},
            {"failure", failure ? json(*failure) : json()},
            {"trouble", trouble ? json(*trouble) : json()},
            {"journal",
             {{"appended", journal.appended.value()},
              {"synced", journal.synced.value()},
              {"segments", journal.segments},
              {"bytes", journal.bytes}}}};
}

json guard_part(const StatusSources& sources) {
    const auto burst = sources.store.last_removal_burst();
    if (!burst) return {};
    return {{"time", burst->time},
            {"removed", burst->removed},
            {"path", burst->path},
            {"snapshot", burst->snapshot.empty() ? json() : json(burst->snapshot)}};
}

json sequencer_part(const StatusSources& sources) {
    const replication::SequencerStatus status = sources.sequencer.status();
    return {{"submitted", status.submitted},
            {"completed", status.completed},
            {"batches", status.batches},
            {"flushes", status.flushes},
            {"oldest_waiting_ms", status.oldest_waiting_ms}};
}

json node_ids(const std::vector<NodeId>& nodes) {
    json ids = json::array();
    for (const NodeId node : nodes) ids.push_back(node.value());
    return ids;
}

json group_part(const replication::GroupStatus& group) {
    return {{"mode", group.mode},
            {"members", node_ids(group.members)},
            {"leaves", group.leaves},
            {"last_leave", group.last_leave.empty() ? json() : json(group.last_leave)},
            {"unsent", group.unsent},
            {"queued", group.queued}};
}

json votes_part(const replication::Votes& votes) {
    return {{"expected", votes.expected},
            {"total", votes.total},
            {"needed", votes.needed},
            {"device", votes.device.empty() ? json() : json(votes.device)},
            {"device_state", votes.device_state.empty() ? json() : json(votes.device_state)}};
}

json verification_part(const replication::Verification& verification) {
    return {
        {"number", verification.number}, {"equal", verification.equal}, {"at", verification.at}};
}

json cluster_part(const StatusSources& sources) {
    if (sources.cluster == nullptr) return {};
    const replication::ClusterStatus cluster = sources.cluster->cluster_status();
    json nodes = json::array();
    for (const auto& node : cluster.nodes) {
        nodes.push_back({{"id", node.id.value()},
                         {"name", node.name},
                         {"votes", node.votes},
                         {"addresses", node.addresses},
                         {"online", node.online},
                         {"ip", node.ip.empty() ? json() : json(node.ip)}});
    }
    return {{"name", cluster.name},
            {"config_version", cluster.config_version},
            {"node_id", cluster.self.value()},
            {"nodes", std::move(nodes)},
            {"quorate", cluster.quorate},
            {"quorate_since", cluster.quorate_since},
            {"why_not_quorate",
             cluster.why_not_quorate.empty() ? json() : json(cluster.why_not_quorate)},
            {"votes", cluster.votes ? votes_part(*cluster.votes) : json()},
            {"configuration", group_part(cluster.configuration)},
            {"status", group_part(cluster.status)},
            {"awaiting_rotation", cluster.awaiting_rotation},
            {"rotations", cluster.rotations},
            {"last_leader", cluster.last_leader ? json(cluster.last_leader->value()) : json()},
            {"last_verification",
             cluster.last_verification ? verification_part(*cluster.last_verification) : json()},
            {"in_flight", cluster.in_flight},
            {"held", cluster.held},
            {"apply_waiting", cluster.apply_waiting},
            {"apply_lag_ms", cluster.apply_lag_ms}};
}

json files_part(const StatusSources& sources) {
    const FileSystemCounters counters = sources.files.counters();
    return {{"open", counters.open_files},
            {"pinned", counters.pinned_files},
            {"pinned_bytes", counters.pinned_bytes},
            {"timed_out", counters.timed_out},
            {"ignored_chmods", counters.ignored_chmods}};
}

json locks_part(const StatusSources& sources) {
    const LockTable::Totals totals = sources.files.locks().totals();
    return {{"held", totals.locks}, {"waiting", totals.waiting}};
}

json probe_part(const StatusSources& sources) {
    const auto last = sources.watchdog != nullptr ? sources.watchdog->last() : std::nullopt;
    if (!last) return {};
    const auto age = std::chrono::steady_clock::now() - last->at;
    return {{"ok", last->ok},
            {"seconds_ago", std::chrono::duration_cast<std::chrono::seconds>(age).count()}};
}

}  // namespace

Result<json> make_status(const StatusSources& sources, const ControlCounters& control,
                         bool with_checksum) {
    json status = {
        {"version", CFSGATE_VERSION},    {"mode", sources.cluster == nullptr ? "local" : "cluster"},
        {"node", sources.node_name},     {"pid", ::getpid()},
        {"started", sources.start_time}, {"quorate", sources.sequencer.quorate()}};
    status["tree"] = CFSGATE_TRY(tree_part(sources, with_checksum));
    status["store"] = store_part(sources);
    status["guard"] = guard_part(sources);
    status["mount"] = mount_part(sources);
    status["nfs"] = sources.nfs.status();
    status["sequencer"] = sequencer_part(sources);
    status["cluster"] = cluster_part(sources);
    status["files"] = files_part(sources);
    status["locks"] = locks_part(sources);
    status["probe"] = probe_part(sources);
    status["control"] = {{"connections", control.connections.load()},
                         {"refused", control.refused.load()},
                         {"requests", control.requests.load()},
                         {"bad_requests", control.bad_requests.load()}};
    return status;
}

}  // namespace cfsgate::gateway::daemon
