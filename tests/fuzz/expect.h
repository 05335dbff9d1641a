// SPDX-License-Identifier: Apache-2.0
// How a fuzzer says that something is wrong, in every build.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace cfsgate::fuzz {

inline void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "wrong: %s\n", what);
    std::abort();
}

}  // namespace cfsgate::fuzz
