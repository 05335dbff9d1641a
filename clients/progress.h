// SPDX-License-Identifier: Apache-2.0
// Tells on stderr how far a transfer is, where somebody looks and it takes long enough to ask.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace cfsgate::clients {

/// Shows nothing before a second has passed, and nothing at all where stderr is no terminal. The
/// line goes away with the object.
class Progress {
public:
    Progress(std::string label, std::uint64_t bytes_total);
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress();

    void set_total(std::uint64_t bytes_total) { bytes_total_ = bytes_total; }
    void advance(std::uint64_t bytes_done) { bytes_done_ = bytes_done; }
    /// Draws the line again if it is time to.
    void tick();

private:
    using Clock = std::chrono::steady_clock;

    std::string label_;
    std::uint64_t bytes_total_;
    std::uint64_t bytes_done_ = 0;
    Clock::time_point began_ = Clock::now();
    Clock::time_point next_ = began_ + std::chrono::seconds(1);
    bool visible_ = false;
    bool drawn_ = false;
};

}  // namespace cfsgate::clients
