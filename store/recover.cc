// SPDX-License-Identifier: Apache-2.0
#include "store/recover.h"

#include <algorithm>
#include <cctype>

#include "store/model/path.h"
#include "store/state_file.h"

namespace cfsgate::store {
namespace {

constexpr const char* kNodes = "nodes";
constexpr const char* kCorosyncConf = "corosync.conf";
/// More changes than anybody makes between two backups.
constexpr std::uint64_t kVersionsAhead = 1'000'000;

bool is_part_of_a_name(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
}

bool has_word(std::string_view text, std::string_view word) {
    for (std::size_t at = text.find(word); at != std::string_view::npos;
         at = text.find(word, at + 1)) {
        const std::size_t end = at + word.size();
        const bool begins = at == 0 || !is_part_of_a_name(text[at - 1]);
        if (begins && (end == text.size() || !is_part_of_a_name(text[end]))) return true;
    }
    return false;
}

std::string path_of(const SavedTree& tree, const Entry& entry) {
    std::string path = entry.inode.name;
    InodeNumber at = entry.inode.parent;
    while (const Entry* parent = find_entry(tree, at)) {
        path = join_path(parent->inode.name, path);
        at = parent->inode.parent;
    }
    return path;
}

/// Former ids stay known, so that clients' handles do.
Status keep_file_system_ids(const std::string& directory, const BackupHeader& header) {
    if (header.file_system == 0) return {};
    StateFile state = CFSGATE_TRY(read_state_file(directory));
    state.former = header.former;
    std::erase(state.former, header.file_system);
    state.former.insert(state.former.begin(), header.file_system);
    return write_state_file(directory, state);
}

/// Does what was asked about the node's directory, or says why not.
Status move_node(const RecoverOptions& options, Backup& backup, RecoverReport& report) {
    const std::string& from = backup.header.node;
    const std::string& to = options.node_name;
    if (to.empty() || from == to) return {};
    if (!is_valid_node_name(to)) return fail(Errno::Invalid, "'" + to + "' is no node name");
    if (from.empty()) {
        report.why_not_moved = "the backup does not say which node it is of";
        return {};
    }
    if (!resolve(backup.tree, join_path(kNodes, from))) {
        report.why_not_moved = "the backup has no nodes/" + from;
        return {};
    }
    CFSGATE_TRY(rename_node(backup.tree, from, to, options.time));
    report.moved_from = from;
    report.moved_to = to;
    report.still_old = files_that_name(backup.tree, from);
    return {};
}

}  // namespace

Status rename_node(SavedTree& tree, const std::string& from, const std::string& to,
                   std::uint32_t time) {
    const InodeNumber source = CFSGATE_TRY(resolve(tree, join_path(kNodes, from)));
    if (const auto taken = resolve(tree, join_path(kNodes, to))) {
        const Entry* entry = find_entry(tree, *taken);
        if (!entry->inode.is_directory() || !children_of(tree, *taken).empty()) {
            return fail(Errno::Exists,
                        "nodes/" + to + " has something in it already, so nodes/" + from +
                            " cannot take its place; recover without --node-name and move what "
                            "you need");
        }
        const InodeNumber number = *taken;
        std::erase_if(tree.entries, [&](const Entry& one) { return one.inode.number == number; });
    }
    tree.head.version = Version(tree.head.version.value() + 1);
    tree.head.mtime = time;
    for (Entry& entry : tree.entries) {
        if (entry.inode.number != source) continue;
        entry.inode.name = to;
        entry.inode.version = tree.head.version;
        entry.inode.mtime = time;
    }
    return {};
}

std::vector<std::string> files_that_name(const SavedTree& tree, const std::string& node) {
    std::vector<std::string> paths;
    if (node.empty()) return paths;
    for (const Entry& entry : tree.entries) {
        if (entry.inode.is_directory() || !has_word(entry.content, node)) continue;
        std::string path = path_of(tree, entry);
        if (is_private_path(path) || path.starts_with("nodes/")) continue;
        paths.push_back(std::move(path));
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

Status can_recover(const RecoverOptions& options, const Backup& backup) {
    Backup copy = backup;
    RecoverReport report;
    mend_tree(copy.tree);
    return move_node(options, copy, report);
}

Result<RecoverReport> recover(const RecoverOptions& options, Backup backup) {
    RecoverReport report;
    SavedTree& tree = backup.tree;
    report.mending = mend_tree(tree);
    CFSGATE_TRY(move_node(options, backup, report));
    if (!resolve(tree, kCorosyncConf)) {
        tree.head.version = Version(tree.head.version.value() + kVersionsAhead);
    }
    report.head = tree.head;
    report.entries = tree.entries.size();
    report.content_bytes = content_bytes_of(tree);
    report.cluster = cluster_of(tree);
    StoreOptions store;
    store.directory = options.directory;
    CFSGATE_TRY(Store::create_from(store, tree.head, tree.entries, null_logger()));
    CFSGATE_TRY(keep_file_system_ids(options.directory, backup.header));
    return report;
}

}  // namespace cfsgate::store
