// SPDX-License-Identifier: Apache-2.0
#include "store/entry_codec.h"

#include <cstdint>

namespace cfsgate::store {

void put_entry(ByteWriter& out, const Inode& inode, std::string_view content) {
    out.put(inode.number.value());
    out.put(inode.parent.value());
    out.put(inode.version.value());
    out.put(inode.writer.value());
    out.put(inode.mtime);
    out.put(inode.size);
    out.put(static_cast<std::uint8_t>(inode.type));
    out.put(static_cast<std::uint8_t>(inode.unbacked ? 1 : 0));
    out.put_sized(inode.name);
    out.put_sized(content);
}

Inode take_entry(ByteReader& in, std::string_view* content) {
    Inode inode;
    inode.number = InodeNumber(in.take<std::uint64_t>());
    inode.parent = InodeNumber(in.take<std::uint64_t>());
    inode.version = Version(in.take<std::uint64_t>());
    inode.writer = NodeId(in.take<std::uint32_t>());
    inode.mtime = in.take<std::uint32_t>();
    inode.size = in.take<std::uint32_t>();
    inode.type = static_cast<EntryType>(in.take<std::uint8_t>());
    inode.unbacked = in.take<std::uint8_t>() != 0;
    inode.name = in.take_bytes(in.take<std::uint32_t>());
    *content = in.take_bytes(in.take<std::uint32_t>());
    return inode;
}

bool content_fits(const Inode& inode, std::string_view content) {
    return content.size() == (inode.unbacked ? 0 : inode.size);
}

}  // namespace cfsgate::store
