// SPDX-License-Identifier: Apache-2.0
// Loggers are passed in; nothing below the daemon makes one of its own.
#pragma once

#include <spdlog/logger.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace cfsgate {

using Logger = std::shared_ptr<spdlog::logger>;

/// A logger that drops everything, for tests and for tools that print their own messages.
inline Logger null_logger() {
    return std::make_shared<spdlog::logger>("null",
                                            std::make_shared<spdlog::sinks::null_sink_mt>());
}

}  // namespace cfsgate
