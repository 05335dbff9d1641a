// SPDX-License-Identifier: Apache-2.0
#include "store/guest_registry.h"

namespace cfsgate::store {

GuestRegistry::Listing GuestRegistry::list() const {
    MutexLock lock(mutex_);
    return {list_version_, guests_};
}

std::optional<Guest> GuestRegistry::find(std::uint32_t vmid) const {
    MutexLock lock(mutex_);
    const auto found = guests_.find(vmid);
    if (found == guests_.end()) return {};
    return found->second;
}

bool GuestRegistry::conflicts(const GuestPath& path) const {
    MutexLock lock(mutex_);
    const auto found = guests_.find(path.vmid);
    return found != guests_.end() &&
           (found->second.node != path.node || found->second.type != path.type);
}

void GuestRegistry::add(const GuestPath& path) {
    MutexLock lock(mutex_);
    guests_[path.vmid] = Guest{std::string(path.node), path.type, ++guest_version_};
    ++list_version_;
}

void GuestRegistry::remove(std::uint32_t vmid) {
    MutexLock lock(mutex_);
    guests_.erase(vmid);
    ++list_version_;
}

std::vector<GuestRegistry::Found> GuestRegistry::rebuild(const std::vector<Found>& found) {
    MutexLock lock(mutex_);
    guests_.clear();
    ++list_version_;
    std::vector<Found> left_out;
    for (const Found& guest : found) {
        const auto [at, added] =
            guests_.try_emplace(guest.vmid, Guest{guest.node, guest.type, guest_version_ + 1});
        if (added) {
            ++guest_version_;
        } else {
            left_out.push_back(guest);
        }
    }
    return left_out;
}

}  // namespace cfsgate::store
