// SPDX-License-Identifier: Apache-2.0
#include "clients/command_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>

namespace cfsgate::clients {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSignalBase = 128;  // as shells have it
constexpr std::chrono::seconds kToDie{1};

Result<pid_t> start(const std::vector<std::string>& words, Messages messages) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    if (messages == Messages::Hide) {
        ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    }
    pid_t child = 0;
    const int error =
        ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return fail_posix(error, words[0]);
    return child;
}

/// The exit code once the child has ended; nothing when the time is over.
std::optional<int> wait_for(pid_t child, std::chrono::milliseconds limit) {
    const auto end = Clock::now() + limit;
    int status = 0;
    for (;;) {
        const pid_t ended = ::waitpid(child, &status, WNOHANG);
        if (ended == child) break;
        if (Clock::now() >= end) return {};
        ::poll(nullptr, 0, 10);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : kSignalBase + WTERMSIG(status);
}

}  // namespace

Result<int> run_program(const std::vector<std::string>& words, std::chrono::seconds limit,
                        Messages messages) {
    const pid_t child = CFSGATE_TRY(start(words, messages));
    const auto code = wait_for(child, limit);
    if (code) return *code;
    ::kill(child, SIGTERM);
    if (!wait_for(child, kToDie)) {
        ::kill(child, SIGKILL);
        wait_for(child, kToDie);
    }
    return fail(Errno::TimedOut,
                words[0] + ": not done within " + std::to_string(limit.count()) + " s");
}

}  // namespace cfsgate::clients
