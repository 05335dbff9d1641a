// SPDX-License-Identifier: Apache-2.0
// A FUSE file system that does nothing: a tree in memory, without checks, order or disk. What it takes
// for an operation is what the kernel and libfuse take; no other can be faster on this machine.
//
//   empty_fuse MOUNT-POINT      until SIGTERM
//
// Its options to the kernel are those of cfsgated's mount: cached pages and names, no flush at the
// close of a file that was only read, writes past the page cache.
#define FUSE_USE_VERSION 312
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include <fuse3/fuse_lowlevel.h>

namespace {

constexpr double kBelievedSeconds = 0.4;

struct Node {
    bool directory = false;
    std::string data;
    std::map<std::string, fuse_ino_t> names;  ///< of a directory
};

std::shared_mutex mutex;
std::unordered_map<fuse_ino_t, Node> nodes{{FUSE_ROOT_ID, Node{true, {}, {}}}};
fuse_ino_t last = FUSE_ROOT_ID;

using Reading = std::shared_lock<std::shared_mutex>;
using Writing = std::unique_lock<std::shared_mutex>;

struct stat attributes(fuse_ino_t ino, const Node& node) {
    struct stat info {};
    info.st_ino = ino;
    info.st_mode = node.directory ? S_IFDIR | 0755 : S_IFREG | 0644;
    info.st_nlink = node.directory ? 2 : 1;
    info.st_size = static_cast<off_t>(node.data.size());
    info.st_blksize = 4096;
    return info;
}

fuse_entry_param entry(fuse_ino_t ino) {
    fuse_entry_param param{};
    param.ino = ino;
    param.attr = attributes(ino, nodes[ino]);
    param.attr_timeout = param.entry_timeout = kBelievedSeconds;
    return param;
}

/// 0 where there is none.
fuse_ino_t find(fuse_ino_t parent, const char* name) {
    const auto& names = nodes[parent].names;
    const auto found = names.find(name);
    return found == names.end() ? 0 : found->second;
}

void do_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    fuse_entry_param param{};
    {
        const Writing lock(mutex);
        const fuse_ino_t found = find(parent, name);
        if (found != 0) param = entry(found);
    }
    if (param.ino == 0) {
        fuse_reply_err(request, ENOENT);
    } else {
        fuse_reply_entry(request, &param);
    }
}

void do_getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info*) {
    struct stat info {};
    {
        const Writing lock(mutex);
        info = attributes(ino, nodes[ino]);
    }
    fuse_reply_attr(request, &info, kBelievedSeconds);
}

void do_setattr(fuse_req_t request, fuse_ino_t ino, struct stat* values, int to_set,
                fuse_file_info* info) {
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
        const Writing lock(mutex);
        nodes[ino].data.resize(static_cast<std::size_t>(values->st_size));
    }
    do_getattr(request, ino, info);
}

fuse_entry_param make(fuse_ino_t parent, const char* name, bool directory) {
    const Writing lock(mutex);
    if (find(parent, name) != 0) return {};
    nodes[++last].directory = directory;
    nodes[parent].names[name] = last;
    return entry(last);
}

void do_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t) {
    const fuse_entry_param param = make(parent, name, true);
    if (param.ino == 0) {
        fuse_reply_err(request, EEXIST);
    } else {
        fuse_reply_entry(request, &param);
    }
}

void do_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t,
               fuse_file_info* info) {
    const fuse_entry_param param = make(parent, name, false);
    info->direct_io = 1;
    if (param.ino == 0) {
        fuse_reply_err(request, EEXIST);
    } else {
        fuse_reply_create(request, &param, info);
    }
}

void do_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
    {
        const Writing lock(mutex);
        nodes.erase(find(parent, name));
        nodes[parent].names.erase(name);
    }
    fuse_reply_err(request, 0);
}

void do_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned) {
    {
        const Writing lock(mutex);
        const fuse_ino_t moved = find(parent, name);
        nodes.erase(find(new_parent, new_name));
        nodes[parent].names.erase(name);
        nodes[new_parent].names[new_name] = moved;
    }
    fuse_reply_err(request, 0);
}

void do_open(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    const bool writes = (info->flags & O_ACCMODE) != O_RDONLY;
    info->direct_io = writes ? 1 : 0;
    info->keep_cache = info->noflush = writes ? 0 : 1;
    fuse_reply_open(request, info);
}

void do_read(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info*) {
    std::string piece;
    {
        const Reading lock(mutex);
        const auto found = nodes.find(ino);
        const auto at = static_cast<std::size_t>(offset);
        if (found != nodes.end() && at < found->second.data.size()) {
            piece = found->second.data.substr(at, size);
        }
    }
    fuse_reply_buf(request, piece.data(), piece.size());
}

void do_write(fuse_req_t request, fuse_ino_t ino, const char* bytes, std::size_t size, off_t offset,
              fuse_file_info*) {
    {
        const Writing lock(mutex);
        std::string& data = nodes[ino].data;
        const auto at = static_cast<std::size_t>(offset);
        data.resize(std::max(data.size(), at + size));
        std::memcpy(data.data() + at, bytes, size);
    }
    fuse_reply_write(request, size);
}

void do_flush(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); }

void do_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) { fuse_reply_err(request, 0); }

void do_opendir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    fuse_reply_open(request, info);
}

/// The offset counts entries: good while no name comes or goes.
void do_readdir(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset,
                fuse_file_info*) {
    std::string bytes(size, '\0');
    std::size_t used = 0;
    {
        const Reading lock(mutex);
        const auto& names = nodes[ino].names;
        auto position = static_cast<off_t>(0);
        auto at = names.begin();
        for (; at != names.end() && position < offset; ++at) ++position;
        for (; at != names.end(); ++at) {
            struct stat info {};
            info.st_ino = at->second;
            info.st_mode = nodes[at->second].directory ? S_IFDIR : S_IFREG;
            const std::size_t needed = fuse_add_direntry(request, bytes.data() + used, size - used,
                                                         at->first.c_str(), &info, ++position);
            if (needed > size - used) break;
            used += needed;
        }
    }
    fuse_reply_buf(request, bytes.data(), used);
}

void do_init(void*, fuse_conn_info* connection) {
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS);
    connection->want |= connection->capable & FUSE_CAP_PARALLEL_DIROPS;
}

fuse_lowlevel_ops operations() {
    fuse_lowlevel_ops ops{};
    ops.init = do_init;
    ops.lookup = do_lookup;
    ops.getattr = do_getattr;
    ops.setattr = do_setattr;
    ops.mkdir = do_mkdir;
    ops.rmdir = do_unlink;
    ops.unlink = do_unlink;
    ops.rename = do_rename;
    ops.create = do_create;
    ops.open = do_open;
    ops.read = do_read;
    ops.write = do_write;
    ops.flush = do_flush;
    ops.fsync = do_fsync;
    ops.opendir = do_opendir;
    ops.readdir = do_readdir;
    return ops;
}

int serve(fuse_session* session, const char* mount_point) {
    if (fuse_set_signal_handlers(session) != 0) return 1;
    if (fuse_session_mount(session, mount_point) != 0) return 1;
    fuse_loop_config* config = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(config, 0);
    fuse_loop_cfg_set_max_threads(config, 16);
    fuse_loop_cfg_set_idle_threads(config, 16);
    fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    fuse_session_unmount(session);
    fuse_remove_signal_handlers(session);
    return 0;
}

}  // namespace

int main(int count, char** words) {
    if (count != 2) {
        std::fputs("Usage: empty_fuse MOUNT-POINT\n", stderr);
        return 2;
    }
    fuse_args args = FUSE_ARGS_INIT(0, nullptr);
    fuse_opt_add_arg(&args, words[0]);
    fuse_opt_add_arg(&args, "-oallow_other,default_permissions");
    const fuse_lowlevel_ops ops = operations();
    fuse_session* session = fuse_session_new(&args, &ops, sizeof ops, nullptr);
    fuse_opt_free_args(&args);
    if (session == nullptr) return 1;
    const int result = serve(session, words[1]);
    fuse_session_destroy(session);
    return result;
}
