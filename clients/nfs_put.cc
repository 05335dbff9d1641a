// SPDX-License-Identifier: Apache-2.0
// cfsgate nfs put: a new file beside the target, then a rename over it.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <random>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/nfs_commands.h"
#include "clients/nfs_path.h"
#include "clients/read_input.h"

namespace cfsgate::clients {
namespace {

constexpr int kCleanUpSeconds = 2;
constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};

volatile std::sig_atomic_t caught = 0;

extern "C" void remember(int signal) { caught = signal; }

/// While a temporary file exists; a second signal ends the program at once.
void catch_signals() {
    struct sigaction action {};
    action.sa_handler = remember;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (const int signal : kSignals) {
        struct sigaction before {};
        ::sigaction(signal, nullptr, &before);
        // One that is ignored, as by nohup, stays so.
        if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
    }
}

/// As if it had never been caught.
void end_by_signal() {
    if (caught == 0) return;
    ::signal(caught, SIG_DFL);
    ::raise(caught);
}

Status remove_if_there(NfsConnection& nfs, const std::string& path) {
    nfs.session().end_when(nullptr);
    auto removed = nfs.remove(path);
    if (!removed && removed.error().code == Errno::NotFound) return {};
    return removed;
}

/// The connection may be what failed: then by a new one, for a short time.
Status clean_up(NfsConnection& nfs, const Arguments& arguments, const std::string& temporary) {
    if (nfs.session().usable()) return remove_if_there(nfs, temporary);
    NfsServer server = nfs_server(arguments);
    server.rpc.timeout_seconds = kCleanUpSeconds;
    const auto again = CFSGATE_TRY(NfsConnection::open(server));
    return remove_if_there(*again, temporary);
}

Status replace(NfsConnection& nfs, const Arguments& arguments, const std::string& path,
               const std::string& content) {
    const std::string temporary = temporary_path(path, std::random_device{}());
    catch_signals();
    nfs.session().end_when(&caught);
    Progress progress(path, content.size());
    auto done = nfs.create_file(temporary, content, progress);
    if (!done && done.error().code == Errno::Exists) return done;  // it is somebody else's
    if (done) done = nfs.rename(temporary, path);
    if (done) return done;
    const auto cleaned = clean_up(nfs, arguments, temporary);
    if (!cleaned) {
        std::fprintf(stderr, "cfsgate: %s may be left over: %s\n", temporary.c_str(),
                     cleaned.error().detail.c_str());
    }
    return done;
}

Status overwrite(NfsConnection& nfs, const std::string& path, const std::string& content) {
    Progress progress(path, content.size());
    return nfs.overwrite_file(path, content, progress);
}

}  // namespace

int run_nfs_put(const Arguments& arguments) {
    const auto content = read_input(arguments.operands.size() > 1 ? arguments.operands[1] : "-");
    if (!content) return report({kFailed, content.error().detail});
    const std::string path = nfs_path(arguments);
    if (path.empty()) return report({kFailed, "a file must be named, not the root"});
    int code = kOk;
    const auto nfs = open_nfs(arguments, code);
    if (!nfs) return code;
    const auto done = arguments.in_place ? overwrite(*nfs, path, *content)
                                         : replace(*nfs, arguments, path, *content);
    if (done) return kOk;
    if (done.error().code == Errno::Interrupted) end_by_signal();
    code = report_nfs(done.error());
    end_by_signal();
    return code;
}

}  // namespace cfsgate::clients
