// SPDX-License-Identifier: Apache-2.0
// Takes the content of entries out of the past.
#pragma once

#include <string>

#include "store/base/result.h"
#include "store/history/past_tree.h"
#include "store/history/reports.h"

namespace cfsgate::store {

/// In all snapshots and in the journal up to the record `upto`: each entry that ever was at `path`
/// or below it keeps its records and its sizes, and of its content only the bytes that it has now
/// (in `now`, the tree at `upto`) at the same place; the rest becomes zeros. So a replay gives the
/// same tree as before, from wherever it starts. Each file is written beside and renamed, and the
/// old one's bytes are overwritten: an interrupted purge leaves a good store, and can be repeated.
/// Nobody may write snapshots, or to segments that have records up to `upto`, meanwhile.
Result<PurgeReport> purge_past(const PastSource& source, const std::string& path, Sequence upto,
                               const TreeReader& now);

}  // namespace cfsgate::store
