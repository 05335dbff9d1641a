// SPDX-License-Identifier: Apache-2.0
#include "store/backup.h"

#include <sys/stat.h>
#include <sys/utsname.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <thread>

#include "clients/commands.h"
#include "clients/listing.h"
#include "clients/offline_store.h"
#include "clients/progress.h"
#include "store/scratch_tree.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

json to_json(const store::BackupHeader& header, const std::string& file) {
    return {{"ok", true},
            {"file", file},
            {"node", header.node},
            {"cluster", header.cluster},
            {"program", header.program},
            {"time", header.time},
            {"version", header.head.version.value()},
            {"entries", header.entries},
            {"bytes", header.content_bytes}};
}

int print(const Arguments& arguments, const json& answer, const char* done) {
    if (arguments.json) {
        std::printf("%s\n", answer.dump(2, ' ', false, json::error_handler_t::replace).c_str());
        return kOk;
    }
    const std::string node = answer.value("node", "");
    const std::string cluster = answer.value("cluster", "");
    const std::string checksum = answer.value("checksum", "");
    std::printf("%s: %s: %s%s%s, %s, version %s, %s entries, %s bytes%s%s\n",
                answer.value("file", "").c_str(), done,
                node.empty() ? "an unnamed node" : ("node " + node).c_str(),
                cluster.empty() ? "" : " of cluster ", cluster.c_str(),
                time_text(answer.value("time", 0U)).c_str(), answer["version"].dump().c_str(),
                answer["entries"].dump().c_str(), answer["bytes"].dump().c_str(),
                checksum.empty() ? "" : ", checksum ", checksum.c_str());
    return kOk;
}

/// Looks at the growing file while the daemon writes it.
class Watch {
public:
    explicit Watch(std::string file)
        : file_(std::move(file)), progress_("backup", 0), thread_([this] { run(); }) {}
    ~Watch() {
        {
            const std::lock_guard lock(mutex_);
            done_ = true;
        }
        wake_.notify_all();
        thread_.join();
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    void set_total(std::uint64_t bytes) {
        const std::lock_guard lock(mutex_);
        progress_.set_total(bytes);
    }

private:
    void run() {
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, std::chrono::milliseconds(200), [&] { return done_; })) {
            struct stat info {};
            if (::stat(file_.c_str(), &info) != 0) continue;
            progress_.advance(static_cast<std::uint64_t>(info.st_size));
            progress_.tick();
        }
    }

    std::string file_;
    Progress progress_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool done_ = false;
    std::thread thread_;
};

std::string this_node(const Arguments& arguments) {
    if (!arguments.node_name.empty()) return arguments.node_name;
    utsname machine{};
    if (::uname(&machine) != 0) return "";
    const std::string name = machine.nodename;
    return name.substr(0, name.find('.'));
}

Result<store::BackupHeader> back_up_offline(const Arguments& arguments, const store::Salvage& found,
                                            const std::string& file) {
    const auto scratch = CFSGATE_TRY(store::ScratchTree::make(found.tree));
    const auto view = CFSGATE_TRY(scratch->read());
    store::BackupHeader header;
    header.time = static_cast<std::uint32_t>(std::time(nullptr));
    header.file_system = found.state.ids.file_system;
    header.former = found.state.former;
    header.node = this_node(arguments);
    Progress progress("backup", 0);
    store::BackupTarget target{file, store::temporary_beside(file), arguments.force, {}};
    target.progress = [&](std::uint64_t done, std::uint64_t all) {
        progress.set_total(all);
        progress.advance(done);
        progress.tick();
        return Status();
    };
    return store::write_backup(target, std::move(header), *view);
}

/// Of the daemon that serves the state directory.
Answer ask_daemon(const Arguments& arguments, const std::string& file, const AskError& in_use) {
    const std::string temporary = store::temporary_beside(file);
    Watch watch(temporary);
    const Answer status = ask(arguments.control, {{"command", "status"}});
    if (status.response) {
        const auto tree = status.response->value("tree", json::object());
        watch.set_total(tree.value("bytes", std::uint64_t{0}));
    }
    return ask_holder(arguments,
                      {{"command", "backup"},
                       {"file", file},
                       {"temporary", temporary},
                       {"force", arguments.force}},
                      in_use);
}

/// A backup in the tree itself would be written by the daemon to its own mount.
bool is_below(const std::filesystem::path& path, const std::string& directory) {
    const auto relative = path.lexically_relative(directory);
    return !relative.empty() && *relative.begin() != "..";
}

int look_at(const Arguments& arguments, const std::string& file) {
    const auto backup = store::read_backup(file);
    if (!backup) return report({kFailed, backup.error().detail});
    json answer = to_json(backup->header, file);
    answer["checksum"] = to_hex(store::checksum_of(backup->tree));
    store::SavedTree tree = backup->tree;
    const store::Mending mending = store::mend_tree(tree);
    if (!mending.nothing()) {
        return report(
            {kFailed, file + ": as it was written, but its tree was not well: " +
                          std::to_string(mending.taken_out.size() + mending.changed.size()) +
                          " entries need mending; recover does it"});
    }
    return print(arguments, answer, "whole");
}

}  // namespace

int run_backup(const Arguments& arguments) {
    std::error_code error;
    const std::string& operand = arguments.operands[0];
    if (arguments.check_only) return look_at(arguments, operand);
    if (operand.empty()) return report({kUsage, "the name of the file is empty"});
    const auto path = std::filesystem::absolute(operand, error).lexically_normal();
    const std::string file = path.string();
    if (is_below(path, arguments.mount)) {
        return report({kFailed, file + ": a backup of the tree cannot lie in the tree"});
    }
    // The mount may hang; nothing else of the path is looked at through it.
    const OfflineTree offline = read_state(arguments);
    if (!offline.store && offline.error.code != kInUse) return report(offline.error);
    if (!offline.store) {
        const Answer answer = ask_daemon(arguments, file, offline.error);
        return answer.response ? print(arguments, *answer.response, "written")
                               : report(answer.error);
    }
    const auto done = back_up_offline(arguments, *offline.store, file);
    if (!done) return report({kFailed, done.error().detail});
    return print(arguments, to_json(*done, file), "written");
}

}  // namespace cfsgate::clients
