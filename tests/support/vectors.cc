// SPDX-License-Identifier: Apache-2.0
#include "tests/support/vectors.h"

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace cfsgate::test {
namespace {

unsigned int nibble(char digit) {
    if (digit >= '0' && digit <= '9') return static_cast<unsigned int>(digit - '0');
    if (digit >= 'a' && digit <= 'f') return static_cast<unsigned int>(digit - 'a') + 10;
    throw std::runtime_error(std::string("not a hex digit: ") + digit);
}

Entry to_entry(const nlohmann::json& row) {
    Entry entry;
    entry.inode.number = InodeNumber(row.at("inode").get<std::uint64_t>());
    entry.inode.parent = InodeNumber(row.at("parent").get<std::uint64_t>());
    entry.inode.version = Version(row.at("version").get<std::uint64_t>());
    entry.inode.writer = NodeId(row.at("writer").get<std::uint32_t>());
    entry.inode.mtime = row.at("mtime").get<std::uint32_t>();
    entry.inode.size = row.at("size").get<std::uint32_t>();
    entry.inode.type = static_cast<EntryType>(row.at("type").get<std::uint8_t>());
    entry.inode.name = row.at("name").get<std::string>();
    entry.content = from_hex(row.at("data_hex").get<std::string>());
    return entry;
}

}  // namespace

std::string data_path(const std::string& name) { return std::string(CFSGATE_TEST_DATA "/") + name; }

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

nlohmann::json load_vectors(const std::string& name) {
    return nlohmann::json::parse(read_file(data_path("vectors/" + name)));
}

std::string from_hex(std::string_view text) {
    if (text.size() % 2 != 0) throw std::runtime_error("odd number of hex digits");
    std::string bytes;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        bytes.push_back(static_cast<char>(nibble(text[i]) << 4 | nibble(text[i + 1])));
    }
    return bytes;
}

std::string to_hex(std::string_view bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        text.push_back(kDigits[byte >> 4]);
        text.push_back(kDigits[byte & 0xf]);
    }
    return text;
}

std::vector<Entry> vector_entries(const nlohmann::json& tree) {
    std::vector<Entry> entries;
    for (const auto& row : tree.at("entries")) entries.push_back(to_entry(row));
    return entries;
}

}  // namespace cfsgate::test
