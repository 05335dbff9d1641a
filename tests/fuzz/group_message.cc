// SPDX-License-Identifier: Apache-2.0
// Everything that members of a group decode of each other's bytes: frames, operations, updates and
// indexes. What decodes encodes to the same bytes, or to the one form of them.
#include <algorithm>
#include <cstdint>
#include <string>
#include <variant>

#include "replication/core/message.h"
#include "replication/core/operation_codec.h"
#include "replication/core/state_sync.h"
#include "tests/fuzz/expect.h"

namespace {

using cfsgate::Errno;
using cfsgate::Result;
using cfsgate::fuzz::expect;
using namespace cfsgate::replication;

/// `name size` of an update, and the bytes before its name.
constexpr std::size_t kNameSizeOffset = 36;
constexpr std::size_t kNameOffset = 41;

template <class Value>
bool decoded(const Result<Value>& value) {
    if (!value) expect(value.error().code == Errno::BadMessage, "what is wrong is a BadMessage");
    return value.has_value();
}

void zero(std::string& bytes, std::size_t from, std::size_t count) {
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), count, '\0');
}

void try_index(std::string_view bytes) {
    const auto index = cfsgate::decode_index(bytes);
    if (!decoded(index)) return;
    expect(cfsgate::encode_index(*index) == bytes, "an index has one form");
    const auto decision =
        decide_sync({{{cfsgate::NodeId(1), 1}, std::string(bytes)},
                     {{cfsgate::NodeId(2), 2}, cfsgate::encode_index(cfsgate::Index())}});
    expect(decision.has_value(), "indexes that decode can be compared");
    expect(decision->synced.contains(decision->leader), "the leader has its own tree");
    expect(decision->send.size() <= index->entries.size(), "what is sent is in the leader's index");
}

void try_update(std::string_view bytes) {
    const auto entry = decode_update(bytes);
    if (!decoded(entry)) return;
    const std::string again = encode_update(*entry);
    const std::size_t name_bytes = entry->inode.name.size() + 1;
    const bool name_has_one_nul = bytes.size() == kNameOffset + name_bytes + entry->content.size();
    if (name_has_one_nul) {
        expect(again == bytes, "an update has one form");
    } else {
        expect(again.substr(0, kNameSizeOffset) == bytes.substr(0, kNameSizeOffset),
               "what is behind the NUL in a name changes nothing else");
    }
    const auto second = decode_update(again);
    expect(second && *second == *entry, "an update comes back");
}

void try_operation(std::uint16_t subtype, std::string_view body) {
    const auto operation = decode_operation(subtype, body);
    if (!decoded(operation)) return;
    const EncodedOperation first = encode_operation(*operation);
    expect(first.subtype == subtype, "an operation keeps its code");
    // A missing path is written as an empty one.
    expect(first.body.size() <= body.size() + 1, "encoding makes nothing up");
    const auto second = decode_operation(first.subtype, first.body);
    expect(second && encode_operation(*second).body == first.body, "an operation comes back");
}

void try_message(const std::string& bytes, std::uint32_t protocol) {
    const auto message = decode_message(bytes, protocol);
    if (!decoded(message)) return;
    std::string expected = bytes;
    zero(expected, 12, 4);  // reserved
    if (const auto* normal = std::get_if<NormalMessage>(&*message)) {
        expect(encode_message(*normal, protocol) == expected, "a normal message has one form");
        try_operation(normal->subtype, normal->body);
    } else if (const auto* sync = std::get_if<SyncMessage>(&*message)) {
        zero(expected, 2, 2);  // subtype
        expect(encode_message(*sync, protocol) == expected, "a sync message has one form");
        try_index(sync->body);
        try_update(sync->body);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string bytes(reinterpret_cast<const char*>(data), size);
    try_message(bytes, 0);
    try_message(bytes, 1);
    try_index(bytes);
    try_update(bytes);
    if (size > 0) try_operation(data[0], std::string_view(bytes).substr(1));
    return 0;
}
