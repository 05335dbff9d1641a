// SPDX-License-Identifier: Apache-2.0
// Callbacks for names, attributes and directories. Each translates in, calls the façade, translates
// out.
#include <sys/stat.h>

#include <cerrno>

#include "gateway/fuse/translate.h"

namespace cfsgate::gateway::fuse {
namespace {

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
    adapter.files.sync_directory(answer_status(adapter.interrupts.watch(request)));
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
    ops.mkdir = do_mkdir;
    ops.unlink = do_unlink;
    ops.rmdir = do_rmdir;
    ops.rename = do_rename;
    ops.opendir = do_opendir;
    ops.readdir = do_readdir;
    ops.readdirplus = do_readdirplus;
    ops.releasedir = do_releasedir;
    ops.fsyncdir = do_fsyncdir;
    ops.statfs = do_statfs;
    add_file_operations(ops);
    add_lock_operations(ops);
    return ops;
}

}  // namespace

const fuse_lowlevel_ops& operations() {
    static const fuse_lowlevel_ops ops = make_operations();
    return ops;
}

}  // namespace cfsgate::gateway::fuse
