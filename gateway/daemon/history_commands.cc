// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/history_commands.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <system_error>

#include "gateway/daemon/requests.h"
#include "store/base/base64.h"
#include "store/model/path.h"
#include "store/snapshot.h"

namespace cfsgate::gateway::daemon {
namespace {

using nlohmann::json;
using store::HistoryRecord;

constexpr std::uint64_t kRecordsMax = 1000;           ///< of one answer
constexpr std::uint64_t kDiffBytesMax = 64ULL << 20;  ///< of contents in one answer
constexpr const char* kBeforeRestore = "before-restore-";
constexpr int kNamesTried = 10;

json to_json(const HistoryRecord& record, const std::string& node_name) {
    json entry = {
        {"sequence", record.sequence.value()}, {"version", record.version.value()},
        {"node", record.stamp.node.value()},   {"node_name", node_name},
        {"time", record.stamp.time},           {"what", std::string(to_string(record.kind))}};
    if (record.by_nfs) entry["via"] = "nfs";
    if (record.kind == HistoryRecord::Kind::Takeover) {
        entry["from"] = record.from;
        entry["removed"] = record.removed;
        entry["entries"] = record.put;
        return entry;
    }
    entry["path"] = record.path;
    if (record.kind == HistoryRecord::Kind::Rename) entry["target"] = record.target;
    if (record.kind == HistoryRecord::Kind::SetMtime) entry["mtime"] = record.mtime;
    if (record.kind == HistoryRecord::Kind::Write) {
        entry["offset"] = record.offset;
        entry["bytes"] = record.bytes;
        entry["truncate"] = record.truncate;
    }
    return entry;
}

json to_json(const Inode& inode) {
    return {{"name", inode.name},
            {"kind", inode.is_directory() ? "directory" : "file"},
            {"size", inode.size},
            {"mtime", inode.mtime},
            {"version", inode.version.value()},
            {"inode", inode.number.value()},
            {"writer", inode.writer.value()}};
}

json to_json(const store::RestorePlan& plan) {
    json left = json::array();
    for (const auto& entry : plan.left) left.push_back({{"path", entry.path}, {"why", entry.why}});
    return left;
}

json list_of(const std::vector<Operation>& operations) {
    json list = json::array();
    for (const Operation& operation : operations) {
        const store::OperationText text = store::describe(operation);
        list.push_back({{"what", text.what}, {"path", text.path}, {"detail", text.detail}});
    }
    return list;
}

/// "at" names a position, "time" is one in seconds since 1970.
Result<store::Position> position_of(const json& request, const char* at = "at") {
    if (request.contains("time") && std::string(at) == "at") {
        const auto time = CFSGATE_TRY(number_of(request, "time", 0, UINT32_MAX));
        return store::Position(store::At{static_cast<std::uint32_t>(time)});
    }
    return store::parse_position(CFSGATE_TRY(text_of(request, at)));
}

Result<Inode> find_entry(const store::ReadView& view, const std::string& path) {
    const auto number = view.resolve(path);
    if (!number && number.error().code == Errno::NotFound) {
        return fail(Errno::NotFound, "'" + path + "' was not there then");
    }
    return view.inode(CFSGATE_TRY(Result<InodeNumber>(number)));
}

json describe_position(const store::ReadView& view, Sequence sequence) {
    return {{"sequence", sequence.value()},
            {"version", view.head().version.value()},
            {"time", view.head().mtime}};
}

/// Every entry at or below a path; by their paths below it.
Result<std::map<std::string, Inode>> subtree(const store::ReadView& view, const std::string& path) {
    std::map<std::string, Inode> found;
    const auto top = view.resolve(path);
    if (!top && top.error().code == Errno::NotFound) return found;
    std::vector<std::pair<std::string, InodeNumber>> waiting{
        {"", CFSGATE_TRY(Result<InodeNumber>(top))}};
    found.emplace("", CFSGATE_TRY(view.inode(waiting[0].second)));
    while (!waiting.empty()) {
        const std::string directory = std::move(waiting.back().first);
        const InodeNumber number = waiting.back().second;
        waiting.pop_back();
        if (!CFSGATE_TRY(view.inode(number)).is_directory()) continue;
        CFSGATE_TRY(view.headers(number, kRootInode, [&](const Inode& inode) {
            std::string below = join_path(directory, inode.name);
            if (inode.is_directory()) waiting.emplace_back(below, inode.number);
            found.emplace(std::move(below), inode);
            return true;
        }));
    }
    return found;
}

std::string time_suffix() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &parts);
    return text.data();
}

std::string text_of(const Operation& operation) {
    const store::OperationText text = store::describe(operation);
    return text.what + " " + text.path + (text.detail.empty() ? "" : " " + text.detail);
}

}  // namespace

HistoryCommands::HistoryCommands(store::Store& store, FileSystem& files,
                                 std::string state_directory, std::chrono::milliseconds deadline,
                                 NodeName node_name, Mutex& past_mutex)
    : store_(store),
      tree_(files, deadline),
      state_directory_(std::move(state_directory)),
      node_name_(std::move(node_name)),
      past_mutex_(past_mutex) {}

std::optional<Result<json>> HistoryCommands::run(const std::string& command, const json& request,
                                                 const std::stop_token& stop) {
    if (command == "log") return log(request);
    if (command == "show") return show(request);
    if (command == "diff") return diff(request);
    if (command == "restore") return restore(request, stop);
    if (command == "snapshot-list") return list_snapshots();
    if (command == "snapshot-create") return create_snapshot(request);
    if (command == "snapshot-delete") return delete_snapshot(request);
    return {};
}

json HistoryCommands::restore_progress() const {
    if (!ever_restored_) return {};
    return {{"running", restoring_.load()}, {"done", done_.load()}, {"total", total_.load()}};
}

// --- Looking ---

Result<json> HistoryCommands::log(const json& request) const {
    store::HistoryQuery query;
    if (request.contains("path")) query.path = CFSGATE_TRY(text_of(request, "path"));
    query.since =
        static_cast<std::uint32_t>(CFSGATE_TRY(number_of(request, "since", 0, UINT32_MAX)));
    query.until = static_cast<std::uint32_t>(
        CFSGATE_TRY(number_of(request, "until", UINT32_MAX, UINT32_MAX)));
    query.oldest_first = is_set(request, "oldest_first");
    if (request.contains("from")) {
        query.from = Sequence(CFSGATE_TRY(number_of(request, "from", 0, UINT64_MAX)));
    }
    query.most = CFSGATE_TRY(number_of(request, "count", kRecordsMax, kRecordsMax));
    const auto history = CFSGATE_TRY(store::History::open(state_directory_));
    const auto found = CFSGATE_TRY(history.find(query));
    json records = json::array();
    for (const HistoryRecord& record : found) {
        records.push_back(to_json(record, record.kind == HistoryRecord::Kind::Takeover
                                              ? std::string()
                                              : node_name_(record.stamp.node)));
    }
    return json{{"records", std::move(records)}};
}

Result<HistoryCommands::Tree> HistoryCommands::tree_at(const store::Position& position) const {
    const auto history = CFSGATE_TRY(store::History::open(state_directory_));
    Tree tree;
    tree.sequence = CFSGATE_TRY(history.locate(position));
    if (*tree.sequence > store_.journal_status().appended) {
        return fail(Errno::NotFound,
                    "journal record " + std::to_string(tree.sequence->value()) + " is not there");
    }
    tree.past = CFSGATE_TRY(history.tree_at(*tree.sequence));
    tree.view = CFSGATE_TRY(tree.past->read());
    tree.purged = CFSGATE_TRY(history.purged());
    return tree;
}

Result<HistoryCommands::Tree> HistoryCommands::present() const {
    Tree tree;
    tree.view = CFSGATE_TRY(store_.read());
    return tree;
}

Result<json> HistoryCommands::show(const json& request) {
    const std::string path = CFSGATE_TRY(text_of(request, "path"));
    const MutexLock lock(past_mutex_);
    const Tree tree = CFSGATE_TRY(tree_at(CFSGATE_TRY(position_of(request))));
    const Inode inode = CFSGATE_TRY(find_entry(*tree.view, path));
    json answer = to_json(inode);
    answer["position"] = describe_position(*tree.view, *tree.sequence);
    if (!inode.is_directory()) {
        if (tree.is_purged(inode)) {
            return fail(Errno::NotFound, "'" + path + "': its content of that time was purged");
        }
        answer["data"] = encode_base64(CFSGATE_TRY(tree.view->content(inode)));
        return answer;
    }
    std::vector<Inode> children;
    CFSGATE_TRY(tree.view->headers(inode.number, kRootInode, [&](const Inode& child) {
        children.push_back(child);
        return true;
    }));
    std::sort(children.begin(), children.end(),
              [](const Inode& one, const Inode& other) { return one.name < other.name; });
    answer["entries"] = json::array();
    for (const Inode& child : children) answer["entries"].push_back(to_json(child));
    return answer;
}

/// "path" at "at", and "other_path" at "other_at"; without the latter as it is now.
Result<json> HistoryCommands::diff(const json& request) {
    const std::string path = CFSGATE_TRY(text_of(request, "path"));
    const std::string other_path =
        request.contains("other_path") ? CFSGATE_TRY(text_of(request, "other_path")) : path;
    const MutexLock lock(past_mutex_);
    const Tree before = CFSGATE_TRY(tree_at(CFSGATE_TRY(position_of(request))));
    const Tree after = request.contains("other_at")
                           ? CFSGATE_TRY(tree_at(CFSGATE_TRY(position_of(request, "other_at"))))
                           : CFSGATE_TRY(present());
    const auto entries_before = CFSGATE_TRY(subtree(*before.view, path));
    const auto entries_after = CFSGATE_TRY(subtree(*after.view, other_path));
    if (entries_before.empty() && entries_after.empty()) {
        return fail(Errno::NotFound, "'" + path + "' was there at neither time");
    }
    std::map<std::string, std::pair<const Inode*, const Inode*>> all;
    for (const auto& [below, inode] : entries_before) all[below].first = &inode;
    for (const auto& [below, inode] : entries_after) all[below].second = &inode;
    std::uint64_t bytes = 0;
    const auto side = [&](const Tree& tree, const Inode* inode) -> Result<json> {
        if (inode == nullptr) return json();
        json entry = to_json(*inode);
        if (inode->is_directory()) return entry;
        if (tree.is_purged(*inode)) {
            entry["purged"] = true;
            return entry;
        }
        bytes += inode->size;
        if (bytes <= kDiffBytesMax) {
            entry["data"] = encode_base64(CFSGATE_TRY(tree.view->content(*inode)));
        }
        return entry;
    };
    json changes = json::array();
    for (const auto& [below, pair] : all) {
        const auto [was, is] = pair;
        const bool same_kind = was != nullptr && is != nullptr && was->type == is->type;
        if (same_kind && was->is_directory()) continue;
        if (same_kind && !before.is_purged(*was) && !after.is_purged(*is) &&
            CFSGATE_TRY(before.view->content(*was)) == CFSGATE_TRY(after.view->content(*is))) {
            continue;
        }
        changes.push_back({{"path", below.empty() ? path : join_path(path, below)},
                           {"before", CFSGATE_TRY(side(before, was))},
                           {"after", CFSGATE_TRY(side(after, is))}});
    }
    return json{{"changes", std::move(changes)}};
}

// --- Going back ---

Result<store::RestorePlan> HistoryCommands::plan(const json& request, json& answer) {
    store::RestoreRequest wanted;
    if (!is_set(request, "all")) {
        wanted.path = CFSGATE_TRY(text_of(request, "path"));
        if (path_components(wanted.path).empty()) {
            return fail(Errno::Invalid, "for the whole tree use --all");
        }
    }
    const MutexLock lock(past_mutex_);
    const Tree then = CFSGATE_TRY(tree_at(CFSGATE_TRY(position_of(request))));
    const Tree now = CFSGATE_TRY(present());
    wanted.is_purged = [&](const Inode& inode) { return then.is_purged(inode); };
    answer["position"] = describe_position(*then.view, *then.sequence);
    return store::plan_restore(*now.view, *then.view, wanted);
}

Result<json> HistoryCommands::restore(const json& request, const std::stop_token& stop) {
    json answer;
    const store::RestorePlan plan = CFSGATE_TRY(this->plan(request, answer));
    const bool dry_run = is_set(request, "dry_run");
    answer["left"] = to_json(plan);
    answer["total"] = plan.operations.size();
    answer["dry_run"] = dry_run;
    if (dry_run) {
        answer["operations"] = list_of(plan.operations);
        return answer;
    }
    if (restoring_.exchange(true)) {
        return fail(Errno::Busy, "a restore is under way; cfsgate status shows how far it is");
    }
    done_ = 0;
    total_ = plan.operations.size();
    ever_restored_ = true;
    const Status done = [&]() -> Status {
        if (is_set(request, "all") && !plan.operations.empty()) {
            answer["snapshot"] = CFSGATE_TRY(keep_present());
        }
        return perform_all(plan.operations, stop);
    }();
    restoring_ = false;
    CFSGATE_TRY(done);
    return answer;
}

Result<std::string> HistoryCommands::keep_present() {
    const std::string base = kBeforeRestore + time_suffix();
    std::string name = base;
    Status created = store_.create_snapshot(name);
    for (int i = 2; !created && created.error().code == Errno::Exists && i < kNamesTried; ++i) {
        name = base + "-" + std::to_string(i);
        created = store_.create_snapshot(name);
    }
    CFSGATE_TRY(created);
    return name;
}

Status HistoryCommands::perform_all(const std::vector<Operation>& operations,
                                    const std::stop_token& stop) {
    for (const Operation& operation : operations) {
        if (const auto performed = perform(operation, stop); !performed) {
            const Error& error = performed.error();
            return fail(error.code,
                        "stopped at '" + text_of(operation) + "': " + error.detail + "; " +
                            std::to_string(done_) + " of " + std::to_string(operations.size()) +
                            " operations were done, and the same command goes on from there");
        }
        ++done_;
    }
    return {};
}

/// By the way of every change: the sequencer, with quorum, limits and access as for anybody. Others
/// may change the tree meanwhile, so what is as wanted already is no error.
Status HistoryCommands::perform(const Operation& operation, const std::stop_token& stop) {
    const auto unless = [](Errno code, Status status) -> Status {
        if (!status && status.error().code == code) return {};
        return status;
    };
    if (const auto* op = std::get_if<CreateFile>(&operation)) {
        return tree_.create(op->path, stop);
    }
    if (const auto* op = std::get_if<WriteFile>(&operation)) {
        return tree_.put(op->path, op->data, stop);
    }
    if (const auto* op = std::get_if<MakeDirectory>(&operation)) {
        return unless(Errno::Exists, tree_.make_directory(op->path, stop));
    }
    if (const auto* op = std::get_if<Delete>(&operation)) {
        return unless(Errno::NotFound, tree_.remove(op->path, stop));
    }
    if (const auto* op = std::get_if<Rename>(&operation)) {
        return tree_.rename(op->path, op->target, stop);
    }
    if (const auto* op = std::get_if<SetMtime>(&operation)) {
        return tree_.set_time(op->path, op->mtime, stop);
    }
    return fail(Errno::NotSupported, "no restore does this");
}

// --- Snapshots ---

Result<json> HistoryCommands::list_snapshots() const {
    json list = json::array();
    for (const store::SnapshotFile& snapshot :
         CFSGATE_TRY(store::list_snapshots(state_directory_))) {
        json entry = {{"name", snapshot.name},
                      {"kind", std::string(to_string(snapshot.kind))},
                      {"sequence", snapshot.journal.value()},
                      {"bytes", snapshot.bytes},
                      {"written", snapshot.written}};
        const auto header = store::read_snapshot_header(state_directory_ + "/" + snapshot.file);
        if (!header && header.error().code == Errno::NotFound) continue;
        entry["version"] = header ? json(header->head.version.value()) : json();
        entry["entries"] = header ? json(header->entries) : json();
        list.push_back(std::move(entry));
    }
    return json{{"snapshots", std::move(list)}};
}

Result<json> HistoryCommands::create_snapshot(const json& request) {
    std::string name = "at-" + time_suffix();
    if (request.contains("name")) name = CFSGATE_TRY(text_of(request, "name"));
    CFSGATE_TRY(store_.create_snapshot(name));
    return json{{"name", name}};
}

Result<json> HistoryCommands::delete_snapshot(const json& request) {
    CFSGATE_TRY(store_.delete_snapshot(CFSGATE_TRY(text_of(request, "name"))));
    return json::object();
}

}  // namespace cfsgate::gateway::daemon
