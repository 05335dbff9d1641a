// SPDX-License-Identifier: Apache-2.0
// Makes a submission ready for the tree that it is about to meet.
#pragma once

#include "replication/sequencer.h"

namespace cfsgate::replication {

/// Puts the paths where the inodes now are, an append at the file's end, and asks the check. Errors:
/// as Submission says.
Status prepare(const store::ReadView& view, Submission& submission);

}  // namespace cfsgate::replication
