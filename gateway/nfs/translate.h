// SPDX-License-Identifier: Apache-2.0
// Between the façade's values and those of NFSv3.
#pragma once

#include <cstdint>
#include <optional>

#include "gateway/file_system.h"
#include "gateway/nfs/xdr_types.h"

namespace cfsgate::gateway::nfs {

/// Total: every Errno has its status.
nfsstat3 to_nfsstat3(Errno code);
mountstat3 to_mountstat3(Errno code);

fattr3 to_fattr3(const Attributes& attributes, std::uint64_t file_system);
post_op_attr to_post_op(const std::optional<Attributes>& attributes, std::uint64_t file_system);
wcc_data to_wcc(const Around& around, std::uint64_t file_system);

/// What SETATTR asks for; the access time is ignored, as everywhere.
NewAttributes to_new_attributes(const sattr3& wanted);

}  // namespace cfsgate::gateway::nfs
