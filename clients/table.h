// SPDX-License-Identifier: Apache-2.0
// Columns of text.
#pragma once

#include <string>
#include <vector>

namespace cfsgate::clients {

using TableRow = std::vector<std::string>;

/// One line for each row, each column as wide as its widest cell. The last one is not padded.
std::vector<std::string> table_lines(const std::vector<TableRow>& rows);

/// To stdout.
void print_lines(const std::vector<std::string>& lines);

}  // namespace cfsgate::clients
