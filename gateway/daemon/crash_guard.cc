// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/crash_guard.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "store/store.h"

namespace cfsgate::gateway::daemon {
namespace {

struct Guarded {
    int signal;
    const char* text;
    struct sigaction before {};
};

// A signal handler reads them, and may call next to nothing; so they are ready before.
Guarded guarded[] = {
    {SIGBUS, "SIGBUS: a page of tree.mdb could not be read"},
    {SIGSEGV, "SIGSEGV"},
    {SIGABRT, "SIGABRT"},
};
char tree_file[4096];
char aside_file[4096];

void say(const char* text) {
    // Nobody can be told of a failure.
    if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

/// A signal that somebody has sent tells nothing of the tree.
bool is_our_own(const siginfo_t& info) {
    return info.si_code > 0 || (info.si_code == SI_TKILL && info.si_pid == ::getpid());
}

void on_crash(int signal, siginfo_t* info, void*) {
    const int error = errno;
    const Guarded* found = std::find_if(std::begin(guarded), std::end(guarded),
                                        [&](const Guarded& one) { return one.signal == signal; });
    if (is_our_own(*info)) {
        const bool aside = std::rename(tree_file, aside_file) == 0;
        say("cfsgated: ");
        say(found->text);
        say(aside ? "; tree.mdb is put aside, and the next start rebuilds it\n" : "\n");
    }
    ::sigaction(signal, &found->before, nullptr);
    // What the processor or abort() raised comes again by itself.
    if (!is_our_own(*info)) ::raise(signal);
    errno = error;
}

Status put(char (&field)[4096], const std::string& path) {
    if (path.size() >= sizeof(field)) return fail(Errno::NameTooLong, path);
    path.copy(field, path.size());
    return {};
}

}  // namespace

Status install_crash_guard(const std::string& state_directory) {
    const std::string tree = store::kTreeFileName;
    CFSGATE_TRY(put(tree_file, state_directory + "/" + tree));
    CFSGATE_TRY(put(aside_file, state_directory + "/" + store::kDamagedPrefix + tree));
    for (Guarded& one : guarded) {
        struct sigaction action {};
        action.sa_sigaction = on_crash;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        if (::sigaction(one.signal, &action, &one.before) != 0) return fail_posix(errno, one.text);
    }
    return {};
}

}  // namespace cfsgate::gateway::daemon
