// SPDX-License-Identifier: Apache-2.0
// Repeats what the journal says: for the start of a store, and for its past.
#pragma once

#include <optional>
#include <string_view>

#include "store/base/clock.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

/// Applies a journal record to the tree that it was made on. Returns the entry that it was about;
/// none for a takeover. Errors: Corrupt, BadMessage: it does not belong there.
Result<std::optional<InodeNumber>> replay_record(TreeWriter& tree, std::string_view payload,
                                                 const WallClock& clock);

}  // namespace cfsgate::store
