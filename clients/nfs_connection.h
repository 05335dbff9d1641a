// SPDX-License-Identifier: Apache-2.0
// An NFSv3 export without a mount: the calls that the commands need, by path.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "clients/progress.h"
#include "clients/rpc_session.h"
#include "store/base/result.h"

namespace cfsgate::clients {

struct NfsServer {
    RpcServer rpc;  ///< NFS and MOUNT on one port
    std::string export_path = "/etc/pve";
};

struct NfsTime {
    std::uint32_t seconds = 0;
    std::uint32_t nanoseconds = 0;
};

struct NfsAttributes {
    std::string kind;  ///< "file", "directory", "symlink" or "other"
    std::uint32_t mode = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint32_t links = 0;
    std::uint64_t size = 0;
    std::uint64_t file_id = 0;
    std::uint64_t file_system_id = 0;
    NfsTime mtime;
    NfsTime ctime;
};

struct NfsEntry {
    std::string name;
    NfsAttributes attributes;
};

enum class Follow : std::uint8_t { No, Yes };  ///< a link that the path ends on

/// Whether a server speaks NFSv3 and MOUNT v3 there. Errors: those of RpcSession, with advice.
Status probe_nfs(const RpcServer& server);

/// Paths are relative to the export, links in them are followed inside it, ".." is Invalid. A call
/// that the server wants repeated later (JUKEBOX) is repeated until the time-out.
///
/// Errors: what the server says, and those of RpcSession; after TimedOut and InputOutput the
/// outcome of a change is unknown. The detail names server and path and says what to do.
class NfsConnection {
public:
    /// Connects and mounts. NoAccess and NotFound are the answer of the mount service.
    static Result<std::unique_ptr<NfsConnection>> open(const NfsServer& server);

    Result<NfsAttributes> stat(const std::string& path, Follow follow);
    /// Without "." and "..", by name.
    Result<std::vector<NfsEntry>> list(const std::string& path);
    Result<std::string> read_link(const std::string& path);

    /// One version of the file. Errors, besides: FileTooBig above limits::kFileBytesMax; TryAgain
    /// where it changes all the time.
    Result<std::string> read_file(const std::string& path, Progress& progress);
    /// A new file with this content, on stable storage. Errors, besides: Exists.
    Status create_file(const std::string& path, std::string_view content, Progress& progress);
    /// The same in an existing file, which others may see empty or in part; or a new one.
    Status overwrite_file(const std::string& path, std::string_view content, Progress& progress);
    /// A file, a link or an empty directory.
    Status remove(const std::string& path);
    Status rename(const std::string& from, const std::string& to);

    RpcSession& session() { return *session_; }

private:
    using Handle = std::string;
    struct Node {
        Handle handle;
        NfsAttributes attributes;
    };
    struct Place {
        Handle directory;
        std::string name;
    };

    NfsConnection(NfsServer server, std::unique_ptr<RpcSession> session);
    Status mount();
    Status ask_limits();
    template <class Reply, class Arguments, class Take>
    Status call(const std::string& path, int (*begin)(rpc_context*, rpc_cb, Arguments*, void*),
                Arguments arguments, const Take& take);
    Result<Node> lookup(const std::string& path, const Handle& directory, const std::string& name);
    Result<NfsAttributes> attributes_of(const std::string& path, const Handle& handle);
    Result<std::string> link_text(const std::string& path, const Handle& handle);
    Result<Node> walk(const std::string& path, Follow follow);
    Result<Place> parent_of(const std::string& path);
    Result<std::string> read_version(const std::string& path, Progress& progress);
    Result<std::string> read_all(const std::string& path, const Node& file, Progress& progress);
    Result<Handle> create(const std::string& path, bool exclusive);
    Status truncate(const std::string& path, const Handle& file);
    Status write_all(const std::string& path, const Handle& file, std::string_view content,
                     Progress& progress);
    std::string name_of(const std::string& path) const;
    tl::unexpected<Error> named(const std::string& path, const Error& error) const;

    NfsServer server_;
    std::unique_ptr<RpcSession> session_;
    Handle root_;
    std::uint32_t read_bytes_max_ = 0;
    std::uint32_t write_bytes_max_ = 0;
};

}  // namespace cfsgate::clients
