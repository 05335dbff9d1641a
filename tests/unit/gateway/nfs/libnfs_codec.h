// SPDX-License-Identifier: Apache-2.0
// A few messages coded by libnfs, as a second opinion on our bytes. Apart from our own headers,
// since both define the protocol's names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cfsgate::test {

/// Arguments of a WRITE.
struct WriteCall {
    std::string handle;
    std::uint64_t offset = 0;
    std::uint32_t count = 0;
    std::uint32_t stable = 0;
    std::string data;

    friend bool operator==(const WriteCall&, const WriteCall&) = default;
};
std::string libnfs_encode(const WriteCall& call);
std::optional<WriteCall> libnfs_decode_write(const std::string& bytes);

/// The entries of a successful READDIRPLUS.
struct ListedEntry {
    std::string name;
    std::uint64_t fileid = 0;
    std::uint64_t cookie = 0;
    std::uint64_t size = 0;      ///< of its attributes; 0 without
    std::uint32_t ctime_ns = 0;  ///< of its attributes; 0 without
    std::string handle;          ///< empty without

    friend bool operator==(const ListedEntry&, const ListedEntry&) = default;
};
std::optional<std::vector<ListedEntry>> libnfs_decode_listing(const std::string& bytes);

/// Arguments of an EXCLUSIVE CREATE.
std::string libnfs_encode_exclusive_create(const std::string& handle, const std::string& name,
                                           const std::string& verifier);

}  // namespace cfsgate::test
