// SPDX-License-Identifier: Apache-2.0
#include "store/base/base64.h"

#include <cstdint>

namespace cfsgate {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::uint32_t byte_at(std::string_view bytes, std::size_t index) {
    return index < bytes.size() ? static_cast<unsigned char>(bytes[index]) : 0U;
}

/// The 6 bits of a character, or 64 for one that is not in the alphabet.
std::uint32_t value_of(char character) {
    if (character >= 'A' && character <= 'Z') return static_cast<std::uint32_t>(character - 'A');
    if (character >= 'a' && character <= 'z') {
        return static_cast<std::uint32_t>(character - 'a') + 26;
    }
    if (character >= '0' && character <= '9') {
        return static_cast<std::uint32_t>(character - '0') + 52;
    }
    if (character == '+') return 62;
    if (character == '/') return 63;
    return 64;
}

std::size_t padding_of(std::string_view text) {
    if (text.ends_with("==")) return 2;
    return text.ends_with("=") ? 1 : 0;
}

}  // namespace

std::string encode_base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::uint32_t group =
            byte_at(bytes, i) << 16 | byte_at(bytes, i + 1) << 8 | byte_at(bytes, i + 2);
        text += kAlphabet[group >> 18 & 63];
        text += kAlphabet[group >> 12 & 63];
        text += i + 1 < bytes.size() ? kAlphabet[group >> 6 & 63] : '=';
        text += i + 2 < bytes.size() ? kAlphabet[group & 63] : '=';
    }
    return text;
}

Result<std::string> decode_base64(std::string_view text) {
    if (text.size() % 4 != 0) return fail(Errno::BadMessage, "base64: length is no multiple of 4");
    const std::size_t padding = padding_of(text);
    const std::size_t digits = text.size() - padding;
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    std::uint32_t bits = 0;
    unsigned held = 0;  // number of bits in `bits` that are not yet written
    for (std::size_t i = 0; i < digits; ++i) {
        const std::uint32_t value = value_of(text[i]);
        if (value == 64) return fail(Errno::BadMessage, "base64: a character out of place");
        bits = (bits << 6 | value) & 0xffffU;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes += static_cast<char>(bits >> held & 0xffU);
        }
    }
    if ((bits & ((1U << held) - 1)) != 0) return fail(Errno::BadMessage, "base64: stray bits");
    return bytes;
}

}  // namespace cfsgate
