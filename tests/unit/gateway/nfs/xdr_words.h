// SPDX-License-Identifier: Apache-2.0
// XDR by hand, as the RFCs spell it, for what is compared byte for byte.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace cfsgate::test {

inline std::string words(std::initializer_list<std::uint32_t> values) {
    std::string out;
    for (const std::uint32_t value : values) {
        for (int shift = 24; shift >= 0; shift -= 8) {
            out.push_back(static_cast<char>(value >> shift));
        }
    }
    return out;
}

/// Length, bytes, padding.
inline std::string opaque(std::string_view bytes) {
    std::string out = words({static_cast<std::uint32_t>(bytes.size())});
    out += bytes;
    out.append((4 - bytes.size() % 4) % 4, '\0');
    return out;
}

/// The words in front of where `at` points, which then is behind it.
inline std::uint32_t take_word(std::string_view& at) {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
        value = (value << 8) | static_cast<unsigned char>(at.at(static_cast<std::size_t>(i)));
    }
    at.remove_prefix(4);
    return value;
}

}  // namespace cfsgate::test
