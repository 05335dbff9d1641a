// SPDX-License-Identifier: Apache-2.0
#include "store/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace cfsgate::detail {

void check_failed(const char* expression, const char* file, int line) noexcept {
    std::fprintf(stderr, "cfsgate: broken invariant at %s:%d: %s\n", file, line, expression);
    std::abort();
}

}  // namespace cfsgate::detail
