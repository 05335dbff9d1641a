// SPDX-License-Identifier: Apache-2.0
// Reading and writing little-endian fields. Bounds are checked here once, so decoders are plain.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "store/base/result.h"

namespace cfsgate {

template <std::unsigned_integral T>
constexpr T reversed_bytes(T value) {
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    return value;
}
/// To and from these orders, from and to this processor's.
template <std::unsigned_integral T>
constexpr T little_endian(T value) {
    return std::endian::native == std::endian::little ? value : reversed_bytes(value);
}
template <std::unsigned_integral T>
constexpr T big_endian(T value) {
    return std::endian::native == std::endian::little ? reversed_bytes(value) : value;
}

/// Reads fields in order. Failure is sticky: read every field, ask once with finish(). Lengths are
/// consumed one by one and never added up. A field read after the failure is zero or empty.
class ByteReader {
public:
    explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

    template <std::unsigned_integral T>
    T take() {
        const std::string_view raw = take_bytes(sizeof(T));
        if (raw.empty()) return 0;
        T value = 0;
        std::memcpy(&value, raw.data(), sizeof(T));
        return little_endian(value);
    }

    std::string_view take_bytes(std::size_t count) {
        if (failed_ || count > rest_.size()) {
            failed_ = true;
            rest_ = {};
            return {};
        }
        const auto front = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return front;
    }

    /// `size` bytes of which the last must be NUL; the text up to the first NUL. Size 0 is "".
    std::string_view take_c_string(std::size_t size) {
        const std::string_view raw = take_bytes(size);
        if (raw.empty()) return {};
        if (raw.back() != '\0') {
            failed_ = true;
            return {};
        }
        return raw.substr(0, raw.find('\0'));
    }

    std::string_view take_rest() { return take_bytes(rest_.size()); }
    std::size_t remaining() const { return rest_.size(); }
    bool failed() const { return failed_; }

    /// BadMessage if a field ran past the end, or if bytes are left over.
    Status finish(const char* what) const {
        if (failed_) return fail(Errno::BadMessage, std::string(what) + ": cut short");
        if (!rest_.empty()) return fail(Errno::BadMessage, std::string(what) + ": bytes left over");
        return {};
    }

private:
    std::string_view rest_;
    bool failed_ = false;
};

/// Appends little-endian fields.
class ByteWriter {
public:
    template <std::unsigned_integral T>
    void put(T value) {
        const T stored = little_endian(value);
        char raw[sizeof(T)];
        std::memcpy(raw, &stored, sizeof(T));
        bytes_.append(raw, sizeof(T));
    }
    void put_bytes(std::string_view bytes) { bytes_.append(bytes); }
    /// A u32 length, then the bytes.
    void put_sized(std::string_view bytes) {
        put(static_cast<std::uint32_t>(bytes.size()));
        put_bytes(bytes);
    }
    void put_c_string(std::string_view text) {
        bytes_.append(text);
        bytes_.push_back('\0');
    }

    void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
    const std::string& bytes() const { return bytes_; }
    std::string take() { return std::move(bytes_); }
    void clear() { bytes_.clear(); }

private:
    std::string bytes_;
};

}  // namespace cfsgate
