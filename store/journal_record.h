// SPDX-License-Identifier: Apache-2.0
// What one journal record says, and its bytes.
#pragma once

#include <string>
#include <string_view>

#include "store/base/result.h"
#include "store/model/operation.h"

namespace cfsgate::store {

/// An applied operation: only what changed the tree is recorded.
struct JournalRecord {
    Version version;  ///< the tree's, after the operation
    Stamp stamp;
    Operation operation;
    /// What an adapter keeps with the change on this node alone, such as the reply to its caller.
    std::string note = {};
};

std::string encode_journal_record(const JournalRecord& record);
/// Errors: BadMessage.
Result<JournalRecord> decode_journal_record(std::string_view bytes);

}  // namespace cfsgate::store
