// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/nfs_service.h"

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace cfsgate::gateway::daemon {
namespace {

using nlohmann::json;

const char* kind_name(nfs::ClientStatus::Kind kind) {
    switch (kind) {
        case nfs::ClientStatus::Kind::Everybody: return "any";
        case nfs::ClientStatus::Kind::User: return "user";
        case nfs::ClientStatus::Kind::Remote: return "remote";
    }
    return "";
}

json to_json(const nfs::ClientStatus& client, std::int64_t now) {
    const bool remote = client.kind == nfs::ClientStatus::Kind::Remote;
    return {{"address", client.address.ip.to_string()},
            {"port", client.address.port},
            {"owner", remote ? json() : json(client.owner)},
            {"speaks_for", kind_name(client.kind)},
            {"since", now - client.connected_seconds},
            {"requests", client.requests},
            {"errors", client.errors},
            {"last_error", client.last_error},
            {"bytes_in", client.bytes_in},
            {"bytes_out", client.bytes_out}};
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
bool may_lock_without_limit() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
    if (::syscall(SYS_capget, &header, data) != 0) return false;
    return (data[0].effective & (1U << CAP_IPC_LOCK)) != 0;
}
#endif

}  // namespace

Result<nfs::ServerOptions> to_server_options(const NfsOptions& options,
                                             std::chrono::milliseconds deadline) {
    nfs::ServerOptions out;
    for (const std::string& text : options.listen) {
        const auto address = nfs::IpAddress::parse(text);
        if (!address) return fail(Errno::Invalid, "nfs-listen: " + address.error().detail);
        out.listen.push_back({*address, options.port});
    }
    std::vector<nfs::ExportRule> rules;
    for (const std::string& text : options.allow) {
        auto rule = nfs::parse_export_rule(text);
        if (!rule) return fail(Errno::Invalid, "export.allow: " + rule.error().detail);
        out.networks.push_back(rule->network.to_string());
        rules.push_back(std::move(*rule));
    }
    out.rules = nfs::ExportRules(std::move(rules));
    out.policy.beyond = options.beyond_proof;
    out.policy.root_from_high_ports = options.root_from_high_ports;
    out.deadline = deadline;
    out.locks.grace = options.grace;
    out.locks.rpcbind = options.rpcbind;
    if (!options.state_directory.empty()) {
        out.locks.clients_file = options.state_directory + "/nfs-lock-clients";
    }
    return out;
}

NfsService::NfsService(FileSystem& files, const NfsOptions& options,
                       std::chrono::milliseconds deadline, const Logger& log) {
    if (!options.on) {
        why_off_ = "switched off";
        return;
    }
    auto started = [&]() -> Result<std::unique_ptr<nfs::Server>> {
        return nfs::Server::start(files, CFSGATE_TRY(to_server_options(options, deadline)), log);
    }();
    if (started) {
        server_ = std::move(*started);
        log->info("serving {} by NFS at {}", "/etc/pve", addresses());
        return;
    }
    why_off_ = started.error().detail;
    log->error("no NFS export: {}; free the port or choose another one (nfs-port), then restart",
               why_off_);
}

std::string NfsService::addresses() const {
    std::string text;
    if (!server_) return text;
    for (const nfs::SocketAddress& address : server_->addresses()) {
        text += (text.empty() ? "" : " and ") + address.to_string();
    }
    return text;
}

json NfsService::status() const {
    if (!server_) return {{"on", false}, {"why", why_off_}};
    json addresses = json::array();
    for (const nfs::SocketAddress& address : server_->addresses()) {
        addresses.push_back(address.to_string());
    }
    const nfs::ServerCounters& counters = server_->counters();
    return {{"on", true},
            {"addresses", std::move(addresses)},
            {"connections", counters.connections.load()},
            {"accepted", counters.accepted.load()},
            {"refused", counters.refused.load()},
            {"dropped", counters.dropped.load()},
            {"requests", counters.requests.load()},
            {"malformed", counters.malformed.load()},
            {"bad_arguments", counters.bad_arguments.load()},
            {"beyond_proof", counters.beyond_proof.load()},
            {"repeats_replayed", counters.repeats_replayed.load()},
            {"repeats_dropped", counters.repeats_dropped.load()},
            {"late", counters.late.load()}};
}

Result<json> NfsService::clients() const {
    if (!server_) return fail(Errno::NotSupported, "there is no NFS export: " + why_off_);
    const std::int64_t now = system_wall_clock()();
    json clients = json::array();
    for (const nfs::ClientStatus& client : CFSGATE_TRY(server_->clients())) {
        clients.push_back(to_json(client, now));
    }
    return json{{"clients", std::move(clients)}};
}

void prepare_for_memory_pressure(const Logger& log) {
    // Both need privileges that a container may not have; without them it works as well, as long
    // as there is memory.
#ifdef PR_SET_IO_FLUSHER
    if (::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) {
        log->debug("no I/O-flusher flag: {}", std::generic_category().message(errno));
    }
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    // With a limit, later mappings could fail; so without one or not at all.
    if (!may_lock_without_limit()) {
        log->debug("memory is not locked: no CAP_IPC_LOCK");
    } else if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        log->debug("memory is not locked: {}", std::generic_category().message(errno));
    }
#endif
}

}  // namespace cfsgate::gateway::daemon
