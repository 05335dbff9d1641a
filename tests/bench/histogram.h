// SPDX-License-Identifier: Apache-2.0
// Latencies, and the result of one measurement as all loads print it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace cfsgate::bench {

using Clock = std::chrono::steady_clock;

/// Counts by latency: 32 steps for each power of two of nanoseconds, so within 3 %.
class Histogram {
public:
    void add(Clock::duration latency) {
        const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(1, latency.count()));
        ++counts_[bucket(ns)];
        ++count_;
        max_ns_ = std::max(max_ns_, ns);
    }
    void add(const Histogram& other) {
        for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
        count_ += other.count_;
        max_ns_ = std::max(max_ns_, other.max_ns_);
    }
    std::uint64_t count() const { return count_; }
    double max_us() const { return static_cast<double>(max_ns_) / 1000; }
    /// The upper end of the step in which the share `part` of all is reached.
    double quantile_us(double part) const {
        const auto wanted =
            static_cast<std::uint64_t>(std::ceil(part * static_cast<double>(count_)));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen >= wanted && seen > 0) return std::min(upper_us(i), max_us());
        }
        return 0;
    }
    nlohmann::json to_json() const {
        auto out = nlohmann::json::array();
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            if (counts_[i] != 0) out.push_back({upper_us(i), counts_[i]});
        }
        return out;
    }

private:
    static constexpr unsigned kStepBits = 5;
    static constexpr std::size_t kSteps = 1U << kStepBits;

    static std::size_t bucket(std::uint64_t ns) {
        if (ns < kSteps) return ns;
        const auto shift = static_cast<unsigned>(std::bit_width(ns)) - 1 - kStepBits;
        return (shift + 1) * kSteps + ((ns >> shift) - kSteps);
    }
    static double upper_us(std::size_t bucket) {
        if (bucket < kSteps) return static_cast<double>(bucket + 1) / 1000;
        const std::size_t shift = bucket / kSteps - 1;
        const auto steps = static_cast<double>(kSteps + bucket % kSteps + 1);
        return std::ldexp(steps, static_cast<int>(shift)) / 1000;
    }

    std::array<std::uint64_t, 64 * kSteps> counts_{};
    std::uint64_t count_ = 0;
    std::uint64_t max_ns_ = 0;
};

inline nlohmann::json result_json(const std::string& workload, int threads, double seconds,
                                  const Histogram& latencies, std::uint64_t errors,
                                  const std::string& first_error) {
    return {{"workload", workload},
            {"threads", threads},
            {"operations", latencies.count()},
            {"seconds", seconds},
            {"per_second", static_cast<double>(latencies.count()) / seconds},
            {"p50_us", latencies.quantile_us(0.5)},
            {"p99_us", latencies.quantile_us(0.99)},
            {"max_us", latencies.max_us()},
            {"errors", errors},
            {"first_error", first_error},
            {"histogram", latencies.to_json()}};
}

}  // namespace cfsgate::bench
