// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/translate.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::uint64_t kBlockBytes = 4096;

ftype3 to_type(FileKind kind) {
    switch (kind) {
        case FileKind::Directory: return NF3DIR;
        case FileKind::File: return NF3REG;
        case FileKind::Symlink: return NF3LNK;
    }
    return NF3REG;
}

nfstime3 ctime_of(const Attributes& attributes) {
    return {attributes.mtime, attributes.ctime_nanoseconds()};
}

}  // namespace

nfsstat3 to_nfsstat3(Errno code) {
    switch (code) {
        case Errno::NotPermitted: return NFS3ERR_PERM;
        case Errno::NotFound: return NFS3ERR_NOENT;
        case Errno::Interrupted: return NFS3ERR_JUKEBOX;
        case Errno::InputOutput: return NFS3ERR_IO;
        case Errno::NoAccess: return NFS3ERR_ACCES;
        case Errno::Busy: return NFS3ERR_JUKEBOX;
        case Errno::Exists: return NFS3ERR_EXIST;
        case Errno::NotDirectory: return NFS3ERR_NOTDIR;
        case Errno::IsDirectory: return NFS3ERR_ISDIR;
        case Errno::Invalid: return NFS3ERR_INVAL;
        case Errno::FileTooBig: return NFS3ERR_FBIG;
        case Errno::NoSpace: return NFS3ERR_NOSPC;
        case Errno::ReadOnly: return NFS3ERR_ROFS;
        case Errno::NameTooLong: return NFS3ERR_NAMETOOLONG;
        case Errno::NotImplemented: return NFS3ERR_NOTSUPP;
        case Errno::NotEmpty: return NFS3ERR_NOTEMPTY;
        case Errno::NotSupported: return NFS3ERR_NOTSUPP;
        case Errno::StaleHandle: return NFS3ERR_STALE;
        case Errno::TimedOut: return NFS3ERR_JUKEBOX;
        case Errno::Corrupt: return NFS3ERR_IO;
        case Errno::BadMessage: return NFS3ERR_BADHANDLE;
        case Errno::TryAgain: return NFS3ERR_NOT_SYNC;
    }
    return NFS3ERR_SERVERFAULT;
}

mountstat3 to_mountstat3(Errno code) {
    switch (to_nfsstat3(code)) {
        case NFS3ERR_PERM: return MNT3ERR_PERM;
        case NFS3ERR_NOENT: return MNT3ERR_NOENT;
        case NFS3ERR_IO: return MNT3ERR_IO;
        case NFS3ERR_ACCES: return MNT3ERR_ACCES;
        case NFS3ERR_NOTDIR: return MNT3ERR_NOTDIR;
        case NFS3ERR_INVAL: return MNT3ERR_INVAL;
        case NFS3ERR_NAMETOOLONG: return MNT3ERR_NAMETOOLONG;
        case NFS3ERR_NOTSUPP: return MNT3ERR_NOTSUPP;
        default: return MNT3ERR_SERVERFAULT;
    }
}

fattr3 to_fattr3(const Attributes& attributes, std::uint64_t file_system) {
    fattr3 out{};
    out.type = to_type(attributes.kind);
    out.mode = attributes.mode;
    out.nlink = attributes.nlink;
    out.uid = 0;
    out.gid = attributes.gid;
    out.size = attributes.size;
    out.used = attributes.blocks * kBlockBytes;
    out.fsid = file_system;
    out.fileid = attributes.id.value();
    out.atime = {attributes.mtime, 0};
    out.mtime = {attributes.mtime, 0};
    out.ctime = ctime_of(attributes);
    return out;
}

post_op_attr to_post_op(const std::optional<Attributes>& attributes, std::uint64_t file_system) {
    post_op_attr out{};
    out.attributes_follow = attributes ? TRUE : FALSE;
    if (attributes) out.post_op_attr_u.attributes = to_fattr3(*attributes, file_system);
    return out;
}

wcc_data to_wcc(const Around& around, std::uint64_t file_system) {
    wcc_data out{};
    out.before.attributes_follow = around.before ? TRUE : FALSE;
    if (around.before) {
        wcc_attr& before = out.before.pre_op_attr_u.attributes;
        before.size = around.before->size;
        before.mtime = {around.before->mtime, 0};
        before.ctime = ctime_of(*around.before);
    }
    out.after = to_post_op(around.after, file_system);
    return out;
}

NewAttributes to_new_attributes(const sattr3& wanted) {
    NewAttributes out;
    if (wanted.mode.set_it != FALSE) out.mode = wanted.mode.set_mode3_u.mode;
    if (wanted.uid.set_it != FALSE) out.uid = wanted.uid.set_uid3_u.uid;
    if (wanted.gid.set_it != FALSE) out.gid = wanted.gid.set_gid3_u.gid;
    if (wanted.size.set_it != FALSE) out.size = wanted.size.set_size3_u.size;
    if (wanted.mtime.set_it == SET_TO_CLIENT_TIME) {
        out.mtime = wanted.mtime.set_mtime_u.mtime.seconds;
    }
    out.mtime_is_now = wanted.mtime.set_it == SET_TO_SERVER_TIME;
    return out;
}

}  // namespace cfsgate::gateway::nfs
