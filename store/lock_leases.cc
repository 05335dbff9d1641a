// SPDX-License-Identifier: Apache-2.0
#include "store/lock_leases.h"

#include "store/model/limits.h"

namespace cfsgate::store {

bool LockLeases::expired(std::string_view path, const Digest& checksum) {
    const std::uint32_t now = clock_();
    MutexLock lock(mutex_);
    const auto found = leases_.find(path);
    if (found == leases_.end()) {
        leases_.emplace(path, Lease{now, checksum});
        return false;
    }
    Lease& lease = found->second;
    if (lease.checksum != checksum) {
        lease = {now, checksum};
        return false;
    }
    return now > lease.since && now - lease.since > limits::kLockSeconds;
}

void LockLeases::start(std::string_view path, const Digest& checksum) {
    const std::uint32_t now = clock_();
    MutexLock lock(mutex_);
    leases_.insert_or_assign(std::string(path), Lease{now, checksum});
}

void LockLeases::remove(std::string_view path) {
    MutexLock lock(mutex_);
    if (const auto found = leases_.find(path); found != leases_.end()) leases_.erase(found);
}

void LockLeases::rebuild(const std::vector<Lock>& locks) {
    const std::uint32_t now = clock_();
    MutexLock lock(mutex_);
    std::map<std::string, Lease, std::less<>> leases;
    for (const Lock& found : locks) {
        const auto known = leases_.find(found.path);
        const bool same = known != leases_.end() && known->second.checksum == found.checksum;
        leases.emplace(found.path, same ? known->second : Lease{now, found.checksum});
    }
    leases_ = std::move(leases);
}

}  // namespace cfsgate::store
