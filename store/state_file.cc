// SPDX-License-Identifier: Apache-2.0
//
// Text, one "key value" a line: format 1, store and fsid in hex, state clean|in-use, boot.
#include "store/state_file.h"

#include <charconv>
#include <cstdio>
#include <map>

#include "store/file_io.h"

namespace cfsgate::store {
namespace {

std::string to_hex(std::uint64_t value) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
    return text;
}

Result<std::uint64_t> from_hex(const std::string& text) {
    std::uint64_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
        return fail(Errno::Corrupt);
    }
    return value;
}

std::map<std::string, std::string> parse_lines(const std::string& text) {
    std::map<std::string, std::string> fields;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string line = text.substr(at, end - at);
        const std::size_t space = line.find(' ');
        if (space != std::string::npos) fields[line.substr(0, space)] = line.substr(space + 1);
        at = end + 1;
    }
    return fields;
}

}  // namespace

Result<StateFile> read_state_file(const std::string& directory) {
    const std::string path = directory + "/" + kStateFileName;
    auto fields = parse_lines(CFSGATE_TRY(read_file(path)));
    StateFile state;
    const auto store = from_hex(fields["store"]);
    const auto file_system = from_hex(fields["fsid"]);
    const std::string word = fields["state"];
    if (fields["format"] != "1" || !store || !file_system || (word != "clean" && word != "in-use")) {
        return fail(Errno::Corrupt, path + ": not a state file of this program");
    }
    state.ids = {*store, *file_system};
    state.clean = word == "clean";
    state.boot_id = fields["boot"];
    return state;
}

Status write_state_file(const std::string& directory, const StateFile& state) {
    std::string text = "format 1\n";
    text += "store " + to_hex(state.ids.store) + "\n";
    text += "fsid " + to_hex(state.ids.file_system) + "\n";
    text += state.clean ? "state clean\n" : "state in-use\nboot " + state.boot_id + "\n";
    return replace_file(directory, kStateFileName, text);
}

std::string system_boot_id() {
    // A file of the kernel's: its reported size is 0, so it is read by line.
    std::string id;
    if (std::FILE* file = std::fopen("/proc/sys/kernel/random/boot_id", "re")) {
        char text[64] = {};
        if (std::fgets(text, sizeof text, file) != nullptr) id = text;
        std::fclose(file);
    }
    while (!id.empty() && id.back() == '\n') id.pop_back();
    return id;
}

}  // namespace cfsgate::store
