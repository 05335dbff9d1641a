// SPDX-License-Identifier: Apache-2.0
// What members of the configuration group conclude from each other's indexes. WIRE.md, "State sync".
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "replication/core/view.h"
#include "store/base/result.h"
#include "store/model/index.h"
#include "store/model/inode.h"

namespace cfsgate::replication {

struct SyncDecision {
    Member leader;
    std::set<Member> synced;        ///< those whose index is the leader's, to the byte
    std::vector<InodeNumber> send;  ///< ascending: what some member lacks or has otherwise
};

/// Every member's encoded index. Errors: BadMessage for one that does not decode.
Result<SyncDecision> decide_sync(const std::map<Member, std::string>& indexes);

/// The body of an Update message. The sender's store says what the entry holds.
std::string encode_update(const Entry& entry);
/// Errors: BadMessage where lengths or type are wrong.
Result<Entry> decode_update(std::string_view body);

}  // namespace cfsgate::replication
