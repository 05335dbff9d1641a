// SPDX-License-Identifier: Apache-2.0
// Brings the tree's `corosync.conf` to corosync: docs/cluster.md, "corosync.conf".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "store/base/log.h"
#include "store/base/mutex.h"
#include "store/base/result.h"
#include "store/store.h"

namespace cfsgate::gateway::daemon {

/// The number behind the first `config_version:`, wherever it stands. Nothing: there is none, or 0.
std::optional<std::uint64_t> config_version_of(std::string_view text);

/// The value of the first `cluster_name:` that is not in a comment.
std::optional<std::string> cluster_name_of(std::string_view text);

enum class ConfUpdate : std::uint8_t {
    Nothing,    ///< the tree has none, or one without a version
    Same,       ///< the file is it already
    FileNewer,  ///< the file's version is higher: left as it is
    Written,    ///< the file is new
    Replaced,   ///< the file had an older or another text: corosync should read it again
};

/// Writes `text`, the tree's, to the file at `path` if it is not older. Errors: what the system
/// says.
Result<ConfUpdate> update_corosync_conf(std::string_view text, const std::string& path,
                                        const Logger& log);

/// Does it whenever it is told to, on a thread of its own, since it writes files, waits a second
/// and runs a program.
class CorosyncConf {
public:
    /// Borrows the store. `path`: corosync's own file.
    CorosyncConf(const store::Store& store, std::string path, Logger log);
    ~CorosyncConf();
    CorosyncConf(const CorosyncConf&) = delete;
    CorosyncConf& operator=(const CorosyncConf&) = delete;

    /// The tree's text may have changed. `notify`: tell corosync if the file was replaced. Threads:
    /// any; does not block.
    void changed(bool notify) CFSGATE_EXCLUDES(mutex_);
    /// The same, done when it returns.
    void update(bool notify) const;

private:
    void run() CFSGATE_EXCLUDES(mutex_);
    Result<std::string> read_tree() const;
    void reload() const;

    const store::Store& store_;
    const std::string path_;
    Logger log_;
    Mutex mutex_;
    CondVar changed_;
    bool asked_ CFSGATE_GUARDED_BY(mutex_) = false;
    bool notify_ CFSGATE_GUARDED_BY(mutex_) = false;
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace cfsgate::gateway::daemon
