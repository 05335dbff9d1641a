// SPDX-License-Identifier: Apache-2.0
// Going into the background, and telling whoever started the daemon how the start went.
#pragma once

#include <optional>
#include <string>

#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace cfsgate::gateway::daemon {

/// The child's end of the pipe to the waiting parent; in the foreground there is none. Also tells
/// systemd, where that waits.
class StartReport {
public:
    StartReport() = default;
    explicit StartReport(UniqueFd pipe) : pipe_(std::move(pipe)) {}

    /// In the background: stdio goes to /dev/null, and the parent ends with 0.
    void ready(const std::string& status);
    /// In the background: the parent prints `text` and ends with kExitStartFailed.
    void failed(const std::string& text);

private:
    UniqueFd pipe_;
};

struct Background {
    std::optional<int> parent_exit;  ///< set in the parent: end with this code
    StartReport report;              ///< for the child
};

/// Forks, before any other thread exists: threads do not survive it. The parent's call returns when
/// the child has reported or died; a child that went without a report is killed. Until the report
/// the child gets SIGTERM when its parent ends. Errors: what the system says.
Result<Background> fork_to_background(const std::string& program);

}  // namespace cfsgate::gateway::daemon
