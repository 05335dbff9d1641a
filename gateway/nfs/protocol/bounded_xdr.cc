// SPDX-License-Identifier: Apache-2.0
// The generated decoders call these instead of the library's functions of the same names without
// `cfsgate_` (nfs/CMakeLists.txt). The library allocates what a length field says and then looks
// whether the bytes are there; here the bytes are counted first, so that a record cannot make us
// allocate more than a small multiple of its own size.
#include <cstdint>
#include <cstring>
#include <limits>

#include <rpc/types.h>
#include <rpc/xdr.h>

namespace {

/// The length that comes next, without taking it; false if there is none.
bool peek_length(XDR* stream, u_int position, u_int& length) {
    return xdr_u_int(stream, &length) != FALSE && XDR_SETPOS(stream, position) != FALSE;
}

/// Whether the length that comes next is followed by so many units of `unit_bytes`.
bool holds_counted(XDR* stream, std::uint64_t unit_bytes) {
    const u_int position = XDR_GETPOS(stream);
    u_int count = 0;
    if (!peek_length(stream, position, count)) return false;
    const std::uint64_t end = position + std::uint64_t{sizeof(count)} + count * unit_bytes;
    if (end > std::numeric_limits<u_int>::max()) return false;
    // A stream in memory refuses a position behind its end.
    return XDR_SETPOS(stream, static_cast<u_int>(end)) != FALSE &&
           XDR_SETPOS(stream, position) != FALSE;
}

}  // namespace

extern "C" {

bool_t cfsgate_xdr_bytes(XDR* stream, char** bytes, u_int* size, u_int size_max) {
    if (stream->x_op == XDR_DECODE && !holds_counted(stream, 1)) return FALSE;
    return xdr_bytes(stream, bytes, size, size_max);
}

/// Also refuses text with a NUL: whoever reads it as a C string would see another text.
bool_t cfsgate_xdr_string(XDR* stream, char** text, u_int size_max) {
    if (stream->x_op != XDR_DECODE) return xdr_string(stream, text, size_max);
    u_int size = 0;
    return holds_counted(stream, 1) && peek_length(stream, XDR_GETPOS(stream), size) &&
           xdr_string(stream, text, size_max) != FALSE && std::strlen(*text) == size;
}

bool_t cfsgate_xdr_array(XDR* stream, caddr_t* items, u_int* count, u_int count_max,
                         u_int item_bytes, xdrproc_t item) {
    // Every type takes four bytes at least.
    if (stream->x_op == XDR_DECODE && !holds_counted(stream, 4)) return FALSE;
    return xdr_array(stream, items, count, count_max, item_bytes, item);
}

}  // extern "C"
