// SPDX-License-Identifier: Apache-2.0
// Whether a change would find room.
#pragma once

#include <cstdint>
#include <string>

#include "store/base/result.h"

namespace cfsgate::store {

namespace lmdb {
class Environment;
}

/// Whether the largest change of a file fits on the disk of `directory` and into the map, with some
/// to spare, and a segment of the journal. Nothing is left of the attempt. Errors: NoSpace, and what
/// the system says.
Status probe_space(const std::string& directory, std::uint64_t segment_bytes,
                   lmdb::Environment& environment);

/// Whether a transaction finds room for `bytes` in the map. Errors: NoSpace; InputOutput.
Status probe_map(std::size_t bytes, lmdb::Environment& environment);

/// Whether a small file can be written to `directory` and flushed. Nothing is left of it. Errors: what
/// the system says.
Status probe_flush(const std::string& directory);

}  // namespace cfsgate::store
