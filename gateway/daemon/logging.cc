// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/logging.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/sinks/systemd_sink.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

namespace cfsgate::gateway::daemon {
namespace {

constexpr const char* kLineForm = "[%n] %l: %v";

std::vector<spdlog::sink_ptr> make_sinks(const std::string& identity, bool foreground) {
    // With the journal behind stderr, a second copy of each line would only repeat the first.
    if (is_journal_stream(std::getenv("JOURNAL_STREAM"), STDERR_FILENO)) {
        return {std::make_shared<spdlog::sinks::systemd_sink_mt>(identity, true)};
    }
    std::vector<spdlog::sink_ptr> sinks{
        std::make_shared<spdlog::sinks::syslog_sink_mt>(identity, LOG_PID, LOG_DAEMON, true)};
    if (foreground) sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    return sinks;
}

}  // namespace

bool is_journal_stream(const char* value, int fd) {
    struct stat status {};
    if (value == nullptr || ::fstat(fd, &status) != 0) return false;
    return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) == value;
}

Logging::Logging(const std::string& identity, bool foreground, bool debug)
    : sinks_(make_sinks(identity, foreground)), debug_(debug) {
    for (const auto& sink : sinks_) sink->set_pattern(kLineForm);
}

Logger Logging::part(const std::string& name) {
    auto logger = std::make_shared<spdlog::logger>(name, sinks_.begin(), sinks_.end());
    logger->set_level(level());
    logger->flush_on(spdlog::level::debug);
    const MutexLock lock(mutex_);
    loggers_.push_back(logger);
    return logger;
}

void Logging::set_debug(bool on) {
    debug_ = on;
    const MutexLock lock(mutex_);
    for (const Logger& logger : loggers_) logger->set_level(level());
}

spdlog::level::level_enum Logging::level() const {
    return debug_ ? spdlog::level::debug : spdlog::level::info;
}

}  // namespace cfsgate::gateway::daemon
