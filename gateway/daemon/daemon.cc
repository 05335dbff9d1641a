// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/daemon.h"

#include <malloc.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <system_error>
#include <utility>

#include "gateway/daemon/crash_guard.h"
#include "gateway/daemon/database_choice.h"
#include "gateway/daemon/directories.h"
#include "gateway/daemon/mount_point.h"
#include "gateway/daemon/node.h"
#include "gateway/daemon/status_report.h"
#include "store/base/bytes.h"
#include "store/base/clock.h"
#include "store/base/files.h"
#include "store/base/mount_table.h"
#include "store/model/digest.h"

namespace cfsgate::gateway::daemon {
namespace {

constexpr const char* kGroup = "www-data";
constexpr const char* kCorosyncConf = "corosync.conf";
constexpr std::chrono::seconds kLockPatience{10};
constexpr int kExitForced = 3;
constexpr unsigned kLastWordSeconds = 2;

const char* signal_name(int signal) {
    switch (signal) {
        case SIGHUP: return "SIGHUP";
        case SIGINT: return "SIGINT";
        default: return "SIGTERM";
    }
}

/// Each client of the export needs one.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

store::StoreOptions store_options(const Options& options) {
    store::StoreOptions result;
    result.directory = options.state_directory;
    result.durability = options.durability;
    result.journal_keep_seconds = options.history_days * 24U * 3600U;
    result.journal_keep_bytes = options.history_mib << 20;
    return result;
}

/// A mount whose connection was cut stays in place, dead, though its session takes it for gone.
void detach_leftover(const std::string& mount_point, std::uint32_t connection, const Logger& log) {
    const auto table = read_mount_table();
    const MountEntry* mount = table ? find_mount(*table, mount_point) : nullptr;
    if (mount == nullptr || !mount->is_fuse() || mount->device_minor != connection) return;
    if (::umount2(mount_point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
        log->warn("{}: the dead mount stays: {}; take it away: umount -l {}", mount_point,
                  std::generic_category().message(errno), mount_point);
    }
}

}  // namespace

Daemon::Daemon(Options options, StartReport report)
    : options_(std::move(options)),
      report_(std::move(report)),
      logging_(options_.identity, options_.foreground, options_.debug),
      log_(logging_.part("main")) {}

int Daemon::run() {
    const Status started = start();
    int code = kExitStartFailed;
    if (started) {
        report_.ready("serving " + options_.mount_point);
        log_->info("node {} serves {}", node_name_, options_.mount_point);
        code = serve();
        // Clients of a daemon that is only being restarted go on trying while this file exists.
        if (const Status raised = raise_restart_flag(options_.run_directory, www_data_); !raised) {
            log_->warn("{}", raised.error().detail);
        }
    } else {
        log_->critical("{}", started.error().detail);
        report_.failed(started.error().detail);
    }
    end();
    log_->info("ended with code {}", code);
    signals_.reset();
    return code;
}

Status Daemon::start() {
    start_time_ = system_wall_clock()();
    if (options_.nfs.on) prepare_for_memory_pressure(log_);
    CFSGATE_TRY(start_signals());
    CFSGATE_TRY(find_identity());
    ::umask(027);
    CFSGATE_TRY(make_directories());
    CFSGATE_TRY(lock_state());
    CFSGATE_TRY(open_store());
    CFSGATE_TRY(stop_if_asked());
    CFSGATE_TRY(mount());
    if (cluster_ != nullptr) cluster_->start();
    start_nfs();
    start_watchdog();
    CFSGATE_TRY(start_control());
    CFSGATE_TRY(write_pid_file(options_.pid_file));
    pid_file_written_ = true;
    clear_restart_flag(options_.run_directory);
    return stop_if_asked();
}

Status Daemon::start_signals() {
    StopSignals::Actions actions;
    actions.stop = [this](int signal) { request_stop(signal); };
    actions.give_up = [this](const char* reason) { end_by_force(reason); };
    signals_ = CFSGATE_TRY(StopSignals::start(std::move(actions)));
    return {};
}

Status Daemon::find_identity() {
    node_name_ = CFSGATE_TRY(find_node_name(options_.node_name));
    find_address();
    www_data_ = CFSGATE_TRY(find_group(kGroup));
    return {};
}

/// Only a node with peers needs one that they can reach; make_sequencer() insists then.
void Daemon::find_address() {
    address_ = find_node_address(node_name_);
    if (address_) {
        log_->info("node {} has the address {}", node_name_, *address_);
    } else {
        log_->warn("{}", address_.error().detail);
    }
}

Status Daemon::make_directories() const {
    CFSGATE_TRY(make_directory(options_.state_directory, 0750));
    CFSGATE_TRY(make_directory(options_.run_directory, 0750));
    CFSGATE_TRY(give_to_group(options_.run_directory, www_data_));
    return make_directory(std::filesystem::path(options_.control).parent_path().string(), 0750);
}

/// A former daemon may still be ending.
Status Daemon::lock_state() {
    doing_ = "waiting for the lock of the state directory";
    const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
    while (true) {
        auto lock =
            store::DirectoryLock::acquire(options_.state_directory, std::chrono::seconds(0));
        if (lock) {
            lock_.emplace(std::move(*lock));
            return {};
        }
        const bool give_up = std::chrono::steady_clock::now() >= deadline;
        if (lock.error().code != Errno::Busy || give_up) return tl::unexpected(lock.error());
        if (!signals_->sleep(std::chrono::seconds(1))) return stop_if_asked();
    }
}

Status Daemon::open_store() {
    doing_ = "opening the store";
    const Logger log = logging_.part("store");
    CFSGATE_TRY(install_crash_guard(options_.state_directory));
    CFSGATE_TRY(choose_database(store_options(options_), options_.use, log));
    store_ = CFSGATE_TRY(store::Store::open(store_options(options_), log));
    // An import, or the journal's last segment, was in memory whole; malloc would keep that.
    ::malloc_trim(0);
    if (!options_.local) CFSGATE_TRY(take_in_corosync_conf());
    purges_ = std::make_unique<PurgeWorker>(*store_, logging_.part("history"));
    CFSGATE_TRY(make_sequencer());
    FileSystemOptions options;
    options.node_name = node_name_;
    options.www_data = www_data_;
    options.chmod_policy = options_.chmod_policy;
    options.tree_bytes_max = options_.tree_bytes_max;
    options.entries_max = options_.entries_max;
    options.deadline = options_.deadline;
    options.start_time = start_time_;
    options.debug_enabled = [this] { return logging_.debug(); };
    options.set_debug = [this](bool on) { logging_.set_debug(on); };
    options.cluster = [this]() -> std::optional<replication::ClusterStatus> {
        if (cluster_ == nullptr) return {};
        return cluster_->cluster_status();
    };
    files_ = std::make_unique<FileSystem>(*store_, *sequencer_, std::move(options),
                                          logging_.part("files"));
    return {};
}

Status Daemon::need_address() const {
    if (address_) return {};
    return fail(address_.error().code,
                "corosync.conf makes this node a cluster's, and its peers must reach it: " +
                    address_.error().detail + "; or start with --local");
}

/// A first start beside corosync's configuration is that of a cluster's member. The first start is
/// over when the tree has changed, so one that fails here is none.
Status Daemon::take_in_corosync_conf() const {
    if (CFSGATE_TRY(store_->read())->head().version != Version(1)) return {};
    const auto text = read_small_file(options_.corosync_conf, limits::kFileBytesMax);
    if (!text) {
        if (text.error().code == Errno::NotFound) return {};
        return tl::unexpected(text.error());
    }
    CFSGATE_TRY(need_address());
    const Stamp stamp{NodeId(0), start_time_};
    auto batch = CFSGATE_TRY(store_->begin());
    for (const Operation& operation :
         {Operation(CreateFile{kCorosyncConf}), Operation(WriteFile{kCorosyncConf, *text})}) {
        const store::Applied applied = batch->apply(operation, stamp);
        if (!applied.ok) return fail(applied.error, options_.corosync_conf + " cannot be stored");
    }
    CFSGATE_TRY(store_->sync(CFSGATE_TRY(batch->commit())));
    log_->info("{} taken in: this node belongs to a cluster", options_.corosync_conf);
    return {};
}

Result<bool> Daemon::belongs_to_cluster() const {
    if (options_.local) return false;
    const auto view = CFSGATE_TRY(store_->read());
    const auto found = view->resolve(kCorosyncConf);
    if (!found && found.error().code != Errno::NotFound) return tl::unexpected(found.error());
    return found.has_value();
}

/// The same on every node, so that a file handle holds on all of them.
Status Daemon::name_file_system() {
    const auto view = CFSGATE_TRY(store_->read());
    const Inode conf = CFSGATE_TRY(view->inode(CFSGATE_TRY(view->resolve(kCorosyncConf))));
    const auto name = cluster_name_of(CFSGATE_TRY(view->content(conf)));
    if (!name) {
        log_->warn("corosync.conf in the tree names no cluster; file handles hold here alone");
        return {};
    }
    const Digest digest = Sha256::of(*name);
    ByteReader in({reinterpret_cast<const char*>(digest.data()), digest.size()});
    return store_->set_file_system_id(in.take<std::uint64_t>());
}

Status Daemon::make_sequencer() {
    if (!CFSGATE_TRY(belongs_to_cluster())) {
        store_->recover_by_itself();
        sequencer_ = replication::make_local_sequencer(*store_, system_wall_clock());
        return {};
    }
    CFSGATE_TRY(need_address());
    corosync_conf_ =
        std::make_unique<CorosyncConf>(*store_, options_.corosync_conf, logging_.part("cluster"));
    corosync_conf_->update(true);
    CFSGATE_TRY(name_file_system());
    replication::ClusterOptions options;
    options.own_ip = *address_;
    options.deadline = options_.deadline;
    options.ack = options_.ack;
    auto cluster =
        replication::make_cluster_sequencer(*store_, std::move(options), logging_.part("cluster"));
    cluster->observe_corosync_conf([this](bool own) { corosync_conf_->changed(own); });
    cluster->observe_purges(
        [this](std::string_view path, NodeId from) { purges_->order(path, from); });
    cluster_ = cluster.get();
    sequencer_ = std::move(cluster);
    return {};
}

Status Daemon::mount() {
    doing_ = "mounting";
    const Logger log = logging_.part("fuse");
    options_.mount_point = CFSGATE_TRY(prepare_mount_point(options_.mount_point, prober_, log));
    fuse::MountOptions options;
    options.mount_point = options_.mount_point;
    mount_ = CFSGATE_TRY(fuse::Mount::create(*files_, std::move(options), log));
    mounted_ = true;
    const MutexLock lock(stoppable_mutex_);
    stoppable_ = mount_.get();
    return {};
}

void Daemon::start_nfs() {
    doing_ = "starting the NFS export";
    raise_descriptor_limit();
    nfs_ = std::make_unique<NfsService>(*files_, options_.nfs, options_.deadline,
                                        logging_.part("nfs"));
}

Status Daemon::start_control() {
    doing_ = "starting the control socket";
    auto status = [this](bool with_checksum) {
        const StatusSources sources{.options = options_,
                                    .node_name = node_name_,
                                    .start_time = start_time_,
                                    .store = *store_,
                                    .sequencer = *sequencer_,
                                    .files = *files_,
                                    .mount = *mount_,
                                    .nfs = *nfs_,
                                    .cluster = cluster_,
                                    .watchdog = watchdog_.get()};
        return make_status(sources, control_counters_, with_checksum);
    };
    // The façade's own deadline comes first; this one only bounds a façade that misses it.
    commands_ = std::make_unique<ControlCommands>(*store_, *files_, options_.state_directory,
                                                  options_.deadline + std::chrono::seconds(1),
                                                  std::move(status), *nfs_, *purges_, cluster_);
    auto handler = [this](const nlohmann::json& request, const std::stop_token& stop) {
        return commands_->run(request, stop);
    };
    control_ = CFSGATE_TRY(ControlServer::start(options_.control, std::move(handler), {},
                                                control_counters_, logging_.part("control")));
    return {};
}

void Daemon::start_watchdog() {
    if (const auto interval = expected_watchdog_interval()) {
        watchdog_ =
            std::make_unique<Watchdog>(options_.mount_point, *interval, logging_.part("watchdog"));
    }
}

Status Daemon::stop_if_asked() const {
    if (!signals_->requested()) return {};
    return fail(Errno::Interrupted, "asked to end during the start");
}

int Daemon::serve() {
    constexpr int kCodeMax = 254;
    doing_ = "serving the mount";
    const int result = mount_->serve();
    if (result != 0) {
        log_->error("{}: the mount ended: error {}", options_.mount_point, result);
    } else if (!signals_->requested()) {
        log_->warn("{}: the mount was taken away or cut from outside; ending",
                   options_.mount_point);
    }
    return std::clamp(result, 0, kCodeMax);
}

void Daemon::end() {
    if (signals_) signals_->begin_end();
    doing_ = "ending the control socket";
    control_.reset();
    commands_.reset();
    doing_ = "ending the NFS export";
    nfs_.reset();
    // Whoever waits for the cluster is answered now, or the mount could not end.
    doing_ = "leaving the cluster";
    if (cluster_ != nullptr) cluster_->stop();
    end_mount();
    doing_ = "ending the watchdog";
    watchdog_.reset();
    end_store();
    if (pid_file_written_) ::unlink(options_.pid_file.c_str());
}

void Daemon::end_mount() {
    {
        const MutexLock lock(stoppable_mutex_);
        stoppable_ = nullptr;
    }
    doing_ = "taking away the mount";
    if (!mount_) return;
    const std::uint32_t connection = mount_->connection();
    mount_->unmount();
    mount_.reset();
    detach_leftover(options_.mount_point, connection, log_);
    mounted_ = false;
}

void Daemon::end_store() {
    doing_ = "finishing the changes under way";
    files_.reset();
    cluster_ = nullptr;
    sequencer_.reset();
    corosync_conf_.reset();
    doing_ = "finishing a purge of the history";
    purges_.reset();
    doing_ = "closing the store";
    if (store_) {
        if (const Status closed = store_->close(); !closed) {
            log_->error("{}: close: {}", options_.state_directory, closed.error().detail);
        }
    }
    store_.reset();
    lock_.reset();
}

void Daemon::request_stop(int signal) {
    {
        const MutexLock lock(stoppable_mutex_);
        if (stoppable_ != nullptr) stoppable_->stop();
    }
    ::sd_notify(0, "STOPPING=1");
    log_->info("{}: ending", signal_name(signal));
}

void Daemon::end_by_force(const char* reason) {
    // Whatever hangs may hold any lock, so nothing here may wait: SIGALRM ends even the logging.
    std::signal(SIGALRM, SIG_DFL);
    ::alarm(kLastWordSeconds);
    if (mounted_) ::umount2(options_.mount_point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    log_->critical("ending by force, since {}; it was {}", reason, doing_.load());
    ::_exit(kExitForced);
}

}  // namespace cfsgate::gateway::daemon
