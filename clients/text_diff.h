// SPDX-License-Identifier: Apache-2.0
// What differs between two texts, as `diff -u` shows it.
#pragma once

#include <string>
#include <string_view>

namespace cfsgate::clients {

/// Empty where they are the same. Three lines of context. Bytes that are no text (with a NUL) only
/// "differ". Of texts that differ in thousands of lines, all lines between their common ends do.
std::string unified_diff(std::string_view before, std::string_view after,
                         const std::string& name_before, const std::string& name_after);

}  // namespace cfsgate::clients
