// SPDX-License-Identifier: Apache-2.0
// cfsgate nfs ls, cat, rm, mv, stat.
#include "clients/nfs_commands.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/listing.h"
#include "clients/nfs_path.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

json to_json(const NfsAttributes& attributes) {
    return {{"kind", attributes.kind},
            {"mode", attributes.mode},
            {"uid", attributes.uid},
            {"gid", attributes.gid},
            {"links", attributes.links},
            {"size", attributes.size},
            {"file_id", attributes.file_id},
            {"file_system_id", attributes.file_system_id},
            {"mtime", attributes.mtime.seconds},
            {"mtime_nanoseconds", attributes.mtime.nanoseconds},
            {"ctime", attributes.ctime.seconds},
            {"ctime_nanoseconds", attributes.ctime.nanoseconds}};
}

json to_json(const NfsEntry& entry, const std::string& target) {
    json value = to_json(entry.attributes);
    value["name"] = entry.name;
    if (entry.attributes.kind == "symlink") value["target"] = target;
    return value;
}

/// Names in the tree may hold any byte; JSON must be UTF-8.
void print_json(const json& value) {
    std::printf("%s\n", value.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

/// Where a link leads; nothing where it is gone again.
std::string target_of(NfsConnection& nfs, const std::string& path,
                      const NfsAttributes& attributes) {
    if (attributes.kind != "symlink") return {};
    return nfs.read_link(path).value_or(std::string());
}

void print_long(const NfsEntry& entry, const std::string& target) {
    const NfsAttributes& shown = entry.attributes;
    std::printf("%s %3u %-8s %-8s %9llu %s %s%s%s\n", mode_text(shown.kind, shown.mode).c_str(),
                shown.links, user_text(shown.uid).c_str(), group_text(shown.gid).c_str(),
                static_cast<unsigned long long>(shown.size), time_text(shown.mtime.seconds).c_str(),
                entry.name.c_str(), target.empty() ? "" : " -> ", target.c_str());
}

/// What is in a directory; for anything else, itself.
Result<std::vector<NfsEntry>> listing(NfsConnection& nfs, const std::string& path,
                                      std::string& directory) {
    const NfsAttributes attributes = CFSGATE_TRY(nfs.stat(path, Follow::Yes));
    if (attributes.kind != "directory") {
        return std::vector<NfsEntry>{{path, CFSGATE_TRY(nfs.stat(path, Follow::No))}};
    }
    directory = path.empty() ? "" : path + "/";
    return nfs.list(path);
}

void print_listing(NfsConnection& nfs, const Arguments& arguments, const std::string& directory,
                   const std::vector<NfsEntry>& entries) {
    json list = json::array();
    for (const NfsEntry& entry : entries) {
        const bool whole = arguments.json || arguments.long_listing;
        const std::string target =
            whole ? target_of(nfs, directory + entry.name, entry.attributes) : "";
        if (arguments.json) {
            list.push_back(to_json(entry, target));
        } else if (arguments.long_listing) {
            print_long(entry, target);
        } else {
            std::puts(entry.name.c_str());
        }
    }
    if (arguments.json) print_json({{"ok", true}, {"entries", list}});
}

void print_stat(const std::string& path, const NfsAttributes& shown, const std::string& target) {
    std::printf("path: /%s\nkind: %s\n", path.c_str(), shown.kind.c_str());
    if (!target.empty()) std::printf("target: %s\n", target.c_str());
    std::printf("mode: %04o %s\n", shown.mode, mode_text(shown.kind, shown.mode).c_str());
    std::printf("owner: %u %s\n", shown.uid, user_text(shown.uid).c_str());
    std::printf("group: %u %s\n", shown.gid, group_text(shown.gid).c_str());
    std::printf("size: %llu\nlinks: %u\n", static_cast<unsigned long long>(shown.size),
                shown.links);
    std::printf("mtime: %s.%09u\n", time_text(shown.mtime.seconds).c_str(),
                shown.mtime.nanoseconds);
    std::printf("ctime: %s.%09u\n", time_text(shown.ctime.seconds).c_str(),
                shown.ctime.nanoseconds);
    std::printf("file_id: %llu\nfile_system_id: %016llx\n",
                static_cast<unsigned long long>(shown.file_id),
                static_cast<unsigned long long>(shown.file_system_id));
}

int finish_output() {
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return kOk;
    return report({kFailed, "stdout: cannot be written"});
}

int to_exit_code(const Status& status) { return status ? kOk : report_nfs(status.error()); }

}  // namespace

NfsServer nfs_server(const Arguments& arguments) {
    return {{arguments.server, arguments.port, arguments.timeout_seconds}, arguments.export_path};
}

std::unique_ptr<NfsConnection> open_nfs(const Arguments& arguments, int& code) {
    auto connection = NfsConnection::open(nfs_server(arguments));
    if (connection) return std::move(*connection);
    const Error& error = connection.error();
    const bool answered = error.code == Errno::NoAccess || error.code == Errno::NotFound;
    code = report({answered ? kFailed : kNotReachable, error.detail});
    return nullptr;
}

int report_nfs(const Error& error) { return report({kFailed, error.detail}); }

std::string nfs_path(const Arguments& arguments, std::size_t index) {
    if (index >= arguments.operands.size()) return "";
    std::string path = inside_export(arguments.operands[index], arguments.export_path);
    while (path.starts_with('/')) path.erase(0, 1);
    while (path.ends_with('/')) path.pop_back();
    return path;
}

int run_nfs_ls(const Arguments& arguments) {
    int code = kOk;
    const auto nfs = open_nfs(arguments, code);
    if (!nfs) return code;
    std::string directory;
    const auto entries = listing(*nfs, nfs_path(arguments), directory);
    if (!entries) return report_nfs(entries.error());
    print_listing(*nfs, arguments, directory, *entries);
    return finish_output();
}

int run_nfs_cat(const Arguments& arguments) {
    int code = kOk;
    const auto nfs = open_nfs(arguments, code);
    if (!nfs) return code;
    const std::string path = nfs_path(arguments);
    Result<std::string> content;
    {
        Progress progress(path, 0);
        content = nfs->read_file(path, progress);
    }
    if (!content) return report_nfs(content.error());
    std::fwrite(content->data(), 1, content->size(), stdout);
    return finish_output();
}

int run_nfs_stat(const Arguments& arguments) {
    int code = kOk;
    const auto nfs = open_nfs(arguments, code);
    if (!nfs) return code;
    const std::string path = nfs_path(arguments);
    const auto attributes = nfs->stat(path, Follow::No);
    if (!attributes) return report_nfs(attributes.error());
    const std::string target = target_of(*nfs, path, *attributes);
    if (arguments.json) {
        json value = to_json(*attributes);
        value["ok"] = true;
        value["path"] = "/" + path;
        if (attributes->kind == "symlink") value["target"] = target;
        print_json(value);
    } else {
        print_stat(path, *attributes, target);
    }
    return finish_output();
}

int run_nfs_rm(const Arguments& arguments) {
    int code = kOk;
    const auto nfs = open_nfs(arguments, code);
    return nfs ? to_exit_code(nfs->remove(nfs_path(arguments))) : code;
}

int run_nfs_mv(const Arguments& arguments) {
    int code = kOk;
    const auto nfs = open_nfs(arguments, code);
    if (!nfs) return code;
    return to_exit_code(nfs->rename(nfs_path(arguments, 0), nfs_path(arguments, 1)));
}

}  // namespace cfsgate::clients
