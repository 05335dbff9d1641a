// SPDX-License-Identifier: Apache-2.0
// Remembers which config.db in a state directory the store already knows, so that a start notices
// when the original has changed it since.
#pragma once

#include <optional>
#include <string>

#include "store/base/result.h"

namespace cfsgate::store {

/// `<directory>/config.db`
std::string config_db_path(const std::string& directory);

/// Size and time of config.db and of its write-ahead log, as one line of text. Nothing without a
/// config.db. Errors: what the system says.
Result<std::optional<std::string>> config_db_fingerprint(const std::string& directory);

/// The fingerprint of the config.db that was last imported or exported here; nothing without one.
Result<std::optional<std::string>> read_import_mark(const std::string& directory);

/// Writes `<directory>/config.db.imported`, synced. Errors: NoSpace, InputOutput.
Status write_import_mark(const std::string& directory, const std::string& fingerprint);

/// After an import or export of `file`: marks it, if it is the state directory's own config.db.
Status mark_as_known(const std::string& directory, const std::string& file);

}  // namespace cfsgate::store
