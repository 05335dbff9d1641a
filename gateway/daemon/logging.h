// SPDX-License-Identifier: Apache-2.0
// Where the daemon's messages go: the journal when systemd started it, else the system log; also
// stderr in the foreground. A line reads `[part] priority: text`.
#pragma once

#include <spdlog/common.h>

#include <atomic>
#include <string>
#include <vector>

#include "store/base/log.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway::daemon {

/// Threads: any.
class Logging {
public:
    Logging(const std::string& identity, bool foreground, bool debug);

    /// A logger for one part of the daemon, such as "store"; it follows set_debug().
    Logger part(const std::string& name) CFSGATE_EXCLUDES(mutex_);

    bool debug() const { return debug_; }
    void set_debug(bool on) CFSGATE_EXCLUDES(mutex_);

private:
    spdlog::level::level_enum level() const;

    std::vector<spdlog::sink_ptr> sinks_;
    std::atomic<bool> debug_;
    Mutex mutex_;
    std::vector<Logger> loggers_ CFSGATE_GUARDED_BY(mutex_);
};

/// Whether stderr is the stream that systemd connected to the journal, which `value`, the content of
/// $JOURNAL_STREAM, names by device and inode.
bool is_journal_stream(const char* value, int fd);

}  // namespace cfsgate::gateway::daemon
