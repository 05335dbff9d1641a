// SPDX-License-Identifier: Apache-2.0
// Which guest is configured where: each VMID once in the whole cluster. In memory, always in line
// with the tree; version numbers start anew with the daemon.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/mutex.h"
#include "store/model/path.h"

namespace cfsgate::store {

struct Guest {
    std::string node;
    GuestType type = GuestType::Qemu;
    std::uint32_t version = 0;  ///< rises with each write of its configuration
};

/// Threads: any.
class GuestRegistry {
public:
    struct Listing {
        std::uint32_t version = 0;  ///< of the list
        std::map<std::uint32_t, Guest> guests;
    };
    Listing list() const CFSGATE_EXCLUDES(mutex_);
    std::optional<Guest> find(std::uint32_t vmid) const CFSGATE_EXCLUDES(mutex_);

    /// True if the VMID belongs to another node or type.
    bool conflicts(const GuestPath& path) const CFSGATE_EXCLUDES(mutex_);

    void add(const GuestPath& path) CFSGATE_EXCLUDES(mutex_);
    void remove(std::uint32_t vmid) CFSGATE_EXCLUDES(mutex_);

    struct Found {
        std::string node;
        GuestType type = GuestType::Qemu;
        std::uint32_t vmid = 0;
    };
    /// Starts anew from the tree's guests, in ascending order of inode: the first of a VMID wins.
    /// The list's version rises by one. Returns the ones left out.
    std::vector<Found> rebuild(const std::vector<Found>& found) CFSGATE_EXCLUDES(mutex_);

private:
    mutable Mutex mutex_;
    std::map<std::uint32_t, Guest> guests_ CFSGATE_GUARDED_BY(mutex_);
    std::uint32_t list_version_ CFSGATE_GUARDED_BY(mutex_) = 0;
    std::uint32_t guest_version_ CFSGATE_GUARDED_BY(mutex_) = 0;
};

}  // namespace cfsgate::store
