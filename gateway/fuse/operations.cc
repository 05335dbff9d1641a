// SPDX-License-Identifier: Apache-2.0
// Each callback translates in, calls the façade, translates out.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>

#include "gateway/fuse/adapter.h"
#include "store/model/limits.h"

namespace cfsgate::gateway::fuse {
namespace {

/// A change made elsewhere shows to stat within half a second.
constexpr double kTimeoutSeconds = 0.4;

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
    out.st_ctim.tv_nsec = static_cast<long>(attributes.version.value() % 1'000'000'000U);
    return out;
}

double attribute_timeout(const Attributes& attributes) {
    // A virtual file's size is that of the text of this very moment.
    return to_virtual(attributes.id) && attributes.kind == FileKind::File ? 0.0 : kTimeoutSeconds;
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
    const struct stat out = to_stat(*attributes);
    fuse_reply_attr(request, &out, attribute_timeout(*attributes));
}

void reply_entry(Adapter& adapter, fuse_req_t request, const Attributes& attributes) {
    const fuse_entry_param entry = to_entry(attributes);
    adapter.cache.referenced(attributes);
    if (fuse_reply_entry(request, &entry) == -ENOENT) adapter.cache.forgotten(attributes.id, 1);
}

/// Completions of changes: the first to claim the reply answers.
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

// --- Names ---

void do_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    Adapter& adapter = begin(request);
    const auto found = adapter.files.lookup(caller_of(request), FileId(parent), name);
    adapter.cache.looked_up(caller_of(request).pid,
                            found ? std::optional(found->id) : std::nullopt);
    if (!found) return reply_error(request, found.error());
    if (!adapter.held.pending(found->id)) return reply_entry(adapter, request, *found);
    // What waited sees what the wait was for.
    const auto again = [&adapter, request, caller = caller_of(request), parent,
                        name = std::string(name)] {
        const auto attributes = adapter.files.lookup(caller, FileId(parent), name);
        if (!attributes) return reply_error(request, attributes.error());
        reply_entry(adapter, request, *attributes);
    };
    if (!adapter.held.wait(found->id, again)) again();
}

void do_forget(fuse_req_t request, fuse_ino_t ino, std::uint64_t count) {
    adapter_of(request).cache.forgotten(FileId(ino), count);
    fuse_reply_none(request);
}

void do_forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets) {
    KernelCache& cache = adapter_of(request).cache;
    for (std::size_t i = 0; i < count; ++i)
        cache.forgotten(FileId(forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(request);
}

void do_readlink(fuse_req_t request, fuse_ino_t ino) {
    const auto target = begin(request).files.readlink(FileId(ino));
    if (!target) return reply_error(request, target.error());
    fuse_reply_readlink(request, target->c_str());
}

void do_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t) {
    Adapter& adapter = begin(request);
    const Caller caller = caller_of(request);
    const auto reply = adapter.interrupts.watch(request);
    adapter.files.mkdir(caller, FileId(parent), name, answer_entry(adapter, reply));
}

void do_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
    Adapter& adapter = begin(request);
    const Caller caller = caller_of(request);
    const auto reply = adapter.interrupts.watch(request);
    adapter.files.unlink(caller, FileId(parent), name, answer_status(reply));
}

void do_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
    Adapter& adapter = begin(request);
    const Caller caller = caller_of(request);
    const auto reply = adapter.interrupts.watch(request);
    adapter.files.rmdir(caller, FileId(parent), name, answer_status(reply));
}

void do_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
    Adapter& adapter = begin(request);
    // The kernel has found that RENAME_NOREPLACE's target is missing; the operation that peers know
    // cannot carry the condition.
    if (flags != 0) {
        fuse_reply_err(request, EINVAL);
        return;
    }
    const Caller caller = caller_of(request);
    const auto reply = adapter.interrupts.watch(request);
    adapter.files.rename(caller, FileId(parent), name, FileId(new_parent), new_name,
                         [&adapter, reply](Result<FileId> moved) {
                             if (!moved) return reply->error(moved.error().code);
                             if (const auto now = adapter.files.getattr(*moved)) {
                                 adapter.cache.renamed_here(*moved, now->version);
                             }
                             reply->success();
                         });
}

// --- Attributes ---

void do_getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info*) {
    Adapter& adapter = begin(request);
    const auto answer = [&adapter, request, ino] {
        reply_attributes(request, adapter.files.getattr(FileId(ino)));
    };
    if (!adapter.held.pending(FileId(ino)) || !adapter.held.wait(FileId(ino), answer)) answer();
}

void set_size(Adapter& adapter, const Caller& caller, const ReplyPtr& reply, FileId id,
              const HandlePtr& handle, std::uint64_t size) {
    if (!handle && size == 0 && !to_virtual(id) && adapter.held.hold(caller, id)) {
        // The old size: with 0 the kernel would show others an empty file until the write.
        return answer_attributes(reply)(adapter.files.getattr(id));
    }
    if (!handle) {
        return adapter.files.truncate(caller, id, nullptr, size, answer_attributes(reply));
    }
    if (!adapter.held.take(handle)) {
        return adapter.files.truncate(caller, id, handle->file.get(), size,
                                      answer_attributes(reply));
    }
    // Both truncations in one step: nothing of the old content may come back.
    WriteMode mode;
    mode.truncate = true;
    adapter.files.write(*handle->file, 0, std::string(size, '\0'), mode,
                        [&adapter, reply, id](Result<std::uint32_t> written) {
                            adapter.held.published(id);
                            if (!written) return reply->error(written.error().code);
                            answer_attributes(reply)(adapter.files.getattr(id));
                        });
}

void set_times(Adapter& adapter, const Caller& caller, const ReplyPtr& reply, FileId id,
               const struct stat& values, int to_set) {
    if ((to_set & FUSE_SET_ATTR_MTIME) == 0) {
        return answer_attributes(reply)(adapter.files.getattr(id));  // atime is not kept
    }
    const bool now = (to_set & FUSE_SET_ATTR_MTIME_NOW) != 0;
    adapter.files.set_mtime(caller, id, now ? std::time(nullptr) : values.st_mtim.tv_sec,
                            answer_attributes(reply));
}

void do_setattr(fuse_req_t request, fuse_ino_t ino, struct stat* values, int to_set,
                fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const FileId id(ino);
    const Caller caller = caller_of(request);
    const auto reply = adapter.interrupts.watch(request);
    if ((to_set & FUSE_SET_ATTR_MODE) != 0) {
        if (const auto status = adapter.files.chmod(caller, id, values->st_mode); !status) {
            return reply->error(status.error().code);
        }
    }
    if ((to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
        const uid_t uid =
            (to_set & FUSE_SET_ATTR_UID) != 0 ? values->st_uid : static_cast<uid_t>(-1);
        const gid_t gid =
            (to_set & FUSE_SET_ATTR_GID) != 0 ? values->st_gid : static_cast<gid_t>(-1);
        if (const auto status = adapter.files.chown(caller, id, uid, gid); !status) {
            return reply->error(status.error().code);
        }
    }
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
        const HandlePtr handle = info != nullptr && info->fh != 0 ? handle_of(info) : nullptr;
        return set_size(adapter, caller, reply, id, handle,
                        static_cast<std::uint64_t>(values->st_size));
    }
    set_times(adapter, caller, reply, id, *values, to_set);
}

void do_statfs(fuse_req_t request, fuse_ino_t) {
    const FileSystemStatistics statistics = begin(request).files.statfs();
    struct statvfs out {};
    out.f_bsize = statistics.block_bytes;
    out.f_frsize = statistics.block_bytes;
    out.f_blocks = statistics.blocks;
    out.f_bfree = statistics.blocks_free;
    out.f_bavail = statistics.blocks_free;
    out.f_files = statistics.files;
    out.f_ffree = statistics.files_free;
    out.f_favail = statistics.files_free;
    out.f_namemax = statistics.name_bytes_max;
    fuse_reply_statfs(request, &out);
}

// --- Open files ---

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
        info.noflush = 1;
    }
    info.fh = static_cast<std::uint64_t>(adapter.handles.add(handle));
}

void disarm(Adapter& adapter, const fuse_file_info& info) {
    const OpenFile& file = *handle_of(&info)->file;
    if (file.mode().write) adapter.cache.writer_released(file.id());
    adapter.handles.remove(static_cast<std::uintptr_t>(info.fh));
}

void publish_taken(Adapter& adapter, const HandlePtr& handle) {
    WriteMode mode;
    mode.truncate = true;
    adapter.files.write(*handle->file, 0, {}, mode, [&adapter, handle](Result<std::uint32_t>) {
        adapter.held.published(handle->file->id());
    });
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
        publish_taken(adapter, own);
    }
    auto answer = [&adapter, request, id, caller = caller_of(request), open_info = *info,
                   second_try]() mutable {
        OpenMode mode = to_mode(open_info.flags);
        mode.even_removed = second_try;
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
    const auto bytes = adapter.files.read(*handle->file, static_cast<std::uint64_t>(offset), size);
    if (!bytes) return reply_error(request, bytes.error());
    fuse_reply_buf(request, bytes->data(), bytes->size());
}

/// Publishes a truncation that is held back for this handle, then goes on.
void publish_held(Adapter& adapter, const HandlePtr& handle, std::function<void(Status)> then) {
    if (!adapter.held.take(handle)) return then({});
    const FileId id = handle->file->id();
    WriteMode mode;
    mode.truncate = true;
    adapter.files.write(*handle->file, 0, {}, mode,
                        [&adapter, id, then = std::move(then)](Result<std::uint32_t> written) {
                            adapter.held.published(id);
                            if (!written) return then(tl::unexpected(written.error()));
                            then({});
                        });
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

/// The write that a truncation travelled with was refused; the truncation itself was not.
void publish_alone(Adapter& adapter, const HandlePtr& handle, const ReplyPtr& reply,
                   const Error& refusal) {
    WriteMode mode;
    mode.truncate = true;
    adapter.files.write(*handle->file, 0, {}, mode,
                        [&adapter, handle, reply, code = refusal.code](Result<std::uint32_t>) {
                            adapter.held.published(handle->file->id());
                            reply->error(code);
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
    adapter.files.write(*handle->file, at, std::move(data), mode,
                        [&adapter, reply, held, size, handle](Result<std::uint32_t> written) {
                            if (held && !written)
                                return publish_alone(adapter, handle, reply, written.error());
                            if (held) adapter.held.published(handle->file->id());
                            if (!written) return reply->error(written.error().code);
                            const std::size_t count = std::min<std::size_t>(*written, size);
                            if (reply->claim()) fuse_reply_write(reply->request(), count);
                        });
}

void make_durable(Adapter& adapter, const HandlePtr& handle, const ReplyPtr& reply) {
    publish_held(adapter, handle, [&adapter, handle, reply](Status status) {
        if (!status) return reply->error(status.error().code);
        adapter.files.fsync(*handle->file, [handle, reply](Status synced) {
            synced ? reply->success() : reply->error(synced.error().code);
        });
    });
}

void do_flush(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const HandlePtr handle = handle_of(info);
    const pid_t pid = fuse_req_ctx(request)->pid;
    const auto reply = adapter.interrupts.watch(request);
    if (adapter.held.held(handle) && still_open_in_process(pid, handle->file->id())) {
        adapter.held.flushed(handle);
        return reply->success();
    }
    make_durable(adapter, handle, reply);
}

void do_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const HandlePtr handle = handle_of(info);
    make_durable(adapter, handle, adapter.interrupts.watch(request));
}

void do_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    Adapter& adapter = begin(request);
    const HandlePtr handle = handle_of(info);
    publish_held(adapter, handle, [handle](const Status&) {});
    disarm(adapter, *info);
    fuse_reply_err(request, 0);
}

// --- Directories ---

/// Fills one reply of the kernel's size with entries.
class ListingBuffer {
public:
    ListingBuffer(Adapter& adapter, fuse_req_t request, std::size_t size, bool plus)
        : adapter_(adapter), request_(request), bytes_(size, '\0'), plus_(plus) {}

    bool add(const DirectoryEntry& entry) {
        const std::string name(entry.name);
        char* at = bytes_.data() + used_;
        const std::size_t room = bytes_.size() - used_;
        const auto next = static_cast<off_t>(entry.cookie);
        std::size_t needed = 0;
        if (plus_) {
            fuse_entry_param param{};
            if (entry.attributes) {
                param = to_entry(*entry.attributes);
            } else {
                param.attr.st_ino = entry.id.value();
                param.attr.st_mode = S_IFDIR;
            }
            needed = fuse_add_direntry_plus(request_, at, room, name.c_str(), &param, next);
        } else {
            struct stat info {};
            info.st_ino = entry.id.value();
            info.st_mode = entry.kind == FileKind::Directory ? S_IFDIR
                           : entry.kind == FileKind::Symlink ? S_IFLNK
                                                             : S_IFREG;
            needed = fuse_add_direntry(request_, at, room, name.c_str(), &info, next);
        }
        if (needed > room) return false;
        used_ += needed;
        if (plus_ && entry.attributes) adapter_.cache.referenced(*entry.attributes);
        return true;
    }

    void send() { fuse_reply_buf(request_, bytes_.data(), used_); }

private:
    Adapter& adapter_;
    fuse_req_t request_;
    std::string bytes_;
    std::size_t used_ = 0;
    bool plus_;
};

void list(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset, bool plus) {
    Adapter& adapter = begin(request);
    ListingBuffer buffer(adapter, request, size, plus);
    const auto status =
        adapter.files.readdir(caller_of(request), FileId(ino), static_cast<std::uint64_t>(offset),
                              plus ? Listing::WithAttributes : Listing::NamesOnly,
                              [&](const DirectoryEntry& entry) { return buffer.add(entry); });
    if (!status) return reply_error(request, status.error());
    buffer.send();
}

void do_opendir(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
    const auto attributes = begin(request).files.getattr(FileId(ino));
    if (!attributes) return reply_error(request, attributes.error());
    fuse_reply_open(request, info);
}

void do_readdir(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset,
                fuse_file_info*) {
    list(request, ino, size, offset, false);
}

void do_readdirplus(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset,
                    fuse_file_info*) {
    list(request, ino, size, offset, true);
}

void do_releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); }

void do_fsyncdir(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
    Adapter& adapter = begin(request);
    adapter.files.sync_all(answer_status(adapter.interrupts.watch(request)));
}

void do_init(void*, fuse_conn_info* connection) {
    // See held_truncations.h: with it the kernel itself shows size 0 from open to the first write.
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_ATOMIC_O_TRUNC);
    connection->want |= connection->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_AUTO_INVAL_DATA |
                                               FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS);
}

fuse_lowlevel_ops make_operations() {
    fuse_lowlevel_ops ops{};
    ops.init = do_init;
    ops.lookup = do_lookup;
    ops.forget = do_forget;
    ops.forget_multi = do_forget_multi;
    ops.getattr = do_getattr;
    ops.setattr = do_setattr;
    ops.readlink = do_readlink;
    ops.mknod = do_mknod;
    ops.mkdir = do_mkdir;
    ops.unlink = do_unlink;
    ops.rmdir = do_rmdir;
    ops.rename = do_rename;
    ops.open = do_open;
    ops.read = do_read;
    ops.write = do_write;
    ops.flush = do_flush;
    ops.release = do_release;
    ops.fsync = do_fsync;
    ops.opendir = do_opendir;
    ops.readdir = do_readdir;
    ops.readdirplus = do_readdirplus;
    ops.releasedir = do_releasedir;
    ops.fsyncdir = do_fsyncdir;
    ops.statfs = do_statfs;
    ops.create = do_create;
    return ops;
}

}  // namespace

std::uintptr_t Handles::add(HandlePtr handle) {
    auto owned = std::make_unique<HandlePtr>(std::move(handle));
    const auto key = reinterpret_cast<std::uintptr_t>(owned.get());
    MutexLock lock(mutex_);
    handles_.emplace(key, std::move(owned));
    return key;
}

void Handles::remove(std::uintptr_t key) {
    std::unique_ptr<HandlePtr> ended;
    MutexLock lock(mutex_);
    const auto found = handles_.find(key);
    if (found == handles_.end()) return;
    ended = std::move(found->second);
    handles_.erase(found);
}

std::vector<gid_t> ProcGroups::groups_of(const Caller& caller) const {
    std::vector<gid_t> groups;
    std::ifstream file("/proc/" + std::to_string(caller.pid) + "/status");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("Groups:")) continue;
        std::istringstream numbers(line.substr(std::strlen("Groups:")));
        for (gid_t group = 0; numbers >> group;) groups.push_back(group);
        break;
    }
    return groups;
}

Adapter::Adapter(FileSystem& file_system, Logger logger)
    : files(file_system),
      log(std::move(logger)),
      held([this](const HandlePtr& handle, HeldTruncations::Done done) {
          // Its hold has been taken already.
          const FileId id = handle->file->id();
          WriteMode mode;
          mode.truncate = true;
          files.write(*handle->file, 0, {}, mode,
                      [this, id, handle, done = std::move(done)](Result<std::uint32_t> written) {
                          held.published(id);
                          if (!written) {
                              log->warn("a truncation could not be published: {}",
                                        written.error().detail);
                          }
                          if (!done) return;
                          if (!written) return done(tl::unexpected(written.error()));
                          done({});
                      });
      }) {}

const fuse_lowlevel_ops& operations() {
    static const fuse_lowlevel_ops ops = make_operations();
    return ops;
}

}  // namespace cfsgate::gateway::fuse
