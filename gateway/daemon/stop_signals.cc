// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/stop_signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

namespace cfsgate::gateway::daemon {
namespace {

using Clock = std::chrono::steady_clock;

bool readable(const pollfd& entry) { return (entry.revents & POLLIN) != 0; }

void set_event(const UniqueFd& event) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event.get(), &one, sizeof(one));
}

int take_signal(const UniqueFd& signals) {
    signalfd_siginfo info{};
    const ssize_t count = ::read(signals.get(), &info, sizeof(info));
    return count == sizeof(info) ? static_cast<int>(info.ssi_signo) : 0;
}

int milliseconds_until(Clock::time_point deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, 3600'000));
}

}  // namespace

Result<std::unique_ptr<StopSignals>> StopSignals::start(Actions actions) {
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGHUP, SIGINT, SIGTERM}) sigaddset(&set, signal);
    const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    if (error != 0) return fail_posix(error, "pthread_sigmask");
    UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    UniqueFd requested(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    UniqueFd end(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    UniqueFd finish(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!signals.valid() || !requested.valid() || !end.valid() || !finish.valid()) {
        return fail_posix(errno, "signalfd or eventfd");
    }
    return std::unique_ptr<StopSignals>(new StopSignals(std::move(actions), std::move(signals),
                                                        std::move(requested), std::move(end),
                                                        std::move(finish)));
}

StopSignals::StopSignals(Actions actions, UniqueFd signals, UniqueFd requested, UniqueFd end,
                         UniqueFd finish)
    : actions_(std::move(actions)),
      signals_(std::move(signals)),
      requested_event_(std::move(requested)),
      end_event_(std::move(end)),
      finish_(std::move(finish)),
      thread_([this] { run(); }) {
    ::pthread_setname_np(thread_.native_handle(), "signals");
}

StopSignals::~StopSignals() {
    set_event(finish_);
    thread_.join();
}

void StopSignals::begin_end() { set_event(end_event_); }

bool StopSignals::sleep(std::chrono::milliseconds time) const {
    pollfd entry{.fd = requested_event_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, static_cast<int>(time.count())) == 0;
}

void StopSignals::run() {
    std::array<pollfd, 3> entries{
        {{finish_.get(), POLLIN, 0}, {end_event_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}}};
    while (true) {
        if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) return;
        if (readable(entries[0])) return;
        const auto now = Clock::now();
        const int signal = readable(entries[2]) ? take_signal(signals_) : 0;
        if (signal == 0 && !readable(entries[1])) continue;
        requested_ = true;
        set_event(requested_event_);
        if (signal != 0) actions_.stop(signal);
        wait_for_end(now);
        return;
    }
}

void StopSignals::wait_for_end(Clock::time_point since) {
    std::array<pollfd, 2> entries{{{finish_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}}};
    const auto deadline = since + actions_.grace;
    while (true) {
        const int ready = ::poll(entries.data(), entries.size(), milliseconds_until(deadline));
        if (ready < 0 && errno != EINTR) return;
        if (ready > 0 && readable(entries[0])) return;
        if (ready > 0 && readable(entries[1]) && take_signal(signals_) != 0 &&
            Clock::now() - since > actions_.same_request) {
            actions_.give_up("a second signal asked for it");
        }
        if (Clock::now() >= deadline) {
            actions_.give_up("the end took too long");
            return;
        }
    }
}

}  // namespace cfsgate::gateway::daemon
