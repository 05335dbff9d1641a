// SPDX-License-Identifier: Apache-2.0
//
// Text, one "key value" a line: format 1, store and fsid in hex, begins empty|snapshot,
// state clean|in-use|filling, boot; former, where there are any, fsids with spaces between; tree, where
// clean, the bytes of tree.mdb and the CRC-32C of each piece of it (file_sum.h), in hex. While a
// repair exchanges files it says "repair" and how far it is instead (repair.cc).
#include "store/state_file.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <optional>
#include <utility>

#include "store/base/files.h"
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

Result<std::vector<std::uint64_t>> parse_ids(const std::string& text) {
    std::vector<std::uint64_t> ids;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        ids.push_back(CFSGATE_TRY(from_hex(text.substr(at, end - at))));
        at = end + 1;
    }
    return ids;
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

constexpr std::pair<StateFile::Word, std::string_view> kWords[] = {
    {StateFile::Word::Clean, "clean"},
    {StateFile::Word::InUse, "in-use"},
    {StateFile::Word::Filling, "filling"},
};

std::optional<StateFile::Word> parse_word(std::string_view text) {
    for (const auto& [word, name] : kWords) {
        if (name == text) return word;
    }
    return {};
}

}  // namespace

Result<StateFile> read_state_file(const std::string& directory) {
    const std::string path = directory + "/" + kStateFileName;
    auto fields = parse_lines(CFSGATE_TRY(read_file(path)));
    if (fields.contains("repair")) {
        return fail(Errno::Corrupt, path + ": a repair has not ended; run cfsgate repair again");
    }
    StateFile state;
    const auto store = from_hex(fields["store"]);
    const auto file_system = from_hex(fields["fsid"]);
    const auto former = parse_ids(fields["former"]);
    const auto word = parse_word(fields["state"]);
    const auto tree = parse_ids(fields["tree"]);
    const std::string begins = fields["begins"];
    if (fields["format"] != "1" || !store || !file_system || !former || !word || !tree ||
        (begins != "empty" && begins != "snapshot")) {
        return fail(Errno::Corrupt, path + ": not a state file of this program");
    }
    state.ids = {*store, *file_system};
    state.former = *former;
    state.word = *word;
    state.boot_id = fields["boot"];
    state.from_empty = begins == "empty";
    if (!tree->empty()) {
        state.tree.emplace();
        state.tree->bytes = tree->front();
        for (std::size_t i = 1; i < tree->size(); ++i) {
            state.tree->pieces.push_back(static_cast<std::uint32_t>((*tree)[i]));
        }
    }
    return state;
}

Status write_state_file(const std::string& directory, const StateFile& state) {
    std::string text = "format 1\n";
    text += "store " + to_hex(state.ids.store) + "\n";
    text += "fsid " + to_hex(state.ids.file_system) + "\n";
    if (!state.former.empty()) {
        text += "former";
        for (const std::uint64_t id : state.former) text += " " + to_hex(id);
        text += "\n";
    }
    text += state.from_empty ? "begins empty\n" : "begins snapshot\n";
    for (const auto& [word, name] : kWords) {
        if (word == state.word) text += "state " + std::string(name) + "\n";
    }
    if (state.word == StateFile::Word::InUse) text += "boot " + state.boot_id + "\n";
    if (state.clean() && state.tree) {
        text += "tree " + to_hex(state.tree->bytes);
        for (const std::uint32_t piece : state.tree->pieces) text += " " + to_hex(piece);
        text += "\n";
    }
    return replace_file(directory, kStateFileName, text);
}

std::string system_boot_id() {
    auto read = read_small_file("/proc/sys/kernel/random/boot_id");
    std::string id = read ? std::move(*read) : std::string();
    while (!id.empty() && id.back() == '\n') id.pop_back();
    return id;
}

}  // namespace cfsgate::store
