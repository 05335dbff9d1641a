// SPDX-License-Identifier: Apache-2.0
// The recorded data under tests/data. What cannot be read throws, which fails the test.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "store/model/inode.h"

namespace cfsgate::test {

/// Where `name`, relative to tests/data, lies on this machine.
std::string data_path(const std::string& name);

std::string read_file(const std::string& path);

/// tests/data/vectors/`name`
nlohmann::json load_vectors(const std::string& name);

std::string from_hex(std::string_view text);
std::string to_hex(std::string_view bytes);

/// The "entries" of a tree vector, the root included.
std::vector<Entry> vector_entries(const nlohmann::json& tree);

}  // namespace cfsgate::test
