// SPDX-License-Identifier: Apache-2.0
// The procedures of NFSv3, one function each.
#pragma once

#include "gateway/nfs/adapter.h"

namespace cfsgate::gateway::nfs {

// --- Reading (nfs3_reading.cc): answered at once ---
Answer nfs3_getattr(const AdapterPtr& adapter, const Request& request);
Answer nfs3_lookup(const AdapterPtr& adapter, const Request& request);
Answer nfs3_access(const AdapterPtr& adapter, const Request& request);
Answer nfs3_readlink(const AdapterPtr& adapter, const Request& request);
Answer nfs3_read(const AdapterPtr& adapter, const Request& request);
Answer nfs3_fsstat(const AdapterPtr& adapter, const Request& request);
Answer nfs3_fsinfo(const AdapterPtr& adapter, const Request& request);
Answer nfs3_pathconf(const AdapterPtr& adapter, const Request& request);

// --- Listings (nfs3_listing.cc): answered at once ---
Answer nfs3_readdir(const AdapterPtr& adapter, const Request& request);
Answer nfs3_readdirplus(const AdapterPtr& adapter, const Request& request);

// --- Changes (nfs3_changes.cc) ---
Answer nfs3_setattr(const AdapterPtr& adapter, const Request& request);
Answer nfs3_write(const AdapterPtr& adapter, const Request& request);
Answer nfs3_create(const AdapterPtr& adapter, const Request& request);
Answer nfs3_mkdir(const AdapterPtr& adapter, const Request& request);
Answer nfs3_symlink(const AdapterPtr& adapter, const Request& request);
Answer nfs3_mknod(const AdapterPtr& adapter, const Request& request);
Answer nfs3_remove(const AdapterPtr& adapter, const Request& request);
Answer nfs3_rmdir(const AdapterPtr& adapter, const Request& request);
Answer nfs3_rename(const AdapterPtr& adapter, const Request& request);
Answer nfs3_link(const AdapterPtr& adapter, const Request& request);
Answer nfs3_commit(const AdapterPtr& adapter, const Request& request);

}  // namespace cfsgate::gateway::nfs
