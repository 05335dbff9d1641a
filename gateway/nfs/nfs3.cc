// SPDX-License-Identifier: Apache-2.0
// The table of NFSv3's procedures.
#include <array>

#include "gateway/nfs/procedures.h"

namespace cfsgate::gateway::nfs {
namespace {

Answer nfs3_null(const AdapterPtr&, const Request& request) {
    if (!request.arguments.empty()) return BadArguments{};
    return Reply{accepted_reply(request.xid), {}, NFS3_OK};
}

struct Procedure {
    std::string_view name;
    Answer (*call)(const AdapterPtr&, const Request&);
};

/// By number (RFC 1813, 3).
constexpr std::array<Procedure, 22> kProcedures{{
    {"NULL", nfs3_null},     {"GETATTR", nfs3_getattr}, {"SETATTR", nfs3_setattr},
    {"LOOKUP", nfs3_lookup}, {"ACCESS", nfs3_access},   {"READLINK", nfs3_readlink},
    {"READ", nfs3_read},     {"WRITE", nfs3_write},     {"CREATE", nfs3_create},
    {"MKDIR", nfs3_mkdir},   {"SYMLINK", nfs3_symlink}, {"MKNOD", nfs3_mknod},
    {"REMOVE", nfs3_remove}, {"RMDIR", nfs3_rmdir},     {"RENAME", nfs3_rename},
    {"LINK", nfs3_link},     {"READDIR", nfs3_readdir}, {"READDIRPLUS", nfs3_readdirplus},
    {"FSSTAT", nfs3_fsstat}, {"FSINFO", nfs3_fsinfo},   {"PATHCONF", nfs3_pathconf},
    {"COMMIT", nfs3_commit},
}};

}  // namespace

Answer call_nfs3(const AdapterPtr& adapter, const Request& request) {
    if (request.procedure >= kProcedures.size()) return UnknownProcedure{};
    return kProcedures[request.procedure].call(adapter, request);
}

std::string_view nfs3_procedure_name(std::uint32_t procedure) {
    return procedure < kProcedures.size() ? kProcedures[procedure].name : "unknown";
}

std::string_view nfs3_status_name(std::uint32_t status) {
    switch (static_cast<nfsstat3>(status)) {
        case NFS3_OK: return "OK";
        case NFS3ERR_PERM: return "PERM";
        case NFS3ERR_NOENT: return "NOENT";
        case NFS3ERR_IO: return "IO";
        case NFS3ERR_NXIO: return "NXIO";
        case NFS3ERR_ACCES: return "ACCES";
        case NFS3ERR_EXIST: return "EXIST";
        case NFS3ERR_XDEV: return "XDEV";
        case NFS3ERR_NODEV: return "NODEV";
        case NFS3ERR_NOTDIR: return "NOTDIR";
        case NFS3ERR_ISDIR: return "ISDIR";
        case NFS3ERR_INVAL: return "INVAL";
        case NFS3ERR_FBIG: return "FBIG";
        case NFS3ERR_NOSPC: return "NOSPC";
        case NFS3ERR_ROFS: return "ROFS";
        case NFS3ERR_MLINK: return "MLINK";
        case NFS3ERR_NAMETOOLONG: return "NAMETOOLONG";
        case NFS3ERR_NOTEMPTY: return "NOTEMPTY";
        case NFS3ERR_DQUOT: return "DQUOT";
        case NFS3ERR_STALE: return "STALE";
        case NFS3ERR_REMOTE: return "REMOTE";
        case NFS3ERR_BADHANDLE: return "BADHANDLE";
        case NFS3ERR_NOT_SYNC: return "NOT_SYNC";
        case NFS3ERR_BAD_COOKIE: return "BAD_COOKIE";
        case NFS3ERR_NOTSUPP: return "NOTSUPP";
        case NFS3ERR_TOOSMALL: return "TOOSMALL";
        case NFS3ERR_SERVERFAULT: return "SERVERFAULT";
        case NFS3ERR_BADTYPE: return "BADTYPE";
        case NFS3ERR_JUKEBOX: return "JUKEBOX";
    }
    return "unknown";
}

}  // namespace cfsgate::gateway::nfs
