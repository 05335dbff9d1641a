// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "gateway/daemon/daemon.h"
#include "gateway/daemon/logging.h"
#include "gateway/daemon/mount_point.h"
#include "gateway/daemon/options.h"
#include "gateway/daemon/probe.h"
#include "gateway/daemon/start_report.h"

namespace {

namespace daemon_ns = cfsgate::gateway::daemon;

/// So that no file of the daemon gets the number of a standard stream.
void open_standard_streams() {
    int fd = 0;
    do {
        fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) ::close(fd);
}

int leave(const std::string& program, const daemon_ns::EarlyExit& exit) {
    if (!exit.output.empty()) std::fputs(exit.output.c_str(), stdout);
    if (!exit.error.empty()) std::fprintf(stderr, "%s: %s\n", program.c_str(), exit.error.c_str());
    return exit.code;
}

/// For systemd, which calls it whenever the daemon has ended, however that was.
int unmount_dead(const daemon_ns::Options& options) {
    daemon_ns::Logging logging(options.identity, true, options.debug);
    const cfsgate::Logger log = logging.part("fuse");
    daemon_ns::Prober prober;
    const auto done = daemon_ns::take_away_dead_mounts(options.mount_point, prober, log);
    if (done) return 0;
    log->error("{}", done.error().detail);
    return daemon_ns::kExitStartFailed;
}

int run(const daemon_ns::Options& options) {
    if (options.unmount_dead) return unmount_dead(options);
    daemon_ns::StartReport report;
    if (!options.foreground) {
        auto background = daemon_ns::fork_to_background(options.identity);
        if (!background) {
            return leave(options.identity,
                         {daemon_ns::kExitStartFailed, {}, background.error().detail});
        }
        if (background->parent_exit) return *background->parent_exit;
        report = std::move(background->report);
    }
    return daemon_ns::Daemon(options, std::move(report)).run();
}

}  // namespace

int main(int argc, char** argv) {
    open_standard_streams();
    const std::vector<std::string> arguments(argv, argv + argc);
    if (const auto code = daemon_ns::run_as_probe(arguments)) return *code;
    const auto parsed = daemon_ns::parse_options(arguments);
    if (const auto* exit = std::get_if<daemon_ns::EarlyExit>(&parsed)) {
        return leave(arguments.empty() ? "cfsgated" : arguments.front(), *exit);
    }
    return run(std::get<daemon_ns::Options>(parsed));
}
