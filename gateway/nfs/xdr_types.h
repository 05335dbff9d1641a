// SPDX-License-Identifier: Apache-2.0
// The protocols' types and, by overload, the codec of each that is decoded or encoded as a whole.
#pragma once

#include "gateway/nfs/protocol/mount3.h"
#include "gateway/nfs/protocol/nfs3.h"
#include "gateway/nfs/protocol/nlm4.h"
#include "gateway/nfs/protocol/nsm.h"
#include "gateway/nfs/protocol/rpc_message.h"

#define CFSGATE_XDR_TYPE(type) \
    inline bool_t xdr_value(XDR* stream, type* value) { return xdr_##type(stream, value); }

namespace cfsgate::gateway::nfs {

CFSGATE_XDR_TYPE(rpc2_auth)
CFSGATE_XDR_TYPE(rpc2_authsys)
CFSGATE_XDR_TYPE(rpc2_start)
CFSGATE_XDR_TYPE(rpc2_call)
CFSGATE_XDR_TYPE(rpc2_versions)
CFSGATE_XDR_TYPE(rpc2_accepted_data)
CFSGATE_XDR_TYPE(rpc2_accepted)
CFSGATE_XDR_TYPE(rpc2_rejected)
CFSGATE_XDR_TYPE(rpc2_reply_body)
CFSGATE_XDR_TYPE(rpc2_reply)

CFSGATE_XDR_TYPE(nfs_fh3)
CFSGATE_XDR_TYPE(fattr3)
CFSGATE_XDR_TYPE(post_op_attr)
CFSGATE_XDR_TYPE(wcc_data)
CFSGATE_XDR_TYPE(post_op_fh3)
CFSGATE_XDR_TYPE(GETATTR3args)
CFSGATE_XDR_TYPE(GETATTR3res)
CFSGATE_XDR_TYPE(SETATTR3args)
CFSGATE_XDR_TYPE(SETATTR3res)
CFSGATE_XDR_TYPE(LOOKUP3args)
CFSGATE_XDR_TYPE(LOOKUP3res)
CFSGATE_XDR_TYPE(ACCESS3args)
CFSGATE_XDR_TYPE(ACCESS3res)
CFSGATE_XDR_TYPE(READLINK3args)
CFSGATE_XDR_TYPE(READLINK3res)
CFSGATE_XDR_TYPE(READ3args)
CFSGATE_XDR_TYPE(READ3res)
CFSGATE_XDR_TYPE(WRITE3args)
CFSGATE_XDR_TYPE(WRITE3res)
CFSGATE_XDR_TYPE(CREATE3args)
CFSGATE_XDR_TYPE(CREATE3res)
CFSGATE_XDR_TYPE(MKDIR3args)
CFSGATE_XDR_TYPE(MKDIR3res)
CFSGATE_XDR_TYPE(SYMLINK3args)
CFSGATE_XDR_TYPE(SYMLINK3res)
CFSGATE_XDR_TYPE(MKNOD3args)
CFSGATE_XDR_TYPE(MKNOD3res)
CFSGATE_XDR_TYPE(REMOVE3args)
CFSGATE_XDR_TYPE(REMOVE3res)
CFSGATE_XDR_TYPE(RMDIR3args)
CFSGATE_XDR_TYPE(RMDIR3res)
CFSGATE_XDR_TYPE(RENAME3args)
CFSGATE_XDR_TYPE(RENAME3res)
CFSGATE_XDR_TYPE(LINK3args)
CFSGATE_XDR_TYPE(LINK3res)
CFSGATE_XDR_TYPE(READDIR3args)
CFSGATE_XDR_TYPE(READDIR3res)
CFSGATE_XDR_TYPE(READDIRPLUS3args)
CFSGATE_XDR_TYPE(READDIRPLUS3res)
CFSGATE_XDR_TYPE(FSSTAT3args)
CFSGATE_XDR_TYPE(FSSTAT3res)
CFSGATE_XDR_TYPE(FSINFO3args)
CFSGATE_XDR_TYPE(FSINFO3res)
CFSGATE_XDR_TYPE(PATHCONF3args)
CFSGATE_XDR_TYPE(PATHCONF3res)
CFSGATE_XDR_TYPE(COMMIT3args)
CFSGATE_XDR_TYPE(COMMIT3res)

CFSGATE_XDR_TYPE(mountres3)

CFSGATE_XDR_TYPE(nlm4_res)
CFSGATE_XDR_TYPE(nlm4_testres)
CFSGATE_XDR_TYPE(nlm4_testargs)
CFSGATE_XDR_TYPE(nlm4_lockargs)
CFSGATE_XDR_TYPE(nlm4_cancargs)
CFSGATE_XDR_TYPE(nlm4_unlockargs)
CFSGATE_XDR_TYPE(nlm4_shareargs)
CFSGATE_XDR_TYPE(nlm4_shareres)
CFSGATE_XDR_TYPE(nlm4_notify)

CFSGATE_XDR_TYPE(sm_name)
CFSGATE_XDR_TYPE(sm_my_id)
CFSGATE_XDR_TYPE(sm_mon_id)
CFSGATE_XDR_TYPE(sm_mon)
CFSGATE_XDR_TYPE(sm_stat)
CFSGATE_XDR_TYPE(sm_stat_res)
CFSGATE_XDR_TYPE(stat_chge)
CFSGATE_XDR_TYPE(sm_status)

/// A path, the whole argument of MNT and UMNT; `dirpath` itself is a pointer like any other.
struct MountPath {
    dirpath path = nullptr;
};
inline bool_t xdr_value(XDR* stream, MountPath* value) { return xdr_dirpath(stream, &value->path); }

/// The results of DUMP and EXPORT.
struct MountList {
    mountlist first = nullptr;
};
inline bool_t xdr_value(XDR* stream, MountList* value) {
    return xdr_mountlist(stream, &value->first);
}
struct MountExports {
    mountexports first = nullptr;
};
inline bool_t xdr_value(XDR* stream, MountExports* value) {
    return xdr_mountexports(stream, &value->first);
}

}  // namespace cfsgate::gateway::nfs

#undef CFSGATE_XDR_TYPE
