// SPDX-License-Identifier: Apache-2.0
#include "clients/table.h"

#include <algorithm>
#include <cstdio>

namespace cfsgate::clients {
namespace {

constexpr std::size_t kGap = 2;

std::vector<std::size_t> widths_of(const std::vector<TableRow>& rows) {
    std::vector<std::size_t> widths;
    for (const TableRow& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    return widths;
}

}  // namespace

std::vector<std::string> table_lines(const std::vector<TableRow>& rows) {
    const std::vector<std::size_t> widths = widths_of(rows);
    std::vector<std::string> lines;
    for (const TableRow& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            line += row[i];
            if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + kGap, ' ');
        }
        lines.push_back(std::move(line));
    }
    return lines;
}

void print_lines(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) std::printf("%s\n", line.c_str());
}

}  // namespace cfsgate::clients
