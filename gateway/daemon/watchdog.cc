// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/watchdog.h"

#include <pthread.h>
#include <systemd/sd-daemon.h>

#include <algorithm>

namespace cfsgate::gateway::daemon {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kProbeDeadline{5000};

}  // namespace

std::optional<std::chrono::microseconds> expected_watchdog_interval() {
    std::uint64_t microseconds = 0;
    if (::sd_watchdog_enabled(0, &microseconds) <= 0) return {};
    return std::chrono::microseconds(microseconds);
}

Watchdog::Watchdog(std::string mount_point, std::chrono::microseconds interval, Logger log)
    : mount_point_(std::move(mount_point)),
      period_(interval / 2),
      log_(std::move(log)),
      thread_([this] { run(); }) {
    ::pthread_setname_np(thread_.native_handle(), "watchdog");
}

Watchdog::~Watchdog() {
    {
        const MutexLock lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

std::optional<ProbeResult> Watchdog::last() const {
    const MutexLock lock(mutex_);
    return last_;
}

void Watchdog::run() {
    do {
        probe();
    } while (wait_for_next());
}

void Watchdog::probe() {
    // Half of the period is left for the sign to arrive in time.
    const auto deadline =
        std::min(kProbeDeadline, std::chrono::duration_cast<milliseconds>(period_) / 2);
    const bool ok = prober_.run(kProbeMount, mount_point_, deadline) == Probe::Answers;
    if (ok) ::sd_notify(0, "WATCHDOG=1");
    const MutexLock lock(mutex_);
    const bool changed = !last_ ? !ok : last_->ok != ok;
    last_ = ProbeResult{.ok = ok, .at = std::chrono::steady_clock::now()};
    if (!changed) return;
    if (ok) {
        log_->warn("{}: the mount answers again", mount_point_);
    } else {
        log_->error("{}: the mount does not answer; systemd will end this daemon unless it does",
                    mount_point_);
    }
}

bool Watchdog::wait_for_next() {
    const auto next = std::chrono::steady_clock::now() + period_;
    const MutexLock lock(mutex_);
    while (!stopping_) {
        if (!changed_.wait_until(mutex_, next)) return !stopping_;
    }
    return false;
}

}  // namespace cfsgate::gateway::daemon
