// SPDX-License-Identifier: Apache-2.0
// How often the files that the management stack caches have changed. In memory: all are 1 after
// a start.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace cfsgate::store {

/// The observed paths, in the order of `.version`.
inline constexpr std::array<std::string_view, 43> kObservedPaths{"corosync.conf",
                                                                 "corosync.conf.new",
                                                                 "storage.cfg",
                                                                 "user.cfg",
                                                                 "domains.cfg",
                                                                 "notifications.cfg",
                                                                 "priv/notifications.cfg",
                                                                 "priv/shadow.cfg",
                                                                 "priv/acme/plugins.cfg",
                                                                 "priv/tfa.cfg",
                                                                 "priv/token.cfg",
                                                                 "priv/wg-keys.cfg",
                                                                 "datacenter.cfg",
                                                                 "vzdump.cron",
                                                                 "vzdump.conf",
                                                                 "jobs.cfg",
                                                                 "ha/crm_commands",
                                                                 "ha/manager_status",
                                                                 "ha/resources.cfg",
                                                                 "ha/rules.cfg",
                                                                 "ha/groups.cfg",
                                                                 "ha/fence.cfg",
                                                                 "status.cfg",
                                                                 "replication.cfg",
                                                                 "ceph.conf",
                                                                 "sdn/vnets.cfg",
                                                                 "sdn/zones.cfg",
                                                                 "sdn/controllers.cfg",
                                                                 "sdn/subnets.cfg",
                                                                 "sdn/ipams.cfg",
                                                                 "sdn/mac-cache.json",
                                                                 "sdn/pve-ipam-state.json",
                                                                 "sdn/dns.cfg",
                                                                 "sdn/fabrics.cfg",
                                                                 "sdn/route-maps.cfg",
                                                                 "sdn/prefix-lists.cfg",
                                                                 "sdn/.running-config",
                                                                 "virtual-guest/cpu-models.conf",
                                                                 "virtual-guest/profiles.cfg",
                                                                 "firewall/cluster.fw",
                                                                 "mapping/directory.cfg",
                                                                 "mapping/pci.cfg",
                                                                 "mapping/usb.cfg"};

/// Threads: any.
class ChangeCounters {
public:
    /// Adds one to the counter of exactly this path, if it is observed.
    void count(std::string_view path);
    /// Adds one to every counter: the tree was opened or replaced.
    void count_all();
    std::uint32_t get(std::size_t observed_path) const {
        return counters_[observed_path].load(std::memory_order_acquire);
    }

private:
    std::array<std::atomic<std::uint32_t>, kObservedPaths.size()> counters_{};
};

}  // namespace cfsgate::store
