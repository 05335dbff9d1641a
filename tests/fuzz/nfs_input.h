// SPDX-License-Identifier: Apache-2.0
// Calls of procedures as fuzzers read them.
//
// An input is a series of calls, each: u8 procedure (modulo) | u8 caller | u16 size of the arguments
// (big-endian) | arguments. In the arguments a word at a multiple of four may stand for a whole
// handle, so that depth is reached:
//   "HND" and an index: that of an entry of the tree, or a stale one (small_tree.h);
//   "FID" and any byte, then eight bytes: a well-formed handle of that file id.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/nfs/adapter.h"
#include "gateway/nfs/xdr_writer.h"
#include "tests/fuzz/small_tree.h"

namespace cfsgate::fuzz {

struct Call {
    std::uint32_t procedure = 0;
    std::uint8_t caller = 0;
    std::string arguments;

    bool by_root() const { return caller % 5 == 0; }
};

inline gateway::nfs::ServedAsPtr served_as(std::uint8_t caller) {
    static const gateway::Restriction kReadOnly{true, {}};
    static const gateway::Restriction kNoPrivate{false, {}};
    gateway::nfs::Identity identity;
    switch (caller % 5) {
        case 0: identity = {0, 0, {}, nullptr}; break;
        case 1: identity = {1000, 1000, {33}, nullptr}; break;
        case 2: break;  // nobody
        case 3: identity = {0, 0, {}, &kReadOnly}; break;
        default: identity = {0, 0, {}, &kNoPrivate}; break;
    }
    return std::make_shared<const gateway::nfs::ServedAs>(identity);
}

inline std::uint64_t big_endian(std::string_view bytes) {
    std::uint64_t value = 0;
    for (const char byte : bytes) value = (value << 8) | static_cast<unsigned char>(byte);
    return value;
}

inline std::string with_handles(const SmallTree& tree, std::string_view raw) {
    std::string out;
    gateway::nfs::XdrWriter writer(out);
    while (!raw.empty()) {
        const std::string_view word = raw.substr(0, 4);
        raw.remove_prefix(word.size());
        if (word.size() == 4 && word.starts_with("HND")) {
            writer.put_opaque(tree.handle(static_cast<std::uint8_t>(word[3])));
        } else if (word.starts_with("FID") && raw.size() >= 8) {
            writer.put_opaque(tree.handle_of(big_endian(raw.substr(0, 8))));
            raw.remove_prefix(8);
        } else {
            out.append(word);
        }
    }
    return out;
}

/// The next one; nothing at the end of the input.
inline std::optional<Call> take_call(const SmallTree& tree, std::string_view& input,
                                     std::uint32_t procedures) {
    if (input.size() < 4) return {};
    Call call;
    call.procedure = static_cast<unsigned char>(input[0]) % procedures;
    call.caller = static_cast<std::uint8_t>(input[1]);
    const auto size = static_cast<std::size_t>(big_endian(input.substr(2, 2)));
    input.remove_prefix(4);
    call.arguments = with_handles(tree, input.substr(0, size));
    input.remove_prefix(std::min(size, input.size()));
    return call;
}

}  // namespace cfsgate::fuzz
