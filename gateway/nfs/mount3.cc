// SPDX-License-Identifier: Apache-2.0
// MOUNT version 3 (RFC 1813, appendix I). It hands out the handle of a directory, which is no
// secret and gives no right.
#include <array>

#include "gateway/nfs/adapter.h"
#include "gateway/nfs/xdr_writer.h"
#include "store/model/path.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::size_t kMountsListedMax = 1024;

/// The directory that a client names: the export or one below it.
Result<Attributes> find_directory(const Adapter& adapter, const Caller& caller,
                                  std::string_view path) {
    if (!path.starts_with(kExportPath)) return fail(Errno::NotFound);
    path.remove_prefix(kExportPath.size());
    if (!path.empty() && path.front() != '/') return fail(Errno::NotFound);
    Attributes at = CFSGATE_TRY(adapter.files.attributes(caller, kRootId));
    for (const std::string_view component : path_components(path)) {
        at = CFSGATE_TRY(adapter.files.lookup(caller, at.id, component));
        if (at.kind != FileKind::Directory) return fail(Errno::NotDirectory);
    }
    return at;
}

std::string mount_key(const Request& request, std::string_view path) {
    return std::string(request.address) + " " + std::string(path);
}

Answer mount_null(const AdapterPtr&, const Request& request) {
    if (!request.arguments.empty()) return BadArguments{};
    return Reply{accepted_reply(request.xid), {}, MNT3_OK};
}

Answer mount_mnt(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<MountPath>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const std::string path = (*arguments)->path;
    const auto directory = find_directory(*adapter, request.caller(), path);
    mountres3 result{};
    if (!directory) {
        result.fhs_status = to_mountstat3(directory.error().code);
        return reply_with(request.xid, result.fhs_status, result);
    }
    if (adapter->mounted.size() < kMountsListedMax) {
        adapter->mounted[mount_key(request, path)] = path;
    }
    std::string handle = adapter->handle_of(directory->id);
    std::array<int, 1> flavors{RPC2_AUTH_SYS};
    mountres3_ok& ok = result.mountres3_u.mountinfo;
    ok.fhandle.fhandle3_val = handle.data();
    ok.fhandle.fhandle3_len = static_cast<u_int>(handle.size());
    ok.auth_flavors.auth_flavors_val = flavors.data();
    ok.auth_flavors.auth_flavors_len = static_cast<u_int>(flavors.size());
    return reply_with(request.xid, MNT3_OK, result);
}

Answer mount_umnt(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<MountPath>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    adapter->mounted.erase(mount_key(request, (*arguments)->path));
    return Reply{accepted_reply(request.xid), {}, MNT3_OK};
}

Answer mount_umntall(const AdapterPtr& adapter, const Request& request) {
    if (!request.arguments.empty()) return BadArguments{};
    const std::string host = mount_key(request, "");
    std::erase_if(adapter->mounted,
                  [&](const auto& mount) { return mount.first.starts_with(host); });
    return Reply{accepted_reply(request.xid), {}, MNT3_OK};
}

Answer mount_dump(const AdapterPtr& adapter, const Request& request) {
    if (!request.arguments.empty()) return BadArguments{};
    // By hand: the generated codec would go down the list by recursion.
    Reply reply{accepted_reply(request.xid), {}, MNT3_OK};
    XdrWriter out(reply.head);
    for (const auto& [key, path] : adapter->mounted) {
        // Names only what this caller could mount.
        if (!find_directory(*adapter, request.caller(), path)) continue;
        out.put(std::uint32_t{1});
        out.put_opaque(std::string_view(key).substr(0, key.find(' ')));
        out.put_opaque(path);
    }
    out.put(std::uint32_t{0});
    return reply;
}

Answer mount_export(const AdapterPtr& adapter, const Request& request) {
    if (!request.arguments.empty()) return BadArguments{};
    std::vector<std::string> names{"localhost"};
    names.insert(names.end(), adapter->networks.begin(), adapter->networks.end());
    std::vector<groupnode> groups(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
        groups[i].gr_name = names[i].data();
        groups[i].gr_next = i + 1 < groups.size() ? &groups[i + 1] : nullptr;
    }
    std::string path(kExportPath);
    exportnode node{path.data(), groups.data(), nullptr};
    const MountExports exports{&node};
    return reply_with(request.xid, MNT3_OK, exports);
}

constexpr std::array<Answer (*)(const AdapterPtr&, const Request&), 6> kProcedures{
    mount_null, mount_mnt, mount_dump, mount_umnt, mount_umntall, mount_export,
};

}  // namespace

Answer call_mount3(const AdapterPtr& adapter, const Request& request) {
    if (request.procedure >= kProcedures.size()) return UnknownProcedure{};
    return kProcedures[request.procedure](adapter, request);
}

}  // namespace cfsgate::gateway::nfs
