// SPDX-License-Identifier: Apache-2.0
#include "store/history/purged.h"

#include <sstream>
#include <vector>

#include "store/file_io.h"

namespace cfsgate::store {
namespace {

constexpr const char* kFormatLine = "format 1";

}  // namespace

Result<Purged> read_purged(const std::string& directory) {
    const std::string path = directory + "/" + kPurgedFileName;
    const auto bytes = read_file(path);
    if (!bytes && bytes.error().code == Errno::NotFound) return Purged();
    std::istringstream text(CFSGATE_TRY(Result<std::string>(bytes)));
    Purged purged;
    std::string line;
    bool known = std::getline(text, line) && line == kFormatLine;
    while (known && std::getline(text, line)) {
        std::istringstream words(line);
        std::uint64_t upto = 0;
        std::uint64_t inode = 0;
        words >> upto;
        while (words >> inode) purged.add(InodeNumber(inode), Sequence(upto));
        known = words.eof() && upto != 0;
    }
    if (!known) return fail(Errno::Corrupt, path + ": not a list of what was purged");
    return purged;
}

Status write_purged(const std::string& directory, const Purged& purged) {
    std::map<Sequence, std::vector<InodeNumber>> lines;
    for (const auto& [inode, upto] : purged.all()) lines[upto].push_back(inode);
    std::string text = std::string(kFormatLine) + "\n";
    for (const auto& [upto, inodes] : lines) {
        text += std::to_string(upto.value());
        for (const InodeNumber inode : inodes) text += " " + std::to_string(inode.value());
        text += "\n";
    }
    return replace_file(directory, kPurgedFileName, text);
}

}  // namespace cfsgate::store
