// SPDX-License-Identifier: Apache-2.0
#include "clients/nfs_connection.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <deque>
#include <system_error>
#include <utility>

#include "clients/libnfs.h"
#include "clients/nfs_path.h"
#include "store/model/limits.h"

namespace cfsgate::clients {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kTransferBytesMax = 1 << 20;  // what libnfs takes in one message
constexpr std::uint32_t kListBytes = 64 << 10;
constexpr std::uint32_t kNewFileMode = 0640;  // cfsgate makes the mode of the path
constexpr int kLinksMax = 40;
constexpr int kReadAttemptsMax = 5;
constexpr int kAgainMilliseconds = 100;

nfs_fh3 to_wire(const std::string& handle) {
    nfs_fh3 wire{};
    wire.data.data_len = static_cast<u_int>(handle.size());
    wire.data.data_val = const_cast<char*>(handle.data());  // libnfs only reads it
    return wire;
}

std::string to_handle(const nfs_fh3& wire) { return {wire.data.data_val, wire.data.data_len}; }

diropargs3 to_wire(const std::string& directory, const std::string& name) {
    return {to_wire(directory), const_cast<char*>(name.c_str())};
}

std::string to_kind(ftype3 type) {
    if (type == NF3REG) return "file";
    if (type == NF3DIR) return "directory";
    return type == NF3LNK ? "symlink" : "other";
}

NfsAttributes to_attributes(const fattr3& wire) {
    NfsAttributes attributes;
    attributes.kind = to_kind(wire.type);
    attributes.mode = wire.mode & 07777U;
    attributes.uid = wire.uid;
    attributes.gid = wire.gid;
    attributes.links = wire.nlink;
    attributes.size = wire.size;
    attributes.file_id = wire.fileid;
    attributes.file_system_id = wire.fsid;
    attributes.mtime = {wire.mtime.seconds, wire.mtime.nseconds};
    attributes.ctime = {wire.ctime.seconds, wire.ctime.nseconds};
    return attributes;
}

/// What the administrator can do, where the system's text does not say it.
std::string advice(nfsstat3 status) {
    switch (status) {
        case NFS3ERR_ACCES:
        case NFS3ERR_PERM:
            return "; changes need root and quorum, reading root or the group www-data";
        case NFS3ERR_STALE: return "; it was replaced or removed meanwhile, try again";
        case NFS3ERR_ROFS: return "; ask cfsgate status on the server for the reason";
        case NFS3ERR_JUKEBOX: return "; the server is busy with it, try later";
        default:  // the list is the protocol's, and the system's text is enough for the others
            return {};
    }
}

tl::unexpected<Error> fail_status(nfsstat3 status, const std::string& where) {
    if (status == NFS3ERR_BADHANDLE) return fail(Errno::StaleHandle, where + ": bad file handle");
    if (status == NFS3ERR_NOTSUPP) return fail(Errno::NotSupported, where + ": not supported");
    const int code = -nfsstat3_to_errno(static_cast<int>(status));
    return fail(from_posix(code),
                where + ": " + std::system_category().message(code) + advice(status));
}

tl::unexpected<Error> fail_mount(mountstat3 status, const std::string& where) {
    if (status == MNT3ERR_ACCES) {
        return fail(Errno::NoAccess, where +
                                         ": the server does not export this to here; see the "
                                         "section [export] of its configuration");
    }
    if (status == MNT3ERR_NOENT) {
        return fail(Errno::NotFound, where + ": no such export; --export names another one");
    }
    return fail(Errno::InputOutput, where + ": the mount service answers " +
                                        mountstat3_to_str(static_cast<int>(status)));
}

/// Nobody there, or nobody who speaks with us.
tl::unexpected<Error> fail_connect(const RpcServer& server, const Error& error) {
    if (error.code == Errno::Interrupted || error.code == Errno::NoAccess ||
        error.code == Errno::Invalid) {
        return tl::unexpected(error);
    }
    return fail(error.code, error.detail + "; is cfsgated running with NFS on " + server.host +
                                ":" + std::to_string(server.port) +
                                ", and does it allow this host?");
}

}  // namespace

Status probe_nfs(const RpcServer& server) {
    const auto session = RpcSession::connect(server, NFS_PROGRAM, NFS_V3);
    if (!session) return fail_connect(server, session.error());
    const auto start = [&](rpc_cb callback, void* private_data) {
        return rpc_mount3_null_async((*session)->context(), callback, private_data);
    };
    const auto answered = (*session)->exchange(start, [](void*) {});
    if (!answered) return fail_connect(server, answered.error());
    return {};
}

NfsConnection::NfsConnection(NfsServer server, std::unique_ptr<RpcSession> session)
    : server_(std::move(server)), session_(std::move(session)) {}

Result<std::unique_ptr<NfsConnection>> NfsConnection::open(const NfsServer& server) {
    auto session = RpcSession::connect(server.rpc, MOUNT_PROGRAM, MOUNT_V3);
    if (!session) return fail_connect(server.rpc, session.error());
    std::unique_ptr<NfsConnection> connection(new NfsConnection(server, std::move(*session)));
    CFSGATE_TRY(connection->mount());
    CFSGATE_TRY(connection->ask_limits());
    return connection;
}

std::string NfsConnection::name_of(const std::string& path) const {
    const bool v6 = server_.rpc.host.find(':') != std::string::npos;
    const std::string host = v6 ? "[" + server_.rpc.host + "]" : server_.rpc.host;
    const std::string separator = path.empty() || server_.export_path.ends_with('/') ? "" : "/";
    return host + ":" + server_.export_path + separator + path;
}

tl::unexpected<Error> NfsConnection::named(const std::string& path, const Error& error) const {
    return fail(error.code, name_of(path) + ": " + error.detail);
}

Status NfsConnection::mount() {
    mountstat3 status = MNT3_OK;
    const auto start = [&](rpc_cb callback, void* private_data) {
        return rpc_mount3_mnt_async(session_->context(), callback, server_.export_path.data(),
                                    private_data);
    };
    const auto done = session_->exchange(start, [&](void* data) {
        const auto& reply = *static_cast<mountres3*>(data);
        status = reply.fhs_status;
        const auto& handle = reply.mountres3_u.mountinfo.fhandle;
        if (status == MNT3_OK) root_.assign(handle.fhandle3_val, handle.fhandle3_len);
    });
    if (!done) return fail_connect(server_.rpc, done.error());
    if (status != MNT3_OK) return fail_mount(status, name_of(""));
    return {};
}

Status NfsConnection::ask_limits() {
    return call<FSINFO3res>("", rpc_nfs3_fsinfo_async, FSINFO3args{to_wire(root_)},
                            [this](const FSINFO3res& reply) {
                                const auto& limits = reply.FSINFO3res_u.resok;
                                read_bytes_max_ = std::clamp(limits.rtmax, 1U, kTransferBytesMax);
                                write_bytes_max_ = std::clamp(limits.wtmax, 1U, kTransferBytesMax);
                            });
}

template <class Reply, class Arguments, class Take>
Status NfsConnection::call(const std::string& path,
                           int (*begin)(rpc_context*, rpc_cb, Arguments*, void*),
                           Arguments arguments, const Take& take) {
    const auto end = Clock::now() + std::chrono::seconds(server_.rpc.timeout_seconds);
    nfsstat3 status = NFS3_OK;
    for (;;) {
        const auto start = [&](rpc_cb callback, void* private_data) {
            return begin(session_->context(), callback, &arguments, private_data);
        };
        const auto done = session_->exchange(start, [&](void* data) {
            const auto& reply = *static_cast<Reply*>(data);
            status = reply.status;
            if (status == NFS3_OK) take(reply);
        });
        if (!done) return named(path, done.error());
        if (status != NFS3ERR_JUKEBOX || Clock::now() >= end) break;
        const auto paused = session_->pause(kAgainMilliseconds);
        if (!paused) return named(path, paused.error());
    }
    if (status != NFS3_OK) return fail_status(status, name_of(path));
    return {};
}

Result<NfsAttributes> NfsConnection::attributes_of(const std::string& path, const Handle& handle) {
    NfsAttributes attributes;
    CFSGATE_TRY(call<GETATTR3res>(
        path, rpc_nfs3_getattr_async, GETATTR3args{to_wire(handle)}, [&](const GETATTR3res& reply) {
            attributes = to_attributes(reply.GETATTR3res_u.resok.obj_attributes);
        }));
    return attributes;
}

Result<NfsConnection::Node> NfsConnection::lookup(const std::string& path, const Handle& directory,
                                                  const std::string& name) {
    Node node;
    bool complete = false;
    const auto take = [&](const LOOKUP3res& reply) {
        const auto& found = reply.LOOKUP3res_u.resok;
        node.handle = to_handle(found.object);
        complete = found.obj_attributes.attributes_follow != 0;
        if (complete) {
            node.attributes = to_attributes(found.obj_attributes.post_op_attr_u.attributes);
        }
    };
    CFSGATE_TRY(
        call<LOOKUP3res>(path, rpc_nfs3_lookup_async, LOOKUP3args{to_wire(directory, name)}, take));
    if (!complete) node.attributes = CFSGATE_TRY(attributes_of(path, node.handle));
    return node;
}

Result<std::string> NfsConnection::link_text(const std::string& path, const Handle& handle) {
    std::string target;
    CFSGATE_TRY(call<READLINK3res>(
        path, rpc_nfs3_readlink_async, READLINK3args{to_wire(handle)},
        [&](const READLINK3res& reply) { target = reply.READLINK3res_u.resok.data; }));
    return target;
}

Result<NfsConnection::Node> NfsConnection::walk(const std::string& path, Follow follow) {
    const auto words = split_path(path);
    if (!words) return named(path, words.error());
    std::deque<std::string> rest(words->begin(), words->end());
    std::vector<Node> trail{{root_, CFSGATE_TRY(attributes_of(path, root_))}};
    int links = 0;
    while (!rest.empty()) {
        const std::string name = rest.front();
        rest.pop_front();
        if (name == "..") {  // only out of a link
            if (trail.size() > 1) trail.pop_back();
            continue;
        }
        Node node = CFSGATE_TRY(lookup(path, trail.back().handle, name));
        if (node.attributes.kind != "symlink" || (rest.empty() && follow == Follow::No)) {
            trail.push_back(std::move(node));
            continue;
        }
        if (++links > kLinksMax) return fail(Errno::Invalid, name_of(path) + ": too many links");
        const auto target =
            split_link(CFSGATE_TRY(link_text(path, node.handle)), server_.export_path);
        if (!target) return named(path, target.error());
        if (target->absolute) trail.resize(1);
        rest.insert(rest.begin(), target->words.begin(), target->words.end());
    }
    return std::move(trail.back());
}

Result<NfsConnection::Place> NfsConnection::parent_of(const std::string& path) {
    const auto words = split_path(path);
    if (!words) return named(path, words.error());
    if (words->empty()) return fail(Errno::Invalid, name_of("") + ": is the root of the export");
    std::string directory;
    for (auto word = words->begin(); word + 1 != words->end(); ++word) directory += *word + "/";
    return Place{CFSGATE_TRY(walk(directory, Follow::Yes)).handle, words->back()};
}

Result<NfsAttributes> NfsConnection::stat(const std::string& path, Follow follow) {
    return CFSGATE_TRY(walk(path, follow)).attributes;
}

Result<std::string> NfsConnection::read_link(const std::string& path) {
    return link_text(path, CFSGATE_TRY(walk(path, Follow::No)).handle);
}

namespace {

/// libnfs does not align what it decodes into.
entryplus3 aligned(const void* place) {
    entryplus3 entry{};
    std::memcpy(&entry, place, sizeof(entry));
    return entry;
}

/// The cookie to go on with.
cookie3 take_entries(const entryplus3* list, cookie3 cookie, std::vector<NfsEntry>& entries) {
    for (const entryplus3* place = list; place != nullptr;) {
        const entryplus3 entry = aligned(place);
        place = entry.nextentry;
        cookie = entry.cookie;
        const std::string_view name = entry.name;
        if (name == "." || name == "..") continue;
        NfsEntry taken{std::string(name), {}};
        taken.attributes.kind = "unknown";  // until somebody asks
        if (entry.name_attributes.attributes_follow != 0) {
            taken.attributes = to_attributes(entry.name_attributes.post_op_attr_u.attributes);
        }
        entries.push_back(std::move(taken));
    }
    return cookie;
}

}  // namespace

Result<std::vector<NfsEntry>> NfsConnection::list(const std::string& path) {
    const Node directory = CFSGATE_TRY(walk(path, Follow::Yes));
    std::vector<NfsEntry> entries;
    READDIRPLUS3args arguments{to_wire(directory.handle), 0, {}, kListBytes, kListBytes};
    bool end = false;
    while (!end) {
        const cookie3 before = arguments.cookie;
        CFSGATE_TRY(call<READDIRPLUS3res>(
            path, rpc_nfs3_readdirplus_async, arguments, [&](const READDIRPLUS3res& reply) {
                const auto& part = reply.READDIRPLUS3res_u.resok;
                arguments.cookie = take_entries(part.reply.entries, arguments.cookie, entries);
                std::memcpy(arguments.cookieverf, part.cookieverf, sizeof(arguments.cookieverf));
                end = part.reply.eof != 0;
            }));
        if (!end && arguments.cookie == before) {
            return fail(Errno::BadMessage, name_of(path) + ": the server's listing has no end");
        }
        if (entries.size() > limits::kEntriesMax) {
            return fail(Errno::BadMessage, name_of(path) + ": too many entries");
        }
    }
    for (NfsEntry& entry : entries) {
        if (entry.attributes.kind != "unknown") continue;
        const auto node = lookup(path + "/" + entry.name, directory.handle, entry.name);
        if (node) entry.attributes = node->attributes;
    }
    std::sort(entries.begin(), entries.end(),
              [](const NfsEntry& a, const NfsEntry& b) { return a.name < b.name; });
    return entries;
}

Result<std::string> NfsConnection::read_file(const std::string& path, Progress& progress) {
    session_->set_tick([&] { progress.tick(); });
    for (int attempt = 1;; ++attempt) {
        auto content = read_version(path, progress);
        const bool again = !content && (content.error().code == Errno::StaleHandle ||
                                        content.error().code == Errno::TryAgain);
        if (again && attempt < kReadAttemptsMax) continue;
        session_->set_tick({});
        return content;
    }
}

Result<std::string> NfsConnection::read_version(const std::string& path, Progress& progress) {
    const Node file = CFSGATE_TRY(walk(path, Follow::Yes));
    if (file.attributes.kind == "directory") {
        return fail(Errno::IsDirectory, name_of(path) + ": is a directory");
    }
    auto content = CFSGATE_TRY(read_all(path, file, progress));
    // One READ is one version. The time of the last change tells whether several were.
    if (content.size() <= read_bytes_max_) return content;
    const NfsAttributes after = CFSGATE_TRY(attributes_of(path, file.handle));
    const NfsTime& before = file.attributes.ctime;
    if (after.ctime.seconds != before.seconds || after.ctime.nanoseconds != before.nanoseconds) {
        return fail(Errno::TryAgain, name_of(path) + ": changes while it is read");
    }
    return content;
}

Result<std::string> NfsConnection::read_all(const std::string& path, const Node& file,
                                            Progress& progress) {
    std::string content;
    bool end = false;
    progress.set_total(file.attributes.size);
    while (!end) {
        const READ3args arguments{to_wire(file.handle), content.size(), read_bytes_max_};
        CFSGATE_TRY(
            call<READ3res>(path, rpc_nfs3_read_async, arguments, [&](const READ3res& reply) {
                const auto& part = reply.READ3res_u.resok;
                content.append(part.data.data_val, part.data.data_len);
                end = part.eof != 0 || part.data.data_len == 0;
            }));
        if (content.size() > limits::kFileBytesMax) {
            return fail(Errno::FileTooBig, name_of(path) + ": is longer than a file of the tree");
        }
        progress.advance(content.size());
    }
    return content;
}

Result<NfsConnection::Handle> NfsConnection::create(const std::string& path, bool exclusive) {
    const Place place = CFSGATE_TRY(parent_of(path));
    CREATE3args arguments{to_wire(place.directory, place.name), {}};
    arguments.how.mode = exclusive ? GUARDED : UNCHECKED;
    auto& mode = arguments.how.createhow3_u.obj_attributes.mode;
    mode.set_it = 1;
    mode.set_mode3_u.mode = kNewFileMode;
    Handle handle;
    CFSGATE_TRY(
        call<CREATE3res>(path, rpc_nfs3_create_async, arguments, [&](const CREATE3res& reply) {
            const auto& made = reply.CREATE3res_u.resok.obj;
            if (made.handle_follows != 0) handle = to_handle(made.post_op_fh3_u.handle);
        }));
    if (handle.empty()) handle = CFSGATE_TRY(lookup(path, place.directory, place.name)).handle;
    return handle;
}

Status NfsConnection::truncate(const std::string& path, const Handle& file) {
    SETATTR3args arguments{to_wire(file), {}, {}};
    arguments.new_attributes.size.set_it = 1;
    return call<SETATTR3res>(path, rpc_nfs3_setattr_async, arguments, [](const SETATTR3res&) {});
}

Status NfsConnection::write_all(const std::string& path, const Handle& file,
                                std::string_view content, Progress& progress) {
    session_->set_tick([&] { progress.tick(); });
    progress.set_total(content.size());
    std::size_t done = 0;
    Status result;
    while (result && done < content.size()) {
        const std::string_view piece = content.substr(done, write_bytes_max_);
        WRITE3args arguments{to_wire(file), done, static_cast<count3>(piece.size()), FILE_SYNC, {}};
        arguments.data.data_len = arguments.count;
        arguments.data.data_val = const_cast<char*>(piece.data());  // libnfs only reads it
        std::uint32_t written = 0;
        result =
            call<WRITE3res>(path, rpc_nfs3_write_async, arguments, [&](const WRITE3res& reply) {
                written = std::min(reply.WRITE3res_u.resok.count, arguments.count);
            });
        if (result && written == 0) {
            result = fail(Errno::InputOutput, name_of(path) + ": the server wrote nothing");
        }
        done += written;
        progress.advance(done);
    }
    session_->set_tick({});
    return result;
}

Status NfsConnection::create_file(const std::string& path, std::string_view content,
                                  Progress& progress) {
    return write_all(path, CFSGATE_TRY(create(path, true)), content, progress);
}

Status NfsConnection::overwrite_file(const std::string& path, std::string_view content,
                                     Progress& progress) {
    const auto found = walk(path, Follow::Yes);
    if (!found && found.error().code != Errno::NotFound) return tl::unexpected(found.error());
    if (found && found->attributes.kind == "directory") {
        return fail(Errno::IsDirectory, name_of(path) + ": is a directory");
    }
    const Handle file = found ? found->handle : CFSGATE_TRY(create(path, false));
    if (found) CFSGATE_TRY(truncate(path, file));
    return write_all(path, file, content, progress);
}

Status NfsConnection::remove(const std::string& path) {
    const Place place = CFSGATE_TRY(parent_of(path));
    const Node node = CFSGATE_TRY(lookup(path, place.directory, place.name));
    const diropargs3 object = to_wire(place.directory, place.name);
    if (node.attributes.kind == "directory") {
        return call<RMDIR3res>(path, rpc_nfs3_rmdir_async, RMDIR3args{object},
                               [](const RMDIR3res&) {});
    }
    return call<REMOVE3res>(path, rpc_nfs3_remove_async, REMOVE3args{object},
                            [](const REMOVE3res&) {});
}

Status NfsConnection::rename(const std::string& from, const std::string& to) {
    const Place source = CFSGATE_TRY(parent_of(from));
    const Place target = CFSGATE_TRY(parent_of(to));
    const RENAME3args arguments{to_wire(source.directory, source.name),
                                to_wire(target.directory, target.name)};
    return call<RENAME3res>(from + " -> " + to, rpc_nfs3_rename_async, arguments,
                            [](const RENAME3res&) {});
}

}  // namespace cfsgate::clients
