// SPDX-License-Identifier: Apache-2.0
// Overwrites what removed and replaced records have left behind in a file of LMDB.
#pragma once

#include <string>
#include <vector>

#include "store/base/mutex.h"
#include "store/lmdb/environment.h"

namespace cfsgate::store::lmdb {

/// For an environment that was renewed: buffers of LMDB's may hold what was in pages before. All
/// tables with content, and those whose pages came from the same buffers, are to be named.
/// Slow: all records of `tables` are written anew, in many small transactions, each with `writer`
/// held; the file may grow by some hundred pages. Forced to stable storage. Pages that a read
/// transaction still sees meanwhile may stay. An interrupted one leaves records in the table Meta
/// that only the next one takes away.
Status scrub(Environment& environment, const std::string& file, const std::vector<Table>& tables,
             Mutex& writer);

}  // namespace cfsgate::store::lmdb
