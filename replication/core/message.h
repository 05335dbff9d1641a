// SPDX-License-Identifier: Apache-2.0
// The frame of every message of a group: WIRE.md, "Frame".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "replication/core/view.h"
#include "store/base/result.h"

namespace cfsgate::replication {

enum class MessageType : std::uint16_t {
    Normal = 0,          ///< a change, or a word of the status group
    SyncStart = 1,       ///< from the sync requester
    State = 2,           ///< a member's state
    Update = 3,          ///< from the leader: one entry
    UpdateComplete = 4,  ///< from the leader, after its updates
    VerifyRequest = 5,
    Verify = 6,
};

/// One round of state sync. Messages of another round are dropped, bit for bit.
struct Epoch {
    std::uint32_t counter = 0;  ///< of its maker, one more for each view change
    std::uint32_t time = 0;     ///< maker's clock, seconds since 1970
    Member maker;

    friend bool operator==(const Epoch&, const Epoch&) = default;
};

struct NormalMessage {
    std::uint16_t subtype = 0;
    std::uint32_t time = 0;   ///< sender's clock when it was made, seconds since 1970
    std::uint64_t count = 0;  ///< sender's private counter, from 1; never reset
    std::string body;

    friend bool operator==(const NormalMessage&, const NormalMessage&) = default;
};

/// All but normal messages.
struct SyncMessage {
    std::uint16_t type = 0;  ///< a MessageType, or one that nobody knows
    std::uint32_t time = 0;
    Epoch epoch;
    std::string body;

    friend bool operator==(const SyncMessage&, const SyncMessage&) = default;
};

/// A message that is not for us.
struct OlderProtocol {};  ///< of a peer that will leave by itself: ignored
struct NewerProtocol {};  ///< we must stay out until we are updated

using Message = std::variant<NormalMessage, SyncMessage, OlderProtocol, NewerProtocol>;

/// Errors: BadMessage where the header is cut short; the receiver leaves the group.
Result<Message> decode_message(std::string_view bytes, std::uint32_t protocol);

std::string encode_message(const NormalMessage& message, std::uint32_t protocol);
std::string encode_message(const SyncMessage& message, std::uint32_t protocol);

}  // namespace cfsgate::replication
