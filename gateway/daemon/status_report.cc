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
    return {{"state", sources.options.state_directory},
            {"durability", durable ? "durable" : "relaxed"},
            {"start", std::string(to_string(sources.store.start_kind()))},
            {"failure", failure ? json(*failure) : json()},
            {"journal",
             {{"appended", journal.appended.value()},
              {"synced", journal.synced.value()},
              {"segments", journal.segments},
              {"bytes", journal.bytes}}}};
}

json sequencer_part(const StatusSources& sources) {
    const replication::SequencerStatus status = sources.sequencer.status();
    return {{"submitted", status.submitted},
            {"completed", status.completed},
            {"batches", status.batches},
            {"flushes", status.flushes},
            {"oldest_waiting_ms", status.oldest_waiting_ms}};
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
    json status = {{"version", CFSGATE_VERSION},    {"mode", "local"},
                   {"node", sources.node_name},     {"pid", ::getpid()},
                   {"started", sources.start_time}, {"quorate", sources.sequencer.quorate()}};
    status["tree"] = CFSGATE_TRY(tree_part(sources, with_checksum));
    status["store"] = store_part(sources);
    status["mount"] = mount_part(sources);
    status["nfs"] = sources.nfs.status();
    status["sequencer"] = sequencer_part(sources);
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
