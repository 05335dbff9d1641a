// SPDX-License-Identifier: Apache-2.0
// What one journal record says, and its bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/model/inode.h"
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

/// A tree taken over from another member: what of it was not here in the same way.
struct TakeoverRecord {
    TreeHead head;           ///< the tree's, after it
    std::uint32_t time = 0;  ///< by this node's clock
    std::string from;        ///< from whom, as it is shown
    Digest index{};          ///< SHA-256 of the encoded index after it, or kUncheckedIndex
    std::vector<InodeNumber> removed;
    std::vector<Entry> entries;  ///< inserted, or put in the place of what was there
};

/// Contents were taken out of the history: no replay gives the index of that time any more.
inline constexpr Digest kUncheckedIndex{};

bool is_takeover_record(std::string_view bytes);
std::string encode_takeover_record(const TakeoverRecord& record);
/// Errors: BadMessage.
Result<TakeoverRecord> decode_takeover_record(std::string_view bytes);

/// Of a record of either kind, without decoding the rest. Errors: BadMessage.
struct RecordHead {
    Version version;         ///< the tree's, after it
    std::uint32_t time = 0;  ///< of the stamp; of a takeover by this node's clock
};
Result<RecordHead> decode_record_head(std::string_view bytes);

}  // namespace cfsgate::store
