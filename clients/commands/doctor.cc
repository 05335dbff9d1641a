// SPDX-License-Identifier: Apache-2.0
// Looks at this node and prints a line for each check; doctor_checks.h judges.
#include <netdb.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <memory>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/doctor_checks.h"
#include "clients/json_fields.h"
#include "store/base/base64.h"
#include "store/base/files.h"
#include "store/model/digest.h"
#include "store/model/limits.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

constexpr std::size_t kFingerprintDigits = 16;
constexpr std::size_t kKeyBytesMax = 4096;
constexpr std::size_t kSocketTableMax = 16UL << 20;

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
    const std::string whole = name.data();
    return whole.substr(0, whole.find('.'));
}

Result<std::vector<std::string>> resolve(const std::string& name) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = ::getaddrinfo(name.c_str(), nullptr, &hints, &found);
    if (error != 0) return fail(Errno::NotFound, ::gai_strerror(error));
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    std::vector<std::string> addresses;
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
        std::array<char, NI_MAXHOST> text{};
        if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, text.data(), text.size(), nullptr, 0,
                          NI_NUMERICHOST) == 0) {
            addresses.emplace_back(text.data());
        }
    }
    return addresses;
}

Result<KeyFile> read_key(const std::string& path) {
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0) return fail_posix(errno, path);
    const std::string key = CFSGATE_TRY(read_small_file(path, kKeyBytesMax));
    return KeyFile{found.st_mode & 07777, found.st_uid, key.size(),
                   to_hex(Sha256::of(key)).substr(0, kFingerprintDigits)};
}

Result<std::uint64_t> free_bytes(const std::string& directory) {
    struct statvfs found {};
    if (::statvfs(directory.c_str(), &found) != 0) return fail_posix(errno, directory);
    return std::uint64_t{found.f_bavail} * found.f_frsize;
}

bool is_synchronised() {
    timex state{};
    return ::adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) == 0;
}

class Doctor {
public:
    explicit Doctor(const Arguments& arguments) : arguments_(arguments) {}

    std::vector<Finding> run() {
        look_at_daemon();
        found_.push_back(check_space(arguments_.state, free_bytes(arguments_.state)));
        if (is_in_cluster()) {
            found_.push_back(check_node_name(name_, resolve(name_)));
            look_at_corosync();
            found_.push_back(check_clock(clock()));
            if (field(status_, {"cluster"}).is_object()) look_at_cluster();
        } else {
            found_.push_back({Level::Ok, "cluster", "this node is in none: nothing more to check"});
        }
        return std::move(found_);
    }

private:
    void look_at_daemon() {
        Answer answer = ask(arguments_.control, {{"command", "status"}});
        if (!answer.response) {
            found_.push_back({Level::Problem, "daemon", answer.error.text});
            return;
        }
        status_ = std::move(*answer.response);
        const std::string name = text_field(status_, {"node"});
        if (!name.empty()) name_ = name;
        found_.push_back({Level::Ok, "daemon",
                          "it runs, version " + text_field(status_, {"version"}) + ", mode " +
                              text_field(status_, {"mode"})});
        found_.push_back(check_store(status_));
        const Answer conf =
            ask(arguments_.control, {{"command", "get"}, {"path", "corosync.conf"}});
        if (!conf.response) return;
        if (auto text = decode_base64(text_field(*conf.response, {"data"}))) {
            conf_in_tree_ = std::move(*text);
        }
    }

    bool is_in_cluster() const {
        return conf_in_tree_ || field(status_, {"cluster"}).is_object() ||
               ::access(arguments_.corosync_conf.c_str(), F_OK) == 0;
    }

    void look_at_corosync() {
        const auto sockets = read_small_file("/proc/net/unix", kSocketTableMax);
        found_.push_back(check_corosync(sockets && corosync_listens(*sockets), status_));
        if (text_field(status_, {"mode"}) == "local") {
            found_.push_back({Level::Warning, "mode",
                              "the daemon runs in local mode beside a corosync.conf: other nodes "
                              "see none of its changes"});
        }
        const std::string& path = arguments_.corosync_conf;
        const auto text = read_small_file(path, limits::kFileBytesMax);
        if (!text) {
            found_.push_back({Level::Problem, "corosync.conf",
                              text.error().detail + "; the daemon writes it at its next start"});
            return;
        }
        found_.push_back(check_conf_copies(path, *text, conf_in_tree_));
        const auto parsed = parse_corosync_conf(*text);
        if (!parsed) {
            found_.push_back({Level::Problem, "corosync.conf", path + " " + parsed.error().detail});
            return;
        }
        look_at_settings(corosync_settings(*parsed));
    }

    void look_at_settings(const CorosyncSettings& settings) {
        found_.push_back(check_node_list(name_, settings));
        found_.push_back(check_key(settings, read_key(settings.key_file)));
        found_.push_back(check_timeouts(settings));
    }

    void look_at_cluster() {
        found_.push_back(check_quorum(status_));
        found_.push_back(check_members(status_));
        found_.push_back(check_groups(status_));
        found_.push_back(check_protocol(status_));
        found_.push_back(check_verification(status_));
    }

    /// A change carries the time of the node that made it: the only trace of others' clocks here.
    Clock clock() const {
        Clock clock;
        clock.synchronised = is_synchronised();
        std::vector<std::string> directories{"", "nodes", "priv/lock"};
        for (const json& node : list_field(status_, {"cluster", "nodes"})) {
            directories.push_back("nodes/" + text_field(node, {"name"}));
        }
        if (!status_.is_null()) {
            for (const std::string& directory : directories) add_times(directory, clock);
        }
        clock.now = static_cast<std::uint32_t>(std::time(nullptr));
        return clock;
    }

    void add_times(const std::string& directory, Clock& clock) const {
        const Answer answer = ask(arguments_.control, {{"command", "ls"}, {"path", directory}});
        if (!answer.response) return;
        for (const json& entry : list_field(*answer.response, {"entries"})) {
            const auto time =
                static_cast<std::uint32_t>(number_field(entry, {"mtime"}).value_or(0));
            if (time <= clock.newest) continue;
            clock.newest = time;
            clock.newest_in =
                (directory.empty() ? "" : directory + "/") + text_field(entry, {"name"});
        }
    }

    const Arguments& arguments_;
    json status_;  // null: no daemon answers
    std::string name_ = host_name();
    std::optional<std::string> conf_in_tree_;
    std::vector<Finding> found_;
};

std::ptrdiff_t count(const std::vector<Finding>& findings, Level level) {
    return std::count_if(findings.begin(), findings.end(),
                         [level](const Finding& finding) { return finding.level == level; });
}

void print_json(const std::vector<Finding>& findings) {
    json list = json::array();
    for (const Finding& finding : findings) {
        list.push_back({{"level", to_string(finding.level)},
                        {"check", finding.check},
                        {"text", finding.text}});
    }
    const json answer = {{"ok", true},
                         {"problems", count(findings, Level::Problem)},
                         {"warnings", count(findings, Level::Warning)},
                         {"findings", std::move(list)}};
    std::printf("%s\n", answer.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

}  // namespace

int run_doctor(const Arguments& arguments) {
    const std::vector<Finding> findings = Doctor(arguments).run();
    if (arguments.json) {
        print_json(findings);
    } else {
        for (const Finding& finding : findings) {
            std::printf("%-11s  %s: %s\n", to_string(finding.level), finding.check.c_str(),
                        finding.text.c_str());
        }
    }
    return count(findings, Level::Problem) == 0 ? kOk : kFailed;
}

}  // namespace cfsgate::clients
