// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/file_handle.h"

#include <cstring>

#include "store/base/bytes.h"
#include "store/base/crc32c.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::uint32_t kFormat = 1;  // with the three zero bytes

}  // namespace

std::string encode_handle(std::uint64_t file_system, FileId id) {
    // Without a writer that grows: a listing makes a thousand of them.
    std::string bytes(kHandleBytes, '\0');
    char* at = bytes.data();
    const auto put = [&at](auto value) {
        value = little_endian(value);
        std::memcpy(at, &value, sizeof(value));
        at += sizeof(value);
    };
    put(kFormat);
    put(file_system);
    put(id.value());
    put(Crc32c::of(std::string_view(bytes).substr(0, kHandleBytes - sizeof(std::uint32_t))));
    return bytes;
}

Result<FileHandle> decode_handle(std::string_view bytes) {
    ByteReader in(bytes);
    const auto format = in.take<std::uint32_t>();
    const auto of = in.take<std::uint64_t>();
    const FileId id(in.take<std::uint64_t>());
    const auto crc = in.take<std::uint32_t>();
    CFSGATE_TRY(in.finish("file handle"));
    if (crc != Crc32c::of(bytes.substr(0, kHandleBytes - sizeof(crc)))) {
        return fail(Errno::BadMessage, "file handle: the checksum is wrong");
    }
    if (format != kFormat) return fail(Errno::BadMessage, "file handle: unknown format");
    // The root's number in the tree, and another name for it here: what is asked of kRootId would not
    // be asked of it.
    if (id == FileId()) return fail(Errno::BadMessage, "file handle: of no entry");
    return FileHandle{of, id};
}

Result<FileId> decode_handle(std::string_view bytes, std::uint64_t file_system) {
    const FileHandle handle = CFSGATE_TRY(decode_handle(bytes));
    if (handle.file_system == file_system) return handle.id;
    return fail(Errno::StaleHandle, "file handle: of another file system");
}

}  // namespace cfsgate::gateway::nfs
