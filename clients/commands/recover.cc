// SPDX-License-Identifier: Apache-2.0
#include "store/recover.h"

#include <sys/stat.h>
#include <sys/utsname.h>

#include <cstdio>
#include <ctime>
#include <filesystem>
#include <system_error>

#include "clients/commands.h"
#include "clients/listing.h"
#include "clients/offline_store.h"
#include "store/config_db/import_mark.h"
#include "store/store_files.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

std::string host_name() {
    utsname machine{};
    if (::uname(&machine) != 0) return "";
    const std::string name = machine.nodename;
    return name.substr(0, name.find('.'));
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
}

/// What the administrator has to know or to do now; one thing a line.
std::vector<std::string> advice(const Arguments& arguments, const store::BackupHeader& header,
                                const store::RecoverReport& done) {
    std::vector<std::string> lines;
    const std::string host = host_name();
    if (!done.moved_from.empty()) {
        lines.push_back("nodes/" + done.moved_from + " is now nodes/" + done.moved_to +
                        ", with its guests and keys; the certificates in it name " +
                        done.moved_from + " and have to be made anew (pvecm updatecerts --force)");
    } else if (!done.why_not_moved.empty()) {
        lines.push_back("no node's directory was renamed: " + done.why_not_moved);
    } else if (!header.node.empty() && arguments.node_name.empty() && header.node != host) {
        lines.push_back("this host is " + host + ", and the backup is of " + header.node +
                        ": the tree is as it was, so " + host +
                        " shows none of the guests of nodes/" + header.node +
                        "; to take that node's place, recover with --node-name " + host);
    }
    if (!done.still_old.empty()) {
        lines.push_back("these files still name " + done.moved_from + ": " +
                        joined(done.still_old));
    }
    if (!done.cluster.empty()) {
        lines.push_back("the tree is of the cluster " + done.cluster +
                        ": the daemon needs corosync, or start it with --local. If other nodes "
                        "of it live, do not start it: join the cluster with an empty store");
    }
    for (const auto& finding : done.mending.changed) {
        lines.push_back("changed: " + finding.where + ": " + finding.what);
    }
    for (const auto& taken : done.mending.taken_out) {
        lines.push_back("left out: " + taken.path + ": " + taken.why);
    }
    return lines;
}

int print(const Arguments& arguments, const store::BackupHeader& header,
          const store::RecoverReport& done, const std::string& aside) {
    auto lines = advice(arguments, header, done);
    if (!aside.empty()) lines.insert(lines.begin(), "the former store is kept in " + aside);
    if (arguments.json) {
        const json answer = {{"ok", true},
                             {"node", header.node},
                             {"cluster", done.cluster},
                             {"time", header.time},
                             {"version", done.head.version.value()},
                             {"entries", done.entries},
                             {"bytes", done.content_bytes},
                             {"moved_from", done.moved_from},
                             {"moved_to", done.moved_to},
                             {"still_old", done.still_old},
                             {"aside", aside},
                             {"notes", lines}};
        std::printf("%s\n", answer.dump(2, ' ', false, json::error_handler_t::replace).c_str());
        return kOk;
    }
    std::printf(
        "%s: recovered from a backup of %s, %s: version %llu, %llu entries\n",
        arguments.state.c_str(), header.node.empty() ? "an unnamed node" : header.node.c_str(),
        time_text(header.time).c_str(), static_cast<unsigned long long>(done.head.version.value()),
        static_cast<unsigned long long>(done.entries));
    for (const std::string& line : lines) std::printf("note: %s\n", line.c_str());
    return kOk;
}

/// A config.db beside the store would make the next start ask which one counts.
Status settle_config_db(const std::string& directory) {
    const auto fingerprint = CFSGATE_TRY(store::config_db_fingerprint(directory));
    return fingerprint ? store::write_import_mark(directory, *fingerprint) : Status{};
}

/// What is there already. Returns the folder that a former store is kept in.
Result<std::string> make_room(const Arguments& arguments) {
    const std::string& state = arguments.state;
    const auto config_db = CFSGATE_TRY(store::config_db_fingerprint(state));
    const bool has_store = !CFSGATE_TRY(store::store_files(state)).empty();
    if (!arguments.replace && has_store) {
        return fail(Errno::Exists, state +
                                       ": there is a store already; --replace moves it aside, and "
                                       "--state names another directory");
    }
    if (!arguments.replace && config_db) {
        return fail(Errno::Exists, store::config_db_path(state) +
                                       ": there is a database already; --replace leaves it alone, "
                                       "and the recovered store counts");
    }
    if (!has_store) return std::string();
    return store::move_store_aside(state, store::folder_time(std::time(nullptr)));
}

}  // namespace

int run_recover(const Arguments& arguments) {
    const std::string& file = arguments.operands[0];
    auto backup = store::read_backup(file);
    if (!backup) return report({kFailed, backup.error().detail});
    const store::BackupHeader header = backup->header;
    std::error_code error;
    // What is in it only root may read.
    ::umask(0027);
    std::filesystem::create_directories(arguments.state, error);
    if (error) return report({kFailed, arguments.state + ": " + error.message()});
    const OfflineAccess access = lock_state(arguments);
    if (!access.lock) return report(access.error);
    store::RecoverOptions options;
    options.directory = arguments.state;
    options.node_name = arguments.node_name;
    options.time = static_cast<std::uint32_t>(std::time(nullptr));
    // Before anything moves: what is refused changes nothing.
    if (const auto possible = store::can_recover(options, *backup); !possible) {
        return report({kFailed, possible.error().detail});
    }
    const auto aside = make_room(arguments);
    if (!aside) return report({kFailed, aside.error().detail});
    if (const auto settled = settle_config_db(arguments.state); !settled) {
        return report({kFailed, settled.error().detail});
    }
    const auto done = store::recover(options, std::move(*backup));
    if (!done) return report({kFailed, done.error().detail});
    return print(arguments, header, *done, *aside);
}

}  // namespace cfsgate::clients
