// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/table.h"
#include "clients/top_text.h"

namespace cfsgate::clients {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kClearScreen = "\033[H\033[2J";

struct Sample {
    Answer answer;
    Clock::time_point at;
};

Sample take_sample(const Arguments& arguments) {
    return {ask(arguments.control, {{"command", "status"}}), Clock::now()};
}

void show(const Sample& before, const Sample& now, bool first) {
    const std::chrono::duration<double> passed = now.at - before.at;
    if (::isatty(STDOUT_FILENO) != 0) {
        std::fputs(kClearScreen, stdout);
    } else if (!first) {
        std::puts("");
    }
    print_lines(top_lines(*before.answer.response, *now.answer.response, passed.count()));
    std::fflush(stdout);
}

}  // namespace

/// Ends by itself after `count` blocks, or when the daemon or the reader of stdout has gone.
int run_top(const Arguments& arguments) {
    Sample before = take_sample(arguments);
    if (!before.answer.response) return report(before.answer.error);
    for (int shown = 0; arguments.count == 0 || shown < arguments.count; ++shown) {
        std::this_thread::sleep_for(std::chrono::seconds(arguments.interval_seconds));
        Sample now = take_sample(arguments);
        if (!now.answer.response) return report(now.answer.error);
        show(before, now, shown == 0);
        before = std::move(now);
    }
    return kOk;
}

}  // namespace cfsgate::clients
