// SPDX-License-Identifier: Apache-2.0
// What the store keeps beside the tree, found in the tree.
#pragma once

#include <vector>

#include "store/guest_registry.h"
#include "store/lock_leases.h"
#include "store/store.h"

namespace cfsgate::store {

/// Every guest that the tree configures, ascending by inode.
Result<std::vector<GuestRegistry::Found>> find_guests(const ReadView& view);
/// Every lock that is held.
Result<std::vector<LockLeases::Lock>> find_locks(const ReadView& view);

}  // namespace cfsgate::store
