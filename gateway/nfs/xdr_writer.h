// SPDX-License-Identifier: Apache-2.0
// Appends XDR words by hand, for the replies whose generated types would need a copy of the data or
// a list in memory: READ and the listings.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/nfs/xdr_types.h"

namespace cfsgate::gateway::nfs {

/// What pads `size` bytes to a multiple of four (RFC 4506, 4.9).
constexpr std::size_t xdr_padding(std::size_t size) { return (4 - size % 4) % 4; }

/// post_op_attr with attributes, on the wire.
inline constexpr std::size_t kPostOpBytes = 4 + 84;

class XdrWriter {
public:
    explicit XdrWriter(std::string& out) : out_(out) {}

    template <std::unsigned_integral T>
    void put(T value) {
        char raw[sizeof(T)];
        for (std::size_t i = sizeof(T); i-- > 0;) {
            raw[i] = static_cast<char>(value & 0xff);
            value = static_cast<T>(std::uint64_t{value} >> 8);
        }
        out_.append(raw, sizeof(T));
    }
    void put_opaque(std::string_view bytes) {
        put(static_cast<std::uint32_t>(bytes.size()));
        out_.append(bytes);
        out_.append(xdr_padding(bytes.size()), '\0');
    }
    /// post_op_attr that has them.
    void put_attributes(const fattr3& attributes) {
        put(std::uint32_t{1});
        put(static_cast<std::uint32_t>(attributes.type));
        for (const std::uint32_t word :
             {attributes.mode, attributes.nlink, attributes.uid, attributes.gid}) {
            put(word);
        }
        put(std::uint64_t{attributes.size});
        put(std::uint64_t{attributes.used});
        put(attributes.rdev.specdata1);
        put(attributes.rdev.specdata2);
        put(std::uint64_t{attributes.fsid});
        put(std::uint64_t{attributes.fileid});
        for (const nfstime3& time : {attributes.atime, attributes.mtime, attributes.ctime}) {
            put(time.seconds);
            put(time.nseconds);
        }
    }

private:
    std::string& out_;
};

}  // namespace cfsgate::gateway::nfs
