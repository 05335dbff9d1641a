// SPDX-License-Identifier: Apache-2.0
// SHA-256 over entries, in the three forms that peers compare.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "store/model/inode.h"
#include "store/model/operation.h"

namespace cfsgate {

class Sha256 {
public:
    Sha256();
    ~Sha256();
    Sha256(Sha256&&) noexcept;
    Sha256& operator=(Sha256&&) noexcept;

    void update(std::string_view bytes);
    /// The digest; the object then starts anew.
    Digest finish();

    static Digest of(std::string_view bytes);

private:
    struct Context;
    std::unique_ptr<Context> context_;
};

/// The digest of an entry in the index: version, writer, mtime, size, type, parent, name, content;
/// the inode is not part of it.
Digest index_digest(const Inode& inode, std::string_view content);

/// The checksum of one entry, as locks use it: inode, then version, writer, mtime, size, type,
/// parent, name, content.
Digest entry_checksum(const Inode& inode, std::string_view content);

/// Adds one entry to the checksum of the whole tree; call in ascending order of inode, root first.
void add_to_tree_checksum(Sha256& sum, const Inode& inode, std::string_view content);

std::string to_hex(const Digest& digest);

}  // namespace cfsgate
