// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/control_commands.h"

#include "gateway/daemon/await.h"
#include "gateway/daemon/backup_command.h"
#include "gateway/daemon/purge_command.h"
#include "gateway/daemon/requests.h"
#include "store/base/base64.h"
#include "store/checker.h"
#include "store/config_db/config_db.h"
#include "store/config_db/import_mark.h"

namespace cfsgate::gateway::daemon {
namespace {

using nlohmann::json;

/// By the cluster's node list. Local mode stamps changes with 0.
HistoryCommands::NodeName node_names(replication::ClusterSequencer* cluster) {
    return [cluster](NodeId id) -> std::string {
        if (id == NodeId(0)) return "local";
        if (cluster != nullptr) {
            for (const auto& node : cluster->cluster_status().nodes) {
                if (node.id == id) return node.name;
            }
        }
        return "node " + std::to_string(id.value());
    };
}

const char* kind_name(FileKind kind) {
    switch (kind) {
        case FileKind::Directory: return "directory";
        case FileKind::File: return "file";
        case FileKind::Symlink: return "symlink";
    }
    return "";
}

json to_json(const TreeAccess::Item& item) {
    json entry = {{"name", item.name},
                  {"kind", kind_name(item.attributes.kind)},
                  {"mode", item.attributes.mode},
                  {"gid", item.attributes.gid},
                  {"size", item.attributes.size},
                  {"mtime", item.attributes.mtime},
                  {"version", item.attributes.version.value()}};
    if (!item.target.empty()) entry["target"] = item.target;
    return entry;
}

json to_json(const store::CheckReport& report) {
    json findings = json::array();
    for (const store::Finding& finding : report.findings) {
        findings.push_back({{"where", finding.where}, {"what", finding.what}});
    }
    return {{"findings", std::move(findings)},  {"entries", report.entries},
            {"bytes", report.content_bytes},    {"version", report.version},
            {"checksum", report.tree_checksum}, {"scope", "tree"}};
}

Result<store::ConfigDb> copy_tree(const store::Store& store) {
    const auto view = CFSGATE_TRY(store.read());
    store::ConfigDb tree{.head = view->head(), .entries = {}};
    CFSGATE_TRY(view->for_each([&](const Inode& inode, std::string_view content) -> Status {
        if (inode.number != kRootInode) tree.entries.push_back({inode, std::string(content)});
        return {};
    }));
    return tree;
}

}  // namespace

ControlCommands::ControlCommands(store::Store& store, FileSystem& files,
                                 std::string state_directory, std::chrono::milliseconds deadline,
                                 StatusSource status, const NfsService& nfs, PurgeWorker& purges,
                                 replication::ClusterSequencer* cluster)
    : store_(store),
      tree_(files, deadline),
      history_(store, files, state_directory, deadline, node_names(cluster), purges.past_mutex()),
      state_directory_(std::move(state_directory)),
      status_(std::move(status)),
      nfs_(nfs),
      purges_(purges),
      files_(files),
      deadline_(deadline),
      cluster_(cluster) {}

Result<json> ControlCommands::run(const json& request, const std::stop_token& stop) {
    const std::string command = CFSGATE_TRY(text_of(request, "command"));
    if (command == "status") return status(request);
    if (auto answer = history_.run(command, request, stop)) return std::move(*answer);
    if (command == "history-purge") {
        return purge_history({purges_, state_directory_, cluster_, deadline_}, request, stop);
    }
    if (command == "check") return check();
    if (command == "nfs-clients") return nfs_.clients();
    if (command == "snapshot") return snapshot();
    if (command == "export") return export_database(request);
    if (command == "backup") return back_up_tree(request, stop);
    if (command == "get") return get(request);
    if (command == "ls") return list(request);
    if (command == "sync") {
        CFSGATE_TRY(sync(stop));
    } else if (command == "verify") {
        CFSGATE_TRY(verify());
    } else {
        CFSGATE_TRY(change(command, request, stop));
    }
    return json::object();
}

Result<json> ControlCommands::status(const json& request) const {
    json status = CFSGATE_TRY(status_(is_set(request, "checksum")));
    status["restore"] = history_.restore_progress();
    return status;
}

/// Everything that any node was told is done before this call is seen here after it.
Status ControlCommands::sync(const std::stop_token& stop) {
    return await<void>([this](auto done) { files_.catch_up(std::move(done)); }, deadline_, stop);
}

Status ControlCommands::verify() {
    if (cluster_ == nullptr) return fail(Errno::NotSupported, "this node is not in a cluster");
    return cluster_->verify();
}

Result<json> ControlCommands::check() const {
    const auto view = CFSGATE_TRY(store_.read());
    return to_json(CFSGATE_TRY(store::check_tree(*view)));
}

Result<json> ControlCommands::snapshot() const {
    CFSGATE_TRY(store_.write_snapshot());
    return json::object();
}

Result<json> ControlCommands::export_database(const json& request) const {
    const std::string file = CFSGATE_TRY(text_of(request, "file"));
    if (!file.starts_with('/')) {
        return fail(Errno::Invalid, file + ": the path of an export must be absolute");
    }
    const store::ConfigDb tree = CFSGATE_TRY(copy_tree(store_));
    CFSGATE_TRY(store::write_config_db(file, tree));
    CFSGATE_TRY(store::mark_as_known(state_directory_, file));
    return json{{"version", tree.head.version.value()}, {"entries", tree.entries.size()}};
}

Result<json> ControlCommands::back_up_tree(const json& request, const std::stop_token& stop) const {
    const json status = CFSGATE_TRY(status_(false));
    const json mount = status.value("mount", json::object());
    return back_up({.store = store_,
                    .state_directory = state_directory_,
                    .mount_point = mount.value("point", ""),
                    .node = status.value("node", "")},
                   request, stop);
}

Result<json> ControlCommands::get(const json& request) const {
    const std::string content = CFSGATE_TRY(tree_.get(CFSGATE_TRY(text_of(request, "path"))));
    return json{{"data", encode_base64(content)}};
}

Result<json> ControlCommands::list(const json& request) const {
    json entries = json::array();
    for (const auto& item : CFSGATE_TRY(tree_.list(CFSGATE_TRY(text_of(request, "path"))))) {
        entries.push_back(to_json(item));
    }
    return json{{"entries", std::move(entries)}};
}

Status ControlCommands::change(const std::string& command, const json& request,
                               const std::stop_token& stop) {
    if (command == "put") {
        const std::string path = CFSGATE_TRY(text_of(request, "path"));
        const std::string data = CFSGATE_TRY(text_of(request, "data"));
        return tree_.put(path, CFSGATE_TRY(decode_base64(data)), stop);
    }
    if (command == "rm") return tree_.remove(CFSGATE_TRY(text_of(request, "path")), stop);
    if (command == "mkdir") {
        return tree_.make_directory(CFSGATE_TRY(text_of(request, "path")), stop);
    }
    if (command == "mv") {
        const std::string from = CFSGATE_TRY(text_of(request, "path"));
        return tree_.rename(from, CFSGATE_TRY(text_of(request, "target")), stop);
    }
    return fail(Errno::NotImplemented, "'" + command + "': unknown command");
}

}  // namespace cfsgate::gateway::daemon
