// SPDX-License-Identifier: Apache-2.0
// The daemon's life: start in a fixed order, serve, end in the opposite order. docs/daemon.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "gateway/daemon/control_commands.h"
#include "gateway/daemon/control_server.h"
#include "gateway/daemon/corosync_conf.h"
#include "gateway/daemon/logging.h"
#include "gateway/daemon/nfs_service.h"
#include "gateway/daemon/options.h"
#include "gateway/daemon/probe.h"
#include "gateway/daemon/purge_worker.h"
#include "gateway/daemon/start_report.h"
#include "gateway/daemon/stop_signals.h"
#include "gateway/daemon/watchdog.h"
#include "gateway/file_system.h"
#include "gateway/fuse/mount.h"
#include "replication/cluster_sequencer.h"
#include "replication/sequencer.h"
#include "store/base/mutex.h"
#include "store/directory_lock.h"
#include "store/store.h"

namespace cfsgate::gateway::daemon {

/// One daemon; owns every part. Make it after fork_to_background(), and before any other thread.
class Daemon {
public:
    Daemon(Options options, StartReport report);
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    /// Returns the exit code: 0, kExitStartFailed, or what ended the mount.
    int run();

private:
    Status start();
    Status start_signals();
    Status find_identity();
    void find_address();
    Status make_directories() const;
    Status lock_state();
    Status open_store();
    Result<bool> belongs_to_cluster() const;
    Status need_address() const;
    Status take_in_corosync_conf() const;
    Status make_sequencer();
    Status name_file_system();
    Status mount() CFSGATE_EXCLUDES(stoppable_mutex_);
    void start_nfs();
    Status start_control();
    void start_watchdog();
    Status stop_if_asked() const;

    int serve();
    void end() CFSGATE_EXCLUDES(stoppable_mutex_);
    void end_mount() CFSGATE_EXCLUDES(stoppable_mutex_);
    void end_store();
    void request_stop(int signal) CFSGATE_EXCLUDES(stoppable_mutex_);
    void end_by_force(const char* reason);

    Options options_;
    StartReport report_;
    Logging logging_;
    Logger log_;
    std::string node_name_;
    Result<std::string> address_ = fail(Errno::NotFound);
    gid_t www_data_ = 0;
    std::uint32_t start_time_ = 0;
    Prober prober_;
    std::atomic<const char*> doing_{"starting"};  ///< for the message of a forced end
    std::atomic<bool> mounted_{false};
    bool pid_file_written_ = false;

    // In the order of the start; end() and the destructors go backwards.
    std::optional<store::DirectoryLock> lock_;
    std::unique_ptr<store::Store> store_;
    std::unique_ptr<PurgeWorker> purges_;
    std::unique_ptr<CorosyncConf> corosync_conf_;  ///< in a cluster
    std::unique_ptr<replication::Sequencer> sequencer_;
    replication::ClusterSequencer* cluster_ = nullptr;  ///< the same, in a cluster
    std::unique_ptr<FileSystem> files_;
    std::unique_ptr<fuse::Mount> mount_;
    std::unique_ptr<NfsService> nfs_;
    Mutex stoppable_mutex_;
    /// The mount while it may serve, for the signal thread.
    fuse::Mount* stoppable_ CFSGATE_GUARDED_BY(stoppable_mutex_) = nullptr;
    std::unique_ptr<Watchdog> watchdog_;
    std::unique_ptr<ControlCommands> commands_;
    ControlCounters control_counters_;
    std::unique_ptr<ControlServer> control_;
    std::unique_ptr<StopSignals> signals_;  ///< last: its thread watches over the end of the others
};

}  // namespace cfsgate::gateway::daemon
