// SPDX-License-Identifier: Apache-2.0
// What must hold between the rows of the old database.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/config_db/config_db.h"

namespace cfsgate::store {

/// Collects what is wrong with a database, so that all of it can be repaired in one go.
class Problems {
public:
    /// `row` names the row, see row_name().
    void add(std::string_view row, std::string_view why);

    /// Corrupt with everything that was added, up to a limit; good if nothing was.
    Status finish(const std::string& file) const;

private:
    std::string listed_;
    std::size_t count_ = 0;
};

/// What cannot be printed is escaped, what is long is cut.
std::string printable(std::string_view text);

/// "inode 12 'name'"
std::string row_name(InodeNumber inode, std::string_view name);

/// Checks the entries of `tree` (ascending by inode; each sound by itself) against each other and
/// against the root's version.
void check_tree(const ConfigDb& tree, Problems& problems);

}  // namespace cfsgate::store
