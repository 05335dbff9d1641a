// SPDX-License-Identifier: Apache-2.0
// The message by which all nodes of a cluster are asked to take a path out of their past: a DELETE
// of `../cfsgate-purge/PATH`. Nobody can create such an entry, so it changes the tree of no node,
// and a node that does not know it does nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/base/result.h"
#include "store/model/operation.h"

namespace cfsgate::replication {

Operation purge_message(std::string_view path);

/// The path of such a message, as it came; nothing for any other operation.
std::optional<std::string_view> purge_path_of(const Operation& operation);

/// Whether a message may ask for it: components parted by one slash each, none of them `.` or `..`,
/// within the limits of names and paths, without control characters, which logs cannot show.
/// Errors: Invalid, NameTooLong; they do not repeat the path.
Status check_purge_path(std::string_view path);

}  // namespace cfsgate::replication
