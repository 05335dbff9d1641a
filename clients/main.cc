// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
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

const std::vector<Command>& commands() {
    static const std::vector<Command> kCommands{
        {{"status", "", "Shows how the running daemon is.", 0, 0, OptionSet::Status}, run_status},
        {{"top", "", "Shows it again every second, with rates.", 0, 0, OptionSet::Top}, run_top},
        {{"doctor", "", "Looks for what stops clusters, and says what to do.", 0, 0,
          OptionSet::Doctor},
         run_doctor},
        {{"sync", "[PATH]", "Waits until this node has all that was done before, on any node.", 0,
          1},
         run_sync},
        {{"verify", "", "Compares the trees of all nodes now.", 0, 0}, run_verify},
        {{"ls", "[PATH]", "Lists a directory of the tree, also without a daemon.", 0, 1}, run_ls},
        {{"cat", "PATH", "Prints a file of the tree, also without a daemon.", 1, 1}, run_cat},
        {{"get", "PATH", "The same as cat.", 1, 1}, run_cat},
        {{"put", "PATH", "Writes stdin to a file of the tree, as a whole.", 1, 1}, run_put},
        {{"rm", "PATH", "Removes a file or an empty directory.", 1, 1}, run_rm},
        {{"mv", "FROM TO", "Renames a file or a directory.", 2, 2}, run_mv},
        {{"mkdir", "PATH", "Makes a directory.", 1, 1}, run_mkdir},
        {{"check", "", "Looks for anything wrong in the store; changes nothing.", 0, 0}, run_check},
        {{"log", "[PATH]", "Shows what was done, by which node and when; the newest first.", 0, 1,
          OptionSet::Log},
         run_log},
        {{"show", "PATH@POSITION", "Prints a file or a directory as it was.", 1, 1}, run_show},
        {{"diff", "PATH@POSITION [PATH@POSITION]",
          "Shows what has changed since, or between two positions.", 1, 2},
         run_diff},
        {{"restore", "[PATH@POSITION]",
          "Makes a file, a directory or the whole tree what it was, by new changes.", 0, 1,
          OptionSet::Restore},
         run_restore},
        {{"snapshot", "", "Makes the daemon write a snapshot for its own use.", 0, 0},
         run_snapshot},
        {{"snapshot create", "[NAME]", "Keeps the tree as it is now under a name.", 0, 1},
         run_snapshot_create},
        {{"snapshot list", "", "Lists all snapshots.", 0, 0}, run_snapshot_list},
        {{"snapshot delete", "NAME", "Deletes a snapshot that was kept by name.", 1, 1},
         run_snapshot_delete},
        {{"history purge", "PATH",
          "Takes the content of PATH out of this node's past, or all nodes'.", 1, 1,
          OptionSet::Purge},
         run_history_purge},
        {{"repair", "", "Makes a good store of a damaged one; lists what cannot be kept.", 0, 0,
          OptionSet::Repair},
         run_repair},
        {{"backup", "FILE", "Writes the whole tree to one file, or looks at such a file.", 1, 1,
          OptionSet::Backup},
         run_backup},
        {{"recover", "FILE", "Makes a new store of a backup.", 1, 1, OptionSet::Recover},
         run_recover},
        {{"import", "FILE", "Makes a new store of a config.db.", 1, 1}, run_import},
        {{"export", "FILE", "Writes the tree as a config.db that must not exist yet.", 1, 1},
         run_export},
        {{"abort", "", "Cuts the mount, so that nothing hangs on it.", 0, 0}, run_abort},
        {{"mount-nfs", "DIR", "Mounts the tree by NFS from this host's daemon, or unmounts.", 1, 1,
          OptionSet::MountNfs},
         run_mount_nfs},
        {{"nfs ls", "[PATH]", "Lists a directory over NFS, without a mount.", 0, 1,
          OptionSet::NfsList},
         run_nfs_ls},
        {{"nfs cat", "PATH", "Prints a file over NFS.", 1, 1, OptionSet::Nfs}, run_nfs_cat},
        {{"nfs put", "PATH [FILE]", "Replaces a file over NFS by stdin or FILE, as a whole.", 1, 2,
          OptionSet::NfsPut},
         run_nfs_put},
        {{"nfs rm", "PATH", "Removes a file or an empty directory over NFS.", 1, 1, OptionSet::Nfs},
         run_nfs_rm},
        {{"nfs mv", "FROM TO", "Renames over NFS.", 2, 2, OptionSet::Nfs}, run_nfs_mv},
        {{"nfs stat", "PATH", "Shows the attributes of an entry over NFS.", 1, 1,
          OptionSet::NfsData},
         run_nfs_stat},
        {{"nfs clients", "", "Shows who is connected to the daemon by NFS.", 0, 0},
         run_nfs_clients},
    };
    return kCommands;
}

/// The commands whose names begin so.
void print_help(std::FILE* stream, const std::string& group = "") {
    std::fputs("Usage: cfsgate COMMAND [OPTION...] [OPERAND...]\n\n", stream);
    for (const Command& command : commands()) {
        if (!command.syntax.name.starts_with(group)) continue;
        std::fprintf(stream, "  %-16s%s\n", command.syntax.name.c_str(),
                     command.syntax.summary.c_str());
    }
    std::fputs(
        "\ncfsgate COMMAND --help tells the options. Exit codes: 0 done, 1 failed,\n"
        "2 wrong usage, 3 no daemon or server answers, 4 the store is in use,\n"
        "5 repaired, and something is lost.\n",
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

/// Whether commands of two words begin with this one.
bool is_group(const std::string& word) {
    return word == "nfs" || word == "snapshot" || word == "history";
}

/// The command's name, of one word or two; taken off the words.
std::string take_name(std::vector<std::string>& words) {
    if (words.empty()) return "";
    const bool two =
        words.size() > 1 && is_group(words[0]) && (words[0] == "nfs" || !words[1].starts_with('-'));
    const std::size_t count = two ? 2 : 1;
    const std::string name = two ? words[0] + " " + words[1] : words[0];
    words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count));
    return name;
}

bool is_help(const std::string& word) { return word == "--help" || word == "-h" || word == "help"; }

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    const std::string name = take_name(words);
    const std::string first = name.substr(0, name.find(' '));
    const std::string group = is_group(first) ? first : "";
    if (is_help(name.substr(name.rfind(' ') + 1))) {
        print_help(stdout, group.empty() ? "" : group + " ");
        return kOk;
    }
    if (name == "--version") {
        std::puts("cfsgate " CFSGATE_VERSION);
        return kOk;
    }
    const auto& all = commands();
    const auto found = std::find_if(all.begin(), all.end(), [&](const Command& command) {
        return command.syntax.name == name;
    });
    if (found == all.end()) {
        if (!name.empty()) std::fprintf(stderr, "cfsgate: '%s': unknown command\n", name.c_str());
        print_help(stderr, group.empty() ? "" : group + " ");
        return kUsage;
    }
    return run(*found, words);
}
