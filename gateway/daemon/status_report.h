// SPDX-License-Identifier: Apache-2.0
// What `cfsgate status` shows. The keys are described in docs/command.md.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "gateway/daemon/control_server.h"
#include "gateway/daemon/nfs_service.h"
#include "gateway/daemon/options.h"
#include "gateway/daemon/watchdog.h"
#include "gateway/file_system.h"
#include "gateway/fuse/mount.h"
#include "replication/cluster_sequencer.h"
#include "store/store.h"

namespace cfsgate::gateway::daemon {

/// Where the numbers come from; borrowed.
struct StatusSources {
    const Options& options;
    std::string node_name;
    std::uint32_t start_time = 0;  ///< seconds since 1970
    const store::Store& store;
    const replication::Sequencer& sequencer;
    const FileSystem& files;
    const fuse::Mount& mount;
    const NfsService& nfs;
    const replication::ClusterSequencer* cluster = nullptr;  ///< none in local mode
    const Watchdog* watchdog = nullptr;                      ///< none without systemd's watchdog
};

/// Touches no mount. Errors: those of reading the store.
Result<nlohmann::json> make_status(const StatusSources& sources, const ControlCounters& control,
                                   bool with_checksum);

}  // namespace cfsgate::gateway::daemon
