// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "store/base/result.h"

namespace cfsgate::clients {

enum class Messages : std::uint8_t { Show, Hide };  ///< what the program prints on stderr

/// Runs a program, found in PATH, to its end. The exit code; 128 and more for a signal.
/// Errors: TimedOut, then it was killed, or hangs where nothing can kill it; what the system says.
Result<int> run_program(const std::vector<std::string>& words, std::chrono::seconds limit,
                        Messages messages);

}  // namespace cfsgate::clients
