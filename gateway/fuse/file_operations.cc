// SPDX-License-Identifier: Apache-2.0
// Callbacks for open files. Each translates in, calls the façade, translates out.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <functional>

#include "gateway/fuse/translate.h"
#include "store/model/limits.h"

namespace cfsgate::gateway::fuse {
namespace {

/// Of a file up to here the content of the opened version is kept until the close.
constexpr std::uint64_t kKeptBytesMax = 4096;

/// Whether the process still has the file open: then a close is one of several descriptors. Read
/// from the kernel's own record, which does not touch the mount.
bool still_open_in_process(pid_t pid, FileId id) {
    if (pid <= 0) return true;
    const std::string directory = "/proc/" + std::to_string(pid) + "/fdinfo";
    // Descriptors are small and dense numbers; a process with more keeps the short delay.
    constexpr int kDescriptorsLookedAt = 256;
    const std::string wanted = "ino:\t" + std::to_string(id.value());
    for (int fd = 0; fd < kDescriptorsLookedAt; ++fd) {
        std::ifstream file(directory + "/" + std::to_string(fd));
        for (std::string line; std::getline(file, line);) {
            if (line == wanted) return true;
        }
    }
    return false;
}

/// Fills in what the kernel is to do with the new descriptor.
void arm(Adapter& adapter, fuse_file_info& info, const HandlePtr& handle) {
    const OpenFile& file = *handle->file;
    if (file.mode().write) {
        info.direct_io = 1;
        adapter.cache.writer_opened(file.id());
        adapter.held.opened(handle);
    } else {
        const CacheDecision decision = adapter.cache.open_for_reading(file);
        info.direct_io = decision.direct_io ? 1 : 0;
        info.keep_cache = decision.keep_cache ? 1 : 0;
        handle->cached = !decision.direct_io;
        info.noflush = adapter.locks.needs_flush(file.id()) ? 0 : 1;
    }
    info.fh = static_cast<std::uint64_t>(adapter.handles.add(handle));
}

void disarm(Adapter& adapter, const fuse_file_info& info) {
    const OpenFile& file = *handle_of(&info)->file;
    if (file.mode().write) adapter.cache.writer_released(file.id());
    adapter.locks.released(handle_of(&info));
    adapter.handles.remove(static_cast<std::uintptr_t>(info.fh));
}

/// Renamed or replaced meanwhile: the kernel looks the name up again and comes back.
void refuse_as_stale(Adapter& adapter, fuse_req_t request) {
    adapter.cache.refused_as_stale(caller_of(request).pid);
    fuse_reply_err(request, ESTALE);
}

void do_open(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const FileId id(ino);
    const bool second_try = adapter.cache.retries(caller_of(request).pid, id);
    if (!second_try && adapter.cache.name_is_stale(id)) return refuse_as_stale(adapter, request);
    // The thread that truncated looks at the result: it was no open(O_TRUNC) then, but truncate(2).
    if (const HandlePtr own = adapter.held.take_own(caller_of(request), id)) {
        adapter.publish_truncation(own, [](const Status&) {});
    }
    auto answer = [&adapter, request, id, caller = caller_of(request), open_info = *info,
                   second_try]() mutable {
        OpenMode mode = to_mode(open_info.flags);
        mode.even_removed = second_try;
        mode.keep_bytes_max = mode.write ? 0 : kKeptBytesMax;
        auto file = adapter.files.open(caller, id, mode);
        if (!file && file.error().code == Errno::StaleHandle && !second_try) {
            return refuse_as_stale(adapter, request);
        }
        if (!file) return reply_error(request, file.error());
        auto handle = std::make_shared<Handle>();
        handle->file = std::move(*file);
        handle->opener = caller;
        arm(adapter, open_info, handle);
        if (fuse_reply_open(request, &open_info) == -ENOENT) disarm(adapter, open_info);
    };
    if (!adapter.held.pending(id) || !adapter.held.wait(id, answer)) answer();
}

void do_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t,
               fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const Caller caller = caller_of(request);
    const auto reply = adapter.interrupts.watch(request);
    adapter.files.create(
        caller, FileId(parent), name, (info->flags & O_EXCL) != 0, to_mode(info->flags),
        [&adapter, reply, caller, open_info = *info](Result<FileSystem::Created> created) mutable {
            if (!created) return reply->error(created.error().code);
            if (!reply->claim()) return;
            auto handle = std::make_shared<Handle>();
            handle->file = std::move(created->file);
            handle->opener = caller;
            adapter.cache.referenced(created->attributes);
            arm(adapter, open_info, handle);
            const fuse_entry_param entry = to_entry(created->attributes);
            if (fuse_reply_create(reply->request(), &entry, &open_info) == -ENOENT) {
                disarm(adapter, open_info);
                adapter.cache.forgotten(created->attributes.id, 1);
            }
        });
}

void do_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
    Adapter& adapter = begin(request);
    if (!S_ISREG(mode)) {
        fuse_reply_err(request, ENOSYS);
        return;
    }
    const Caller caller = caller_of(request);
    const auto reply = adapter.interrupts.watch(request);
    adapter.files.create(
        caller, FileId(parent), name, true, {},
        [&adapter, reply](Result<FileSystem::Created> created) {
            if (!created) return reply->error(created.error().code);
            const auto file = created->file;
            adapter.files.fsync(
                *file, [&adapter, reply, file, attributes = created->attributes](Status status) {
                    if (!status) return reply->error(status.error().code);
                    if (reply->claim()) {
                        reply_entry(adapter, reply->request(), attributes);
                    }
                });
        });
}

void read_now(Adapter& adapter, fuse_req_t request, const HandlePtr& handle, std::size_t size,
              off_t offset) {
    // A change since the open, of which the kernel does not know: it would cut the new content to
    // the old size.
    const auto& old = handle->file->as_opened();
    if (handle->cached && old && adapter.cache.has_size_of(*handle->file)) {
        const auto from = std::min<std::size_t>(static_cast<std::size_t>(offset), old->size());
        fuse_reply_buf(request, old->data() + from, std::min(size, old->size() - from));
        return;
    }
    const auto bytes = adapter.files.read(*handle->file, static_cast<std::uint64_t>(offset), size);
    if (!bytes) return reply_error(request, bytes.error());
    fuse_reply_buf(request, bytes->data(), bytes->size());
}

/// Publishes a truncation that is held back for this handle, then goes on.
void publish_held(Adapter& adapter, const HandlePtr& handle, HeldTruncations::Done then) {
    if (!adapter.held.take(handle)) return then({});
    adapter.publish_truncation(handle, std::move(then));
}

void do_read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const HandlePtr handle = handle_of(info);
    if (!handle->file->mode().write) return read_now(adapter, request, handle, size, offset);
    publish_held(adapter, handle, [&adapter, request, handle, size, offset](Status status) {
        if (!status) return reply_error(request, status.error());
        read_now(adapter, request, handle, size, offset);
    });
}

void do_write(fuse_req_t request, fuse_ino_t, const char* bytes, std::size_t size, off_t offset,
              fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const HandlePtr handle = handle_of(info);
    const auto reply = adapter.interrupts.watch(request);
    const bool held = adapter.held.take(handle);
    WriteMode mode;
    mode.truncate = held;
    mode.append = (info->flags & O_APPEND) != 0 && !held && !handle->file->is_virtual();
    std::string data;
    auto at = static_cast<std::uint64_t>(offset);
    if (held && (info->flags & O_APPEND) != 0) at = 0;
    if (held && at > 0 && at + size <= limits::kFileBytesMax) {
        data.assign(at, '\0');  // what was there is gone
        at = 0;
    }
    data.append(bytes, size);
    const FileId id = handle->file->id();
    adapter.cache.write_begins(id);
    adapter.files.write(*handle->file, at, std::move(data), mode,
                        [&adapter, reply, held, size, handle, id](Result<std::uint32_t> written) {
                            adapter.cache.write_ended(id, written.has_value());
                            // The truncation that travels with a refused write is not refused; with
                            // one that may still happen it goes along.
                            if (held && !written && written.error().code != Errno::TimedOut) {
                                const auto refuse = [reply, code = written.error().code](
                                                        const Status&) { reply->error(code); };
                                return adapter.publish_truncation(handle, refuse);
                            }
                            if (held) adapter.held.published(handle->file->id());
                            if (!written) return reply->error(written.error().code);
                            const std::size_t count = std::min<std::size_t>(*written, size);
                            if (reply->claim()) fuse_reply_write(reply->request(), count);
                        });
}

void make_durable(Adapter& adapter, const HandlePtr& handle, FileSystem::Done<void> done) {
    publish_held(adapter, handle, [&adapter, handle, done = std::move(done)](Status status) {
        if (!status) return done(std::move(status));
        adapter.files.fsync(*handle->file,
                            [handle, done](Status synced) { done(std::move(synced)); });
    });
}

void do_flush(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const HandlePtr handle = handle_of(info);
    const pid_t pid = fuse_req_ctx(request)->pid;
    // Who gets the lock next finds everything that was done under it.
    const auto done = [&adapter, handle, owner = info->lock_owner,
                       answer = answer_status(adapter.interrupts.watch(request))](Status status) {
        adapter.locks.flushed(handle->file->id(), owner);
        answer(std::move(status));
    };
    if (adapter.held.held(handle) && still_open_in_process(pid, handle->file->id())) {
        adapter.held.flushed(handle);
        return done({});
    }
    make_durable(adapter, handle, done);
}

void do_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const HandlePtr handle = handle_of(info);
    make_durable(adapter, handle, answer_status(adapter.interrupts.watch(request)));
}

void do_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const HandlePtr handle = handle_of(info);
    publish_held(adapter, handle, [](const Status&) {});
    disarm(adapter, *info);
    fuse_reply_err(request, 0);
}

}  // namespace

void add_file_operations(fuse_lowlevel_ops& operations) {
    operations.mknod = do_mknod;
    operations.open = do_open;
    operations.read = do_read;
    operations.write = do_write;
    operations.flush = do_flush;
    operations.release = do_release;
    operations.fsync = do_fsync;
    operations.create = do_create;
}

}  // namespace cfsgate::gateway::fuse
