// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/start_report.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "gateway/daemon/options.h"

namespace cfsgate::gateway::daemon {
namespace {

constexpr char kReady = 'R';
constexpr char kFailed = 'F';  // the message follows
constexpr std::size_t kReportBytesMax = 16UL << 10;
constexpr int kTidyUpMs = 5000;

void send(const UniqueFd& pipe, char kind, const std::string& text) {
    const std::string message = kind + text.substr(0, kReportBytesMax);
    // The parent may be gone; there is nobody else to tell.
    [[maybe_unused]] const ssize_t written = ::write(pipe.get(), message.data(), message.size());
}

void silence_stdio() {
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null.valid()) return;
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), fd);
}

/// Up to the end of the pipe, which comes when the child reports or dies.
std::string receive(const UniqueFd& pipe) {
    std::string message;
    std::array<char, 4096> buffer{};
    while (message.size() <= kReportBytesMax) {
        const ssize_t count = ::read(pipe.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        message.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return message;
}

/// Lets the child tidy up after its failure, then kills it.
void end_child(pid_t child) {
    constexpr int kStepMs = 20;
    for (int waited = 0; waited < kTidyUpMs; waited += kStepMs) {
        if (::waitpid(child, nullptr, WNOHANG) == child) return;
        const timespec step{.tv_sec = 0, .tv_nsec = kStepMs * 1'000'000L};
        ::nanosleep(&step, nullptr);
    }
    ::kill(child, SIGKILL);
}

int wait_for_report(pid_t child, const UniqueFd& pipe, const std::string& program) {
    const std::string message = receive(pipe);
    if (message.starts_with(kReady)) return 0;
    if (message.starts_with(kFailed)) {
        std::fprintf(stderr, "%s: %s\n", program.c_str(), message.c_str() + 1);
        end_child(child);
        return kExitStartFailed;
    }
    ::kill(child, SIGKILL);
    std::fprintf(stderr, "%s: the daemon ended during its start; see the system log\n",
                 program.c_str());
    return kExitStartFailed;
}

void follow_parent(pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::raise(SIGTERM);  // it ended before prctl
}

}  // namespace

void StartReport::ready(const std::string& status) {
    // MAINPID, since systemd may have started the parent.
    ::sd_notifyf(0, "READY=1\nSTATUS=%s\nMAINPID=%d", status.c_str(), ::getpid());
    if (!pipe_.valid()) return;
    silence_stdio();
    ::prctl(PR_SET_PDEATHSIG, 0);
    send(pipe_, kReady, "");
    pipe_.reset();
}

void StartReport::failed(const std::string& text) {
    ::sd_notifyf(0, "STATUS=%s", text.c_str());
    if (!pipe_.valid()) return;
    send(pipe_, kFailed, text);
    pipe_.reset();
}

Result<Background> fork_to_background(const std::string& program) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_posix(errno, "pipe");
    UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) return fail_posix(errno, "fork");
    if (child > 0) {
        writer.reset();
        return Background{wait_for_report(child, reader, program), {}};
    }
    reader.reset();
    ::setsid();
    follow_parent(parent);
    [[maybe_unused]] const int ignored = ::chdir("/");
    return Background{std::nullopt, StartReport(std::move(writer))};
}

}  // namespace cfsgate::gateway::daemon
