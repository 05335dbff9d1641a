// SPDX-License-Identifier: Apache-2.0
// The old database (SQLite, one table `tree`): read it, write one that the original can open.
// docs/config-db.md describes the table.
#pragma once

#include <string>
#include <vector>

#include "store/base/result.h"
#include "store/model/inode.h"

namespace cfsgate::store {

/// A whole tree in memory: the root's version, writer and mtime, and every entry but the root,
/// ascending by inode.
struct ConfigDb {
    TreeHead head;
    std::vector<Entry> entries;
};

/// Reads `file` without changing it (a write-ahead log beside it is taken into account).
/// Refuses (Corrupt; the detail names the rows, all of them up to a limit, by inode and name):
/// a table or column that is missing; a value of the wrong kind or out of range; a name that is
/// empty, NULL, too long (over limits::kNameBytesStoredMax), `.`, `..`, or holds a slash or NUL; a
/// directory with data; a type other than 4 or 8; inode 0 under another name than `__version__`; a
/// parent that does not exist, is a file, or is the entry's own descendant; two entries of one
/// directory with the same name; a VMID twice; a file over limits::kFileBytesMax; an inode or
/// version above the root's version.
/// Without a header row the database is new: version 1.
/// Other errors: NotFound, InputOutput.
Result<ConfigDb> read_config_db(const std::string& file);

/// Writes a database that must not exist yet, mode 0600, by temporary file and rename, synced.
/// Errors: Exists, NoSpace, InputOutput.
Status write_config_db(const std::string& file, const ConfigDb& tree);

}  // namespace cfsgate::store
