// SPDX-License-Identifier: Apache-2.0
// The file `state`: what store this is, and whether tree.mdb may be trusted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/base/result.h"
#include "store/file_sum.h"
#include "store/tree_tables.h"

namespace cfsgate::store {

inline constexpr const char* kStateFileName = "state";

struct StateFile {
    StoreIds ids;
    /// File-system ids that this store had before, newest first; their handles stay good.
    std::vector<std::uint64_t> former;
    /// Filling: an import is under way; until it has ended there is no store.
    enum class Word : std::uint8_t { Clean, InUse, Filling } word = Word::InUse;
    std::string boot_id;  ///< of the boot that uses it, where in use
    /// Journal record 1 applies to the empty tree; else the first snapshot is where it begins.
    bool from_empty = true;
    /// What tree.mdb was when it was left, where clean.
    std::optional<FileSum> tree;

    bool clean() const { return word == Word::Clean; }
};

/// Errors: NotFound, Corrupt.
Result<StateFile> read_state_file(const std::string& directory);
/// Durable when it returns.
Status write_state_file(const std::string& directory, const StateFile& state);

std::string system_boot_id();

}  // namespace cfsgate::store
