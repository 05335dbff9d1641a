// SPDX-License-Identifier: Apache-2.0
// The subcommands. Each prints its own messages and returns an ExitCode.
#pragma once

#include <vector>

#include "clients/arguments.h"

namespace cfsgate::clients {

int run_status(const Arguments& arguments);
int run_top(const Arguments& arguments);
int run_doctor(const Arguments& arguments);
int run_sync(const Arguments& arguments);
int run_verify(const Arguments& arguments);
int run_import(const Arguments& arguments);
int run_export(const Arguments& arguments);
int run_check(const Arguments& arguments);
int run_abort(const Arguments& arguments);
int run_snapshot(const Arguments& arguments);
int run_snapshot_create(const Arguments& arguments);
int run_snapshot_list(const Arguments& arguments);
int run_snapshot_delete(const Arguments& arguments);
int run_log(const Arguments& arguments);
int run_show(const Arguments& arguments);
int run_diff(const Arguments& arguments);
int run_restore(const Arguments& arguments);
int run_history_purge(const Arguments& arguments);
int run_backup(const Arguments& arguments);
int run_recover(const Arguments& arguments);
int run_repair(const Arguments& arguments);
int run_cat(const Arguments& arguments);
int run_put(const Arguments& arguments);
int run_rm(const Arguments& arguments);
int run_mv(const Arguments& arguments);
int run_mkdir(const Arguments& arguments);
int run_ls(const Arguments& arguments);
int run_mount_nfs(const Arguments& arguments);
int run_nfs_ls(const Arguments& arguments);
int run_nfs_cat(const Arguments& arguments);
int run_nfs_put(const Arguments& arguments);
int run_nfs_rm(const Arguments& arguments);
int run_nfs_stat(const Arguments& arguments);
int run_nfs_mv(const Arguments& arguments);
int run_nfs_clients(const Arguments& arguments);

}  // namespace cfsgate::clients
