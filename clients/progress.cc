// SPDX-License-Identifier: Apache-2.0
#include "clients/progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

namespace cfsgate::clients {
namespace {

constexpr const char* kEraseLine = "\r\033[K";
constexpr std::uint64_t kKibibyte = 1024;

}  // namespace

Progress::Progress(std::string label, std::uint64_t bytes_total)
    : label_(std::move(label)), bytes_total_(bytes_total), visible_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
    if (drawn_) std::fputs(kEraseLine, stderr);
}

void Progress::tick() {
    const auto now = Clock::now();
    if (!visible_ || now < next_) return;
    next_ = now + std::chrono::milliseconds(200);
    drawn_ = true;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - began_).count();
    std::fprintf(stderr, "%s%s: %llu of %llu KiB, %lld s", kEraseLine, label_.c_str(),
                 static_cast<unsigned long long>(bytes_done_ / kKibibyte),
                 static_cast<unsigned long long>((bytes_total_ + kKibibyte - 1) / kKibibyte),
                 static_cast<long long>(seconds));
    std::fflush(stderr);
}

}  // namespace cfsgate::clients
