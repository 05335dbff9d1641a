// SPDX-License-Identifier: Apache-2.0
// The notes that adapters have left in the journal.
#pragma once

#include <string>
#include <vector>

#include "store/store.h"

namespace cfsgate::store {

/// Store::notes() of the journal in `directory`.
Result<std::vector<Store::Note>> read_notes(const std::string& directory, std::uint64_t store_id,
                                            std::uint32_t since, std::size_t most);

}  // namespace cfsgate::store
