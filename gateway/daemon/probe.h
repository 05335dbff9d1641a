// SPDX-License-Identifier: Apache-2.0
// Looks at a mount from a short-lived child. A thread that waits on the daemon's own mount could
// not be killed any more, and a foreign mount may hang as well; a child can be left behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace cfsgate::gateway::daemon {

/// What a child found at a directory; its exit code.
enum class Probe : int {
    Answers = 0,    ///< an empty directory, where that was asked
    Failed = 1,     ///< an error
    NotEmpty = 2,   ///< --probe-directory only
    Dead = 3,       ///< a FUSE mount whose server is gone
    Missing = 4,    ///< nothing there
    NoAnswer = 64,  ///< never an exit code: the child missed its deadline, or did not start
};

/// What a child's first argument asks for: a name looked up in a mount and its statistics, or
/// whether a directory is alive and empty.
inline constexpr const char* kProbeMount = "--probe";
inline constexpr const char* kProbeDirectory = "--probe-directory";

/// The child: does what `arguments` say if they are those of a probe, and gives its exit code.
std::optional<int> run_as_probe(const std::vector<std::string>& arguments);

/// The same as kProbeDirectory on the calling thread: for a directory on which nothing is mounted.
Probe probe_directory(const std::string& path);

/// Starts such children. A child that cannot be killed keeps its place: no further one is started
/// until it has gone. Threads: one at a time.
class Prober {
public:
    Prober() = default;
    ~Prober();
    Prober(const Prober&) = delete;
    Prober& operator=(const Prober&) = delete;

    Probe run(const char* request, const std::string& path, std::chrono::milliseconds deadline);

private:
    bool reap();

    pid_t child_ = 0;  // 0: none
};

}  // namespace cfsgate::gateway::daemon
