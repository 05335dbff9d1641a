// SPDX-License-Identifier: Apache-2.0
// The messages under tests/data/vectors, as they stood on the wire.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/vectors.h"

namespace cfsgate::test {

struct RecordedMessage {
    std::uint32_t protocol = 1;
    std::string bytes;
    nlohmann::json row;

    std::string body(std::size_t header_bytes) const { return bytes.substr(header_bytes); }
};

inline constexpr std::size_t kNormalHeaderBytes = 24;
inline constexpr std::size_t kSyncHeaderBytes = 32;

inline RecordedMessage recorded(const nlohmann::json& row, std::uint32_t protocol = 1) {
    RecordedMessage message{protocol, from_hex(row.at("message_hex").get<std::string>()), row};
    if (row.value("zero_filled_to_length", false)) {
        message.bytes.resize(row.at("length").get<std::size_t>(), '\0');
    }
    return message;
}

/// The 31 calls of one node, then what unlocking took.
inline std::vector<RecordedMessage> recorded_operations() {
    const auto vectors = load_vectors("dcdb-normal-messages.json");
    std::vector<RecordedMessage> all;
    for (const auto& row : vectors.at("messages")) all.push_back(recorded(row));
    for (const char* name :
         {"unlock_request_too_early", "unlock_request_expired", "unlock_sent_by_lowest_node"}) {
        all.push_back(recorded(vectors.at(name)));
    }
    return all;
}

inline std::vector<RecordedMessage> recorded_rounds() {
    std::vector<RecordedMessage> all;
    for (const char* name : {"dcdb-sync-traces.json", "dcdb-queue-order.json"}) {
        const auto vectors = load_vectors(name);
        for (const auto& scenario : vectors.at("scenarios")) {
            for (const auto& row : scenario.at("trace")) all.push_back(recorded(row));
            if (!scenario.contains("verification")) continue;
            for (const auto& row : scenario["verification"]["messages"]) {
                all.push_back(recorded(row));
            }
        }
    }
    return all;
}

inline std::vector<RecordedMessage> recorded_status_messages() {
    const auto vectors = load_vectors("kvstore-messages.json");
    std::vector<RecordedMessage> all;
    for (const auto& row : vectors.at("messages")) all.push_back(recorded(row, 0));
    for (const char* name : {"messages_of_node1", "state_of_node2"}) {
        for (const auto& row : vectors["sync"][name]) all.push_back(recorded(row, 0));
    }
    return all;
}

inline std::vector<RecordedMessage> all_recorded() {
    std::vector<RecordedMessage> all = recorded_operations();
    for (auto& message : recorded_rounds()) all.push_back(std::move(message));
    for (auto& message : recorded_status_messages()) all.push_back(std::move(message));
    return all;
}

inline bool is_normal(const RecordedMessage& message) {
    return message.bytes.at(0) == '\0' && message.bytes.at(1) == '\0';
}

/// `bytes` with the little-endian u32 at `offset` replaced.
inline std::string with_u32(std::string bytes, std::size_t offset, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) {
        bytes.at(offset + i) = static_cast<char>(value >> (8 * i) & 0xff);
    }
    return bytes;
}

}  // namespace cfsgate::test
