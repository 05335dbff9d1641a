// SPDX-License-Identifier: Apache-2.0
// Between the kernel's structures and the façade's values, for the callbacks.
#pragma once

#include <sys/stat.h>

#include "gateway/fuse/adapter.h"

namespace cfsgate::gateway::fuse {

Adapter& adapter_of(fuse_req_t request);
/// adapter_of(), and counts the request.
Adapter& begin(fuse_req_t request);
Caller caller_of(fuse_req_t request);

/// The nanoseconds of ctime are the version, so that two changes within one second differ.
struct stat to_stat(const Attributes& attributes);
fuse_entry_param to_entry(const Attributes& attributes);
OpenMode to_mode(int flags);
HandlePtr& handle_of(const fuse_file_info* info);

void reply_error(fuse_req_t request, const Error& error);
void reply_attributes(fuse_req_t request, const Result<Attributes>& attributes);
/// The kernel holds one more reference to the entry.
void reply_entry(Adapter& adapter, fuse_req_t request, const Attributes& attributes);

/// Completions of changes: the first to claim the reply answers.
FileSystem::Done<void> answer_status(const ReplyPtr& reply);
FileSystem::Done<Attributes> answer_attributes(const ReplyPtr& reply);
FileSystem::Done<Attributes> answer_entry(Adapter& adapter, const ReplyPtr& reply);

/// open, create, mknod, read, write, flush, fsync, release (file_operations.cc).
void add_file_operations(fuse_lowlevel_ops& operations);

}  // namespace cfsgate::gateway::fuse
