// SPDX-License-Identifier: Apache-2.0
// The file `state`: what store this is, and whether tree.mdb may be trusted.
#pragma once

#include <cstdint>
#include <string>

#include "store/base/result.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

inline constexpr const char* kStateFileName = "state";

struct StateFile {
    StoreIds ids;
    bool clean = false;
    std::string boot_id;  ///< of the boot that uses it, where not clean
};

/// Errors: NotFound, Corrupt.
Result<StateFile> read_state_file(const std::string& directory);
/// Durable when it returns.
Status write_state_file(const std::string& directory, const StateFile& state);

std::string system_boot_id();

}  // namespace cfsgate::store
