// SPDX-License-Identifier: Apache-2.0
// Paths inside an export. No I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace cfsgate::clients {

/// The names in a path; empty for the root of the export. Errors: Invalid for "..", NameTooLong.
Result<std::vector<std::string>> split_path(std::string_view path);

struct LinkTarget {
    bool absolute = false;           ///< from the root of the export
    std::vector<std::string> words;  ///< ".." as it stands in the link
};
/// Errors: NotFound for a link that leads out of the export.
Result<LinkTarget> split_link(std::string_view target, std::string_view export_path);

/// A path below the export's own may be given whole.
std::string inside_export(const std::string& operand, const std::string& export_path);

/// A name beside `path` for what is to replace it, no longer than a name may be.
std::string temporary_path(const std::string& path, std::uint32_t number);

}  // namespace cfsgate::clients
