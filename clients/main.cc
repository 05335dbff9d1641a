// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "clients/arguments.h"
#include "clients/commands.h"
#include "clients/exit_code.h"

namespace {

using namespace cfsgate::clients;  // NOLINT(google-build-using-namespace): this file is its user

struct Command {
    Syntax syntax;
    int (*run)(const Arguments&);
};

const std::array<Command, 12>& commands() {
    static const std::array<Command, 12> kCommands{{
        {{"status", "", "Shows how the running daemon is.", 0, 0}, run_status},
        {{"ls", "[PATH]", "Lists a directory of the tree.", 0, 1}, run_ls},
        {{"get", "PATH", "Prints a file of the tree.", 1, 1}, run_get},
        {{"put", "PATH", "Writes stdin to a file of the tree, as a whole.", 1, 1}, run_put},
        {{"rm", "PATH", "Removes a file or an empty directory.", 1, 1}, run_rm},
        {{"mv", "FROM TO", "Renames a file or a directory.", 2, 2}, run_mv},
        {{"mkdir", "PATH", "Makes a directory.", 1, 1}, run_mkdir},
        {{"check", "", "Looks for anything wrong in the store; changes nothing.", 0, 0}, run_check},
        {{"snapshot", "", "Makes the daemon write a snapshot of the tree.", 0, 0}, run_snapshot},
        {{"import", "FILE", "Makes a new store of a config.db.", 1, 1}, run_import},
        {{"export", "FILE", "Writes the tree as a config.db that must not exist yet.", 1, 1},
         run_export},
        {{"abort", "", "Cuts the mount, so that nothing hangs on it.", 0, 0}, run_abort},
    }};
    return kCommands;
}

void print_help(std::FILE* stream) {
    std::fputs("Usage: cfsgate COMMAND [OPTION...] [OPERAND...]\n\n", stream);
    for (const Command& command : commands()) {
        std::fprintf(stream, "  %-9s%s\n", command.syntax.name.c_str(),
                     command.syntax.summary.c_str());
    }
    std::fputs(
        "\ncfsgate COMMAND --help tells the options. Exit codes: 0 done, 1 failed,\n"
        "2 wrong usage, 3 no daemon answers, 4 the store is in use.\n",
        stream);
}

int run(const Command& command, const std::vector<std::string>& words) {
    const auto parsed = parse_arguments(command.syntax, words);
    if (const auto* exit = std::get_if<EarlyExit>(&parsed)) {
        std::fputs(exit->output.c_str(), stdout);
        if (!exit->error.empty()) std::fprintf(stderr, "cfsgate: %s\n", exit->error.c_str());
        return exit->code;
    }
    return command.run(std::get<Arguments>(parsed));
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    const std::string name = words.empty() ? "" : words.front();
    if (name == "--help" || name == "-h" || name == "help") {
        print_help(stdout);
        return kOk;
    }
    if (name == "--version") {
        std::puts("cfsgate " CFSGATE_VERSION);
        return kOk;
    }
    const auto& all = commands();
    const auto* const found = std::find_if(all.begin(), all.end(), [&](const Command& command) {
        return command.syntax.name == name;
    });
    if (found == all.end()) {
        if (!name.empty()) std::fprintf(stderr, "cfsgate: '%s': unknown command\n", name.c_str());
        print_help(stderr);
        return kUsage;
    }
    words.erase(words.begin());
    return run(*found, words);
}
