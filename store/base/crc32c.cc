// SPDX-License-Identifier: Apache-2.0
#include "store/base/crc32c.h"

#include <isa-l/crc.h>

namespace cfsgate {

void Crc32c::add(std::string_view bytes) {
    constexpr std::size_t kChunk = 1U << 30;  // the library's length is an int
    while (!bytes.empty()) {
        const std::string_view chunk = bytes.substr(0, kChunk);
        // The library only reads, although its argument is not const.
        auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(chunk.data()));
        state_ = ::crc32_iscsi(data, static_cast<int>(chunk.size()), state_);
        bytes.remove_prefix(chunk.size());
    }
}

}  // namespace cfsgate
