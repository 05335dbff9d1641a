// SPDX-License-Identifier: Apache-2.0
// Appends XDR words by hand, for the replies whose generated types would need a copy of the data or
// a list in memory: READ and the listings.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "gateway/nfs/xdr_types.h"
#include "store/base/bytes.h"

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
        store(raw, value);
        out_.append(raw, sizeof(T));
    }
    void put_opaque(std::string_view bytes) {
        put(static_cast<std::uint32_t>(bytes.size()));
        out_.append(bytes);
        out_.append(xdr_padding(bytes.size()), '\0');
    }
    /// post_op_attr that has them.
    void put_attributes(const fattr3& attributes) {
        char raw[kPostOpBytes];
        char* at = raw;
        const auto add = [&at](auto value) { at = store(at, value); };
        add(std::uint32_t{1});
        add(static_cast<std::uint32_t>(attributes.type));
        add(std::uint32_t{attributes.mode});
        add(std::uint32_t{attributes.nlink});
        add(std::uint32_t{attributes.uid});
        add(std::uint32_t{attributes.gid});
        add(std::uint64_t{attributes.size});
        add(std::uint64_t{attributes.used});
        add(std::uint32_t{attributes.rdev.specdata1});
        add(std::uint32_t{attributes.rdev.specdata2});
        add(std::uint64_t{attributes.fsid});
        add(std::uint64_t{attributes.fileid});
        for (const nfstime3& time : {attributes.atime, attributes.mtime, attributes.ctime}) {
            add(std::uint32_t{time.seconds});
            add(std::uint32_t{time.nseconds});
        }
        out_.append(raw, sizeof(raw));
    }

private:
    /// Returns what lies behind it.
    template <std::unsigned_integral T>
    static char* store(char* at, T value) {
        const T stored = big_endian(value);
        std::memcpy(at, &stored, sizeof(T));
        return at + sizeof(T);
    }

    std::string& out_;
};

}  // namespace cfsgate::gateway::nfs
