// SPDX-License-Identifier: Apache-2.0
// Values of the generated protocol types to and from XDR bytes (RFC 4506).
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "gateway/nfs/xdr_types.h"
#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

/// A decoded value; frees what it points to. What it allocates is bounded by a small multiple of
/// the bytes. Not for types that link to themselves (entry3, mountlist): decoding those recurses.
template <class T>
class Decoded {
public:
    /// All of `bytes` as one T. Errors: BadMessage, also if bytes are left over.
    static Result<Decoded> whole(std::string_view bytes);
    /// One T from the front of `bytes`, which then begins behind it. Errors: BadMessage; `bytes`
    /// is then as it was.
    static Result<Decoded> front(std::string_view& bytes);

    Decoded(Decoded&& other) noexcept : value_(std::exchange(other.value_, T{})) {}
    Decoded& operator=(Decoded&& other) noexcept {
        std::swap(value_, other.value_);
        return *this;
    }
    Decoded(const Decoded&) = delete;
    Decoded& operator=(const Decoded&) = delete;
    ~Decoded();

    const T& operator*() const { return value_; }
    const T* operator->() const { return &value_; }

private:
    Decoded() = default;

    T value_{};
};

namespace detail {
/// An XDR stream that appends to `out`. It must not outlive it.
XDR appending_stream(std::string& out);
/// A stream that reads `bytes`.
XDR reading_stream(std::string_view bytes);
/// A stream that frees.
XDR freeing_stream();
}  // namespace detail

/// Appends the bytes of `value`. Errors: Invalid, for what its type has no bytes for, such as text
/// beyond its limit; `out` is then as it was.
template <class T>
Status append_xdr(const T& value, std::string& out) {
    const std::size_t before = out.size();
    XDR stream = detail::appending_stream(out);
    // The codecs take a pointer to what they could change, as they also decode.
    if (xdr_value(&stream, const_cast<T*>(&value)) != FALSE) return {};
    out.resize(before);
    return fail(Errno::Invalid, "this value cannot be encoded");
}

/// Errors: as append_xdr().
template <class T>
Result<std::string> encode_xdr(const T& value) {
    std::string out;
    CFSGATE_TRY(append_xdr(value, out));
    return out;
}

template <class T>
Result<Decoded<T>> Decoded<T>::front(std::string_view& bytes) {
    Decoded decoded;
    XDR stream = detail::reading_stream(bytes);
    if (xdr_value(&stream, &decoded.value_) == FALSE) {
        return fail(Errno::BadMessage, "does not decode");
    }
    bytes.remove_prefix(XDR_GETPOS(&stream));
    return decoded;
}

template <class T>
Result<Decoded<T>> Decoded<T>::whole(std::string_view bytes) {
    Decoded decoded = CFSGATE_TRY(front(bytes));
    if (!bytes.empty()) return fail(Errno::BadMessage, "bytes left over");
    return decoded;
}

template <class T>
Decoded<T>::~Decoded() {
    XDR stream = detail::freeing_stream();
    xdr_value(&stream, &value_);
}

}  // namespace cfsgate::gateway::nfs
