// SPDX-License-Identifier: Apache-2.0
// Tells systemd that the mount answers, as long as it does.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "gateway/daemon/probe.h"
#include "store/base/log.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway::daemon {

/// What the last probe found, for `status`.
struct ProbeResult {
    bool ok = false;
    std::chrono::steady_clock::time_point at;
};

/// How often systemd expects a sign, if it does ($WATCHDOG_USEC and $WATCHDOG_PID).
std::optional<std::chrono::microseconds> expected_watchdog_interval();

/// A thread that probes the mount at half the interval, and sends the sign only after a probe that
/// succeeded. Without it nothing probes: an idle daemon is idle.
class Watchdog {
public:
    Watchdog(std::string mount_point, std::chrono::microseconds interval, Logger log);
    /// Returns within the time of one probe.
    ~Watchdog();
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

    std::optional<ProbeResult> last() const CFSGATE_EXCLUDES(mutex_);

private:
    void run() CFSGATE_EXCLUDES(mutex_);
    void probe() CFSGATE_EXCLUDES(mutex_);
    bool wait_for_next() CFSGATE_EXCLUDES(mutex_);

    const std::string mount_point_;
    const std::chrono::microseconds period_;
    Logger log_;
    Prober prober_;
    mutable Mutex mutex_;
    CondVar changed_;
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::optional<ProbeResult> last_ CFSGATE_GUARDED_BY(mutex_);
    std::thread thread_;
};

}  // namespace cfsgate::gateway::daemon
