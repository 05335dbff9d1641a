// SPDX-License-Identifier: Apache-2.0
#include "gateway/fuse/translate.h"

#include <fcntl.h>

namespace cfsgate::gateway::fuse {
namespace {

/// A change made elsewhere shows to stat within half a second.
constexpr double kTimeoutSeconds = 0.4;

double attribute_timeout(const Attributes& attributes) {
    // A virtual file's size is that of the text of this very moment.
    return to_virtual(attributes.id) && attributes.kind == FileKind::File ? 0.0 : kTimeoutSeconds;
}

}  // namespace

Adapter& adapter_of(fuse_req_t request) {
    return *static_cast<Adapter*>(fuse_req_userdata(request));
}

Adapter& begin(fuse_req_t request) {
    Adapter& adapter = adapter_of(request);
    adapter.requests.fetch_add(1, std::memory_order_relaxed);
    return adapter;
}

Caller caller_of(fuse_req_t request) {
    const fuse_ctx* context = fuse_req_ctx(request);
    return {context->uid, context->gid, context->pid, &adapter_of(request).groups};
}

struct stat to_stat(const Attributes& attributes) {
    struct stat out {};
    out.st_ino = attributes.id.value();
    const mode_t kind = attributes.kind == FileKind::Directory ? S_IFDIR
                        : attributes.kind == FileKind::Symlink ? S_IFLNK
                                                               : S_IFREG;
    out.st_mode = kind | attributes.mode;
    out.st_nlink = attributes.nlink;
    out.st_gid = attributes.gid;
    out.st_size = static_cast<off_t>(attributes.size);
    out.st_blksize = 4096;
    out.st_blocks = static_cast<blkcnt_t>(attributes.blocks);
    out.st_atim.tv_sec = attributes.mtime;
    out.st_mtim.tv_sec = attributes.mtime;
    out.st_ctim.tv_sec = attributes.mtime;
    out.st_ctim.tv_nsec = static_cast<long>(attributes.ctime_nanoseconds());
    return out;
}

fuse_entry_param to_entry(const Attributes& attributes) {
    fuse_entry_param entry{};
    entry.ino = attributes.id.value();
    entry.generation = 1;
    entry.attr = to_stat(attributes);
    entry.attr_timeout = attribute_timeout(attributes);
    entry.entry_timeout = kTimeoutSeconds;
    return entry;
}

void reply_error(fuse_req_t request, const Error& error) {
    fuse_reply_err(request, to_posix(error.code));
}

void reply_attributes(fuse_req_t request, const Result<Attributes>& attributes) {
    if (!attributes) return reply_error(request, attributes.error());
    adapter_of(request).cache.told(*attributes);
    const struct stat out = to_stat(*attributes);
    fuse_reply_attr(request, &out, attribute_timeout(*attributes));
}

void reply_entry(Adapter& adapter, fuse_req_t request, const Attributes& attributes) {
    const fuse_entry_param entry = to_entry(attributes);
    adapter.cache.referenced(attributes);
    if (fuse_reply_entry(request, &entry) == -ENOENT) adapter.cache.forgotten(attributes.id, 1);
}

FileSystem::Done<void> answer_status(const ReplyPtr& reply) {
    return
        [reply](Status status) { status ? reply->success() : reply->error(status.error().code); };
}

FileSystem::Done<Attributes> answer_attributes(const ReplyPtr& reply) {
    return [reply](Result<Attributes> attributes) {
        if (reply->claim()) reply_attributes(reply->request(), attributes);
    };
}

FileSystem::Done<Attributes> answer_entry(Adapter& adapter, const ReplyPtr& reply) {
    return [&adapter, reply](Result<Attributes> attributes) {
        if (!attributes) return reply->error(attributes.error().code);
        if (reply->claim()) reply_entry(adapter, reply->request(), *attributes);
    };
}

HandlePtr& handle_of(const fuse_file_info* info) {
    return *reinterpret_cast<HandlePtr*>(static_cast<std::uintptr_t>(info->fh));
}

OpenMode to_mode(int flags) {
    const int access = flags & O_ACCMODE;
    OpenMode mode;
    mode.read = access != O_WRONLY;
    mode.write = access != O_RDONLY;
    return mode;
}

}  // namespace cfsgate::gateway::fuse
