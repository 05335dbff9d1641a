// SPDX-License-Identifier: Apache-2.0
// Runs seeded histories of a simulated cluster. See --help and docs/simulation.md.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "tests/simulation/simulation.h"

namespace {

using cfsgate::simulation::Broken;
using cfsgate::simulation::kSabotages;
using cfsgate::simulation::Options;
using cfsgate::simulation::Sabotage;
using cfsgate::simulation::Simulation;
using cfsgate::simulation::Totals;

constexpr const char* kHelp =
    "Usage: simulate [OPTION...]\n"
    "  --histories N    how many, 2000 if not given\n"
    "  --from S         the seed of the first one, 1 if not given\n"
    "  --seed S         only this one, with its whole trace\n"
    "  --nodes N        2 to 7; as the seed has it if not given\n"
    "  --mixed          some members behave like the original\n"
    "  --rotation       changes are acknowledged as by --ack=rotation\n"
    "  --lost-max N     fails if a process sees more acknowledged creations lost, in whatever way\n"
    "  --jobs N         processes, 1 if not given\n"
    "  --progress       says how far it is, and which seeds had a creation overruled, or with\n"
    "                   --rotation lost in any way\n"
    "  --sabotage NAME  with this bug\n"
    "  --all-sabotages  each bug must be found within the histories\n";

struct Command {
    Options options;
    std::uint64_t histories = 2000;
    std::uint64_t from = 1;
    std::uint64_t jobs = 1;
    std::optional<std::uint64_t> lost_max;
    bool progress = false;
    bool all_sabotages = false;
};

constexpr std::size_t kTraceLinesShown = 60;

void report(const Options& options, const Simulation& simulation, const char* why) {
    std::printf("seed %llu%s: %s\n", static_cast<unsigned long long>(options.seed),
                options.mixed ? " (mixed)" : "", why);
    const auto& lines = simulation.trace_lines();
    const std::size_t first = lines.size() - std::min(lines.size(), kTraceLinesShown);
    for (std::size_t i = first; i < lines.size(); ++i) std::printf("  %s\n", lines[i].c_str());
    const std::string nodes =
        options.nodes ? " --nodes " + std::to_string(*options.nodes) : std::string();
    std::printf("again, with its whole trace: scripts/simulate --seed %llu%s%s%s\n",
                static_cast<unsigned long long>(options.seed), nodes.c_str(),
                options.mixed ? " --mixed" : "", options.rotation ? " --rotation" : "");
}

bool run_one(const Options& options, Totals& totals, bool quiet, std::string* found) {
    Simulation simulation(options);
    try {
        simulation.run();
        totals.add(simulation.totals());
        return true;
    } catch (const Broken& broken) {
        if (found != nullptr) *found = broken.what();
        if (!quiet) report(options, simulation, broken.what());
        return false;
    }
}

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

void print(const Totals& totals, double seconds) {
    const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    std::printf(
        "%llu histories in %.0f s: %llu steps, %llu rings, %llu kills, %llu takeovers, %llu "
        "verifications, %llu times a member's tree differed, %llu changes performed twice; %llu "
        "calls, %llu acknowledged; of %llu "
        "acknowledged creations %llu lost by those who were cut off, %llu overruled by a tree "
        "written apart, %llu undone by power cuts before they were durable\n",
        number(totals.histories), seconds, number(totals.steps), number(totals.rings),
        number(totals.kills), number(totals.takeovers), number(totals.verifications),
        number(totals.unequal), number(totals.repeated), number(totals.calls),
        number(totals.acknowledged), number(totals.creations), number(totals.lost_apart),
        number(totals.lost_overruled), number(totals.lost_undone));
}

/// Every `jobs`-th history, beginning with number `job`. Returns an exit code.
int run_share(const Command& command, std::uint64_t job) {
    Totals totals;
    int code = 0;
    const auto start = Clock::now();
    auto said = start;
    for (std::uint64_t i = job; i < command.histories; i += command.jobs) {
        Options options = command.options;
        options.seed = command.from + i;
        const auto odd = [&] {
            return totals.lost_overruled + (options.rotation ? totals.lost_apart : 0);
        };
        const std::uint64_t before = odd();
        if (!run_one(options, totals, false, nullptr)) code = 1;
        if (command.progress && odd() > before) {
            std::printf("a creation lost, with seed %llu\n",
                        static_cast<unsigned long long>(options.seed));
        }
        if (command.progress && seconds_since(said) >= 30) {
            said = Clock::now();
            std::printf("process %llu: at seed %llu after %.0f s\n",
                        static_cast<unsigned long long>(job + 1),
                        static_cast<unsigned long long>(options.seed), seconds_since(start));
        }
        std::fflush(stdout);
    }
    print(totals, seconds_since(start));
    const std::uint64_t lost = totals.lost_apart + totals.lost_overruled + totals.lost_undone;
    if (command.lost_max && lost > *command.lost_max) {
        std::printf("more are lost than may be\n");
        code = 1;
    }
    std::fflush(stdout);
    return code;
}

int run_shares(const Command& command) {
    if (command.jobs <= 1) return run_share(command, 0);
    std::fflush(stdout);
    std::uint64_t running = 0;
    for (; running < command.jobs; ++running) {
        const pid_t child = ::fork();
        if (child < 0) break;
        if (child == 0) std::_Exit(run_share(command, running));
    }
    int code = running == command.jobs ? 0 : 1;
    for (; running > 0; --running) {
        int status = 0;
        if (::wait(&status) < 0 || status != 0) code = 1;
    }
    return code;
}

int run_sabotages(const Command& command) {
    int code = 0;
    for (const auto& [sabotage, name] : kSabotages) {
        Options options = command.options;
        options.sabotage = sabotage;
        Totals totals;
        std::string found;
        std::uint64_t seed = command.from;
        const std::uint64_t end = command.from + command.histories;
        for (; seed < end; ++seed) {
            options.seed = seed;
            if (!run_one(options, totals, true, &found)) break;
        }
        if (seed == end) {
            code = 1;
            found = "NOT FOUND";
        }
        found.resize(std::min(found.find('\n'), found.size()));
        std::printf("%-20.*s seed %llu: %s\n", static_cast<int>(name.size()), name.data(),
                    static_cast<unsigned long long>(seed), found.c_str());
        std::fflush(stdout);
    }
    return code;
}

[[noreturn]] void fail_usage(const std::string& what) {
    std::fprintf(stderr, "simulate: %s; see --help\n", what.c_str());
    std::exit(2);
}

Sabotage sabotage_of(std::string_view wanted) {
    for (const auto& [sabotage, name] : kSabotages) {
        if (name == wanted) return sabotage;
    }
    fail_usage("there is no such bug");
}

Command read_command(int argc, char** argv) {
    Command command;
    bool single = false;
    for (int i = 1; i < argc; ++i) {
        const std::string_view option = argv[i];
        const auto number = [&]() -> std::uint64_t {
            if (++i == argc) fail_usage(std::string(option) + " needs a value");
            char* end = nullptr;
            const std::uint64_t value = std::strtoull(argv[i], &end, 10);
            if (*argv[i] == '\0' || *end != '\0') fail_usage("that is no number");
            return value;
        };
        if (option == "--histories") {
            command.histories = number();
        } else if (option == "--from") {
            command.from = number();
        } else if (option == "--seed") {
            command.from = number();
            single = true;
        } else if (option == "--nodes") {
            command.options.nodes = number();
            if (*command.options.nodes < 2 || *command.options.nodes > 7) fail_usage("2 to 7");
        } else if (option == "--lost-max") {
            command.lost_max = number();
        } else if (option == "--jobs") {
            command.jobs = number();
        } else if (option == "--rotation") {
            command.options.rotation = true;
        } else if (option == "--mixed") {
            command.options.mixed = true;
        } else if (option == "--progress") {
            command.progress = true;
        } else if (option == "--all-sabotages") {
            command.all_sabotages = true;
        } else if (option == "--sabotage") {
            if (++i == argc) fail_usage("--sabotage needs a value");
            command.options.sabotage = sabotage_of(argv[i]);
        } else if (option == "--help") {
            std::fputs(kHelp, stdout);
            std::exit(0);
        } else {
            fail_usage("there is no option " + std::string(option));
        }
    }
    if (single) {
        command.histories = 1;
        command.jobs = 1;
        command.options.verbose = true;
    }
    return command;
}

}  // namespace

int main(int argc, char** argv) {
    const Command command = read_command(argc, argv);
    return command.all_sabotages ? run_sabotages(command) : run_shares(command);
}
