// SPDX-License-Identifier: Apache-2.0
// The cluster log as far as one node has it: entries of this node, the newest kept.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <string>

#include "store/base/mutex.h"

namespace cfsgate::gateway {

struct LogEntry {
    std::uint32_t uid = 0;   ///< counts this node's entries, from 1
    std::uint32_t time = 0;  ///< seconds since 1970
    int priority = 6;        ///< as syslog
    std::string tag;
    pid_t pid = 0;
    std::string node;
    std::string user;
    std::string message;
};

/// Threads: any.
class ClusterLog {
public:
    explicit ClusterLog(std::string node) : node_(std::move(node)) {}

    /// Fills in uid and node.
    void add(LogEntry entry) CFSGATE_EXCLUDES(mutex_);
    /// The text of `.clusterlog`: the newest `count` entries, newest first.
    std::string to_json(std::size_t count) const CFSGATE_EXCLUDES(mutex_);

private:
    std::string node_;
    mutable Mutex mutex_;
    std::deque<LogEntry> entries_ CFSGATE_GUARDED_BY(mutex_);
    std::uint32_t last_uid_ CFSGATE_GUARDED_BY(mutex_) = 0;
};

/// A JSON string's inside: quotes, backslashes and control characters escaped.
std::string json_escape(const std::string& text);

}  // namespace cfsgate::gateway
