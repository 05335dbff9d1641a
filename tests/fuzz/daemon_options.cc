// SPDX-License-Identifier: Apache-2.0
// Command line and configuration file of the daemon and of the command: words up to an empty line,
// then the file.
#include <cstdint>
#include <string>
#include <vector>

#include "clients/arguments.h"
#include "gateway/daemon/options.h"
#include "tests/fuzz/memory_file.h"

namespace {

using namespace cfsgate;
using fuzz::expect;

void try_daemon(const std::vector<std::string>& words, const std::string& file) {
    namespace daemon = gateway::daemon;
    const auto parsed = daemon::parse_options(words, file);
    if (const auto* exit = std::get_if<daemon::EarlyExit>(&parsed)) {
        expect(!exit->output.empty() || !exit->error.empty(), "who ends says why");
        return;
    }
    const auto& options = std::get<daemon::Options>(parsed);
    expect(options.deadline.count() >= 1 && options.deadline.count() <= 3600, "the deadline");
    expect(options.entries_max >= 1, "the number of entries");
    expect(options.tree_bytes_max >= 1, "the bytes of the tree");
    expect(options.state_directory.starts_with('/'), "a place is absolute");
    static_cast<void>(daemon::to_server_options(options.nfs, options.deadline));
}

void try_command(std::vector<std::string> words, const std::string& file) {
    words.erase(words.begin());
    words.insert(words.begin(), {"--config", file});
    for (const auto set : {clients::OptionSet::Daemon, clients::OptionSet::NfsPut,
                           clients::OptionSet::Backup, clients::OptionSet::MountNfs}) {
        const auto parsed = clients::parse_arguments({"x", "[PATH]", "", 0, 1, set}, words);
        const auto* arguments = std::get_if<clients::Arguments>(&parsed);
        if (arguments == nullptr) continue;
        expect(arguments->port >= 1 && arguments->port <= 65535, "the port");
        expect(arguments->timeout_seconds >= 1 && arguments->timeout_seconds <= 3600, "the time");
        expect(arguments->operands.size() <= 1, "the operands");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    std::vector<std::string> words;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        const std::string_view word = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (word.empty() && !words.empty()) break;
        words.emplace_back(word.substr(0, word.find('\0')));
        // It would be read for as long as somebody writes to it.
        if (word.find("/dev") != word.npos || word.find("/proc") != word.npos) return 0;
    }
    if (words.empty()) words.emplace_back("cfsgated");
    static const fuzz::MemoryFile file;
    file.fill(rest);
    try_daemon(words, file.path());
    try_command(words, file.path());
    return 0;
}
