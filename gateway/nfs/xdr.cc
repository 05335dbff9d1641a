// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/xdr.h"

#include <limits>

namespace cfsgate::gateway::nfs::detail {
namespace {

std::string& output(XDR* stream) { return *static_cast<std::string*>(stream->x_private); }

bool_t put_long(XDR* stream, const long* value) noexcept {
    const auto word = static_cast<std::uint32_t>(*value);
    const char raw[] = {static_cast<char>(word >> 24), static_cast<char>(word >> 16),
                        static_cast<char>(word >> 8), static_cast<char>(word)};
    output(stream).append(raw, sizeof(raw));
    return TRUE;
}

bool_t put_bytes(XDR* stream, const char* bytes, u_int size) noexcept {
    output(stream).append(bytes, size);
    return TRUE;
}

u_int position(XDR* stream) noexcept { return static_cast<u_int>(output(stream).size()); }

// What no encoder asks for.
bool_t no_long(XDR*, long*) noexcept { return FALSE; }
bool_t no_bytes(XDR*, char*, u_int) noexcept { return FALSE; }
bool_t no_position(XDR*, u_int) noexcept { return FALSE; }
std::int32_t* no_inline(XDR*, u_int) noexcept { return nullptr; }
void nothing(XDR*) noexcept {}
bool_t no_control(XDR*, int, void*) noexcept { return FALSE; }

constexpr XDR::xdr_ops kAppending{.x_getlong = no_long,
                                  .x_putlong = put_long,
                                  .x_getbytes = no_bytes,
                                  .x_putbytes = put_bytes,
                                  .x_getpostn = position,
                                  .x_setpostn = no_position,
                                  .x_inline = no_inline,
                                  .x_destroy = nothing,
                                  .x_control = no_control};

}  // namespace

XDR appending_stream(std::string& out) {
    XDR stream{};
    stream.x_op = XDR_ENCODE;
    stream.x_ops = &kAppending;
    stream.x_private = &out;
    return stream;
}

XDR reading_stream(std::string_view bytes) {
    XDR stream{};
    // Reading leaves the bytes alone. More than the type can say is no record of ours.
    const auto size = bytes.size() <= std::numeric_limits<u_int>::max() ? bytes.size() : 0;
    xdrmem_create(&stream, const_cast<char*>(bytes.data()), static_cast<u_int>(size), XDR_DECODE);
    return stream;
}

XDR freeing_stream() {
    XDR stream{};
    stream.x_op = XDR_FREE;
    return stream;
}

}  // namespace cfsgate::gateway::nfs::detail
