// SPDX-License-Identifier: Apache-2.0
// Which files of a state directory are the store's, and how they are moved out of the way.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace cfsgate::store {

bool is_store_file(std::string_view name);

/// Those that are there; `state` is the last.
Result<std::vector<std::string>> store_files(const std::string& directory);

/// Local time as the folders' names have it, such as "20260131-134500".
std::string folder_time(std::time_t time);

/// Makes a folder in `directory` that was not there, 0700, and returns its name: `name`, or with a
/// number behind it.
Result<std::string> make_folder(const std::string& directory, const std::string& name);

/// Moves the whole store into a new folder `store-<time>` and returns the folder's path. The file
/// that tells of a store goes last.
Result<std::string> move_store_aside(const std::string& directory, const std::string& time);

}  // namespace cfsgate::store
