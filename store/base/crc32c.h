// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace cfsgate {

/// CRC-32C (Castagnoli; RFC 3720, 12.1), by the processor's instruction where it has one.
class Crc32c {
public:
    void add(std::string_view bytes);
    std::uint32_t value() const { return ~state_; }

    static std::uint32_t of(std::string_view bytes) {
        Crc32c crc;
        crc.add(bytes);
        return crc.value();
    }

private:
    std::uint32_t state_ = ~std::uint32_t{0};
};

}  // namespace cfsgate
