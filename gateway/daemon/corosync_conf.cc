// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/corosync_conf.h"

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <utility>

#include "store/base/files.h"

namespace cfsgate::gateway::daemon {
namespace {

constexpr std::string_view kName = "corosync.conf";
constexpr std::string_view kVersionKey = "config_version";
constexpr std::chrono::seconds kBeforeReload{1};
constexpr std::size_t kFileBytesMax = 1UL << 20;

/// The number behind a key at the start of `text`: white space, colon, white space, digits.
std::optional<std::uint64_t> number_behind(std::string_view text) {
    const auto skip_space = [&text] {
        while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
            text.remove_prefix(1);
        }
    };
    skip_space();
    if (!text.starts_with(':')) return {};
    text.remove_prefix(1);
    skip_space();
    std::uint64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec != std::errc()) return {};
    return number;
}

}  // namespace

std::optional<std::uint64_t> config_version_of(std::string_view text) {
    for (auto at = text.find(kVersionKey); at != std::string_view::npos;
         at = text.find(kVersionKey, at + 1)) {
        const auto number = number_behind(text.substr(at + kVersionKey.size()));
        if (number) return *number == 0 ? std::nullopt : number;
    }
    return {};
}

std::optional<std::string> cluster_name_of(std::string_view text) {
    constexpr std::string_view kKey = "cluster_name:";
    constexpr std::string_view kSpace = " \t\r";
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        line.remove_prefix(std::min(line.size(), line.find_first_not_of(kSpace)));
        if (!line.starts_with(kKey)) continue;
        line.remove_prefix(kKey.size());
        line.remove_prefix(std::min(line.size(), line.find_first_not_of(kSpace)));
        line = line.substr(0, line.find_last_not_of(kSpace) + 1);
        if (!line.empty()) return std::string(line);
    }
    return {};
}

Result<ConfUpdate> update_corosync_conf(std::string_view text, const std::string& path,
                                        const Logger& log) {
    if (text.empty()) return ConfUpdate::Nothing;
    const auto version = config_version_of(text);
    if (!version) {
        log->error("corosync.conf in the tree has no config_version; {} stays as it is", path);
        return ConfUpdate::Nothing;
    }
    std::uint64_t old_version = 0;
    if (const auto old = read_small_file(path, kFileBytesMax)) {
        if (*old == text) return ConfUpdate::Same;
        old_version = config_version_of(*old).value_or(0);
    }
    if (*version < old_version) {
        log->error("{} has version {}, newer than {} in the tree; it stays as it is", path,
                   old_version, *version);
        return ConfUpdate::FileNewer;
    }
    CFSGATE_TRY(write_file_atomically(path, text, 0644, Flush::Yes));
    log->info("{}: version {} written, was {}", path, *version, old_version);
    return old_version == 0 ? ConfUpdate::Written : ConfUpdate::Replaced;
}

CorosyncConf::CorosyncConf(const store::Store& store, std::string path, Logger log)
    : store_(store), path_(std::move(path)), log_(std::move(log)), thread_([this] { run(); }) {
    ::pthread_setname_np(thread_.native_handle(), "corosync.conf");
}

CorosyncConf::~CorosyncConf() {
    {
        const MutexLock lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void CorosyncConf::changed(bool notify) {
    {
        const MutexLock lock(mutex_);
        asked_ = true;
        notify_ = notify_ || notify;
    }
    changed_.notify_all();
}

Result<std::string> CorosyncConf::read_tree() const {
    const auto view = CFSGATE_TRY(store_.read());
    const auto found = view->resolve(kName);
    if (!found && found.error().code == Errno::NotFound) return std::string();
    const Inode inode = CFSGATE_TRY(view->inode(CFSGATE_TRY(Result<InodeNumber>(found))));
    return std::string(CFSGATE_TRY(view->content(inode)));
}

void CorosyncConf::update(bool notify) const {
    const auto text = read_tree();
    if (!text) return log_->error("corosync.conf in the tree: {}", text.error().detail);
    const auto updated = update_corosync_conf(*text, path_, log_);
    if (!updated) return log_->error("{}: {}", path_, updated.error().detail);
    if (*updated == ConfUpdate::Replaced && notify) reload();
}

/// corosync then reads it again on all nodes.
void CorosyncConf::reload() const {
    std::this_thread::sleep_for(kBeforeReload);  // the other nodes write theirs meanwhile
    std::string program = "corosync-cfgtool";
    std::string option = "-R";
    char* const arguments[] = {program.data(), option.data(), nullptr};
    posix_spawn_file_actions_t actions{};
    ::posix_spawn_file_actions_init(&actions);
    for (const int fd : {0, 1, 2}) {
        ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    }
    pid_t child = 0;
    const int spawned =
        ::posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    while (spawned == 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (spawned != 0) {
        log_->error("corosync-cfgtool -R: {}; corosync goes on with the old configuration",
                    std::generic_category().message(spawned));
    } else if (status != 0) {
        log_->error(
            "corosync-cfgtool -R: it ended with status {}; corosync may go on with the old "
            "configuration",
            status);
    }
}

void CorosyncConf::run() {
    while (true) {
        bool notify = false;
        {
            const MutexLock lock(mutex_);
            while (!asked_ && !stopping_) changed_.wait(mutex_);
            if (stopping_) return;
            asked_ = false;
            notify = std::exchange(notify_, false);
        }
        update(notify);
    }
}

}  // namespace cfsgate::gateway::daemon
