// SPDX-License-Identifier: Apache-2.0
// The bodies of normal messages in the configuration group. WIRE.md, "Operations".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "store/base/result.h"
#include "store/model/operation.h"

namespace cfsgate::replication {

enum class OperationCode : std::uint16_t {
    Write = 1,
    MakeDirectory = 2,
    Delete = 3,
    Rename = 4,
    Create = 5,
    SetMtime = 6,
    UnlockRequest = 7,
    Unlock = 8,
};

/// Asks the lowest node to take away a lock whose time is over. Changes nothing by itself.
struct UnlockRequest {
    std::string path;
    Digest checksum{};  ///< of the lock's entry
};

using GroupOperation = std::variant<Operation, UnlockRequest>;

struct EncodedOperation {
    std::uint16_t subtype = 0;
    std::string body;
};

EncodedOperation encode_operation(const GroupOperation& operation);

/// Errors: BadMessage for an unknown subtype and for a body whose lengths disagree; the receiver
/// leaves the group. No other check is made here, since all nodes must agree on the result.
Result<GroupOperation> decode_operation(std::uint16_t subtype, std::string_view body);

}  // namespace cfsgate::replication
