// SPDX-License-Identifier: Apache-2.0
#include "clients/nfs_path.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "store/model/limits.h"

namespace cfsgate::clients {
namespace {

std::vector<std::string> words_of(std::string_view path) {
    std::vector<std::string> words;
    while (!path.empty()) {
        const std::string_view word = path.substr(0, path.find('/'));
        if (!word.empty() && word != ".") words.emplace_back(word);
        path.remove_prefix(std::min(word.size() + 1, path.size()));
    }
    return words;
}

/// "/etc/pve" or something below it.
bool is_below(std::string_view path, std::string_view top) {
    while (top.ends_with('/')) top.remove_suffix(1);
    return path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/');
}

std::string_view below(std::string_view path, std::string_view top) {
    while (top.ends_with('/')) top.remove_suffix(1);
    return path.substr(top.size());
}

}  // namespace

Result<std::vector<std::string>> split_path(std::string_view path) {
    if (path.size() > limits::kPathBytesMax)
        return fail(Errno::NameTooLong, "the path is too long");
    auto words = words_of(path);
    if (std::find(words.begin(), words.end(), "..") != words.end()) {
        return fail(Errno::Invalid, "'..' is refused in a path");
    }
    return words;
}

Result<LinkTarget> split_link(std::string_view target, std::string_view export_path) {
    const bool absolute = target.starts_with('/');
    if (absolute && !is_below(target, export_path)) {
        return fail(Errno::NotFound, "the link leads out of the export, to " + std::string(target));
    }
    return LinkTarget{absolute, words_of(absolute ? below(target, export_path) : target)};
}

std::string inside_export(const std::string& operand, const std::string& export_path) {
    if (!is_below(operand, export_path)) return operand;
    const std::string_view rest = below(operand, export_path);
    return std::string(rest.substr(std::min(rest.find_first_not_of('/'), rest.size())));
}

std::string temporary_path(const std::string& path, std::uint32_t number) {
    std::array<char, 16> suffix{};
    const int length = std::snprintf(suffix.data(), suffix.size(), ".tmp.%08x", number);
    const std::size_t end = path.find_last_not_of('/');
    const std::string whole = path.substr(0, end == std::string::npos ? 0 : end + 1);
    const std::size_t slash = whole.rfind('/');
    const std::size_t name = slash == std::string::npos ? 0 : slash + 1;
    const std::size_t kept = limits::kNameBytesMax - static_cast<std::size_t>(length);
    return whole.substr(0, name) + whole.substr(name, kept) + suffix.data();
}

}  // namespace cfsgate::clients
