// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace cfsgate::detail {
[[noreturn]] void check_failed(const char* expression, const char* file, int line) noexcept;
}  // namespace cfsgate::detail

/// Ends the process when an invariant of ours is broken, in every build: a bug must not spread to
/// the data. Never for input from outside.
#define CFSGATE_CHECK(expression)        \
    ((expression) ? static_cast<void>(0) \
                  : ::cfsgate::detail::check_failed(#expression, __FILE__, __LINE__))
