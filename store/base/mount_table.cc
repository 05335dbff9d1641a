// SPDX-License-Identifier: Apache-2.0
#include "store/base/mount_table.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <system_error>

#include "store/base/files.h"

namespace cfsgate {
namespace {

constexpr std::size_t kMountTableBytesMax = 16UL << 20;

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(separator), text.size());
        parts.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

bool is_octal(std::string_view digits) {
    return std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '7'; });
}

/// The kernel writes blanks, tabs, newlines and backslashes as \ooo.
std::string unescape(std::string_view field) {
    std::string text;
    for (std::size_t i = 0; i < field.size(); ++i) {
        if (field[i] == '\\' && field.size() - i >= 4 && is_octal(field.substr(i + 1, 3))) {
            const int value =
                (field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0');
            text += static_cast<char>(value);
            i += 3;
        } else {
            text += field[i];
        }
    }
    return text;
}

std::optional<std::uint32_t> parse_number(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return {};
    return value;
}

/// id parent major:minor root mount-point options optional... - type source super-options
std::optional<MountEntry> parse_line(std::string_view line) {
    const auto fields = split(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (dash - fields.begin() < 6 || fields.end() - dash < 3) return {};
    const std::size_t colon = fields[2].find(':');
    if (colon == std::string_view::npos) return {};
    const auto major_number = parse_number(fields[2].substr(0, colon));
    const auto minor_number = parse_number(fields[2].substr(colon + 1));
    if (!major_number || !minor_number) return {};
    return MountEntry{.device_major = *major_number,
                      .device_minor = *minor_number,
                      .mount_point = unescape(fields[4]),
                      .type = unescape(dash[1]),
                      .source = unescape(dash[2])};
}

}  // namespace

MountTable parse_mount_table(std::string_view mountinfo) {
    MountTable table;
    for (const std::string_view line : split(mountinfo, '\n')) {
        if (auto entry = parse_line(line)) table.push_back(std::move(*entry));
    }
    return table;
}

Result<MountTable> read_mount_table() {
    return parse_mount_table(
        CFSGATE_TRY(read_small_file("/proc/self/mountinfo", kMountTableBytesMax)));
}

const MountEntry* find_mount(const MountTable& table, std::string_view mount_point) {
    const auto found = std::find_if(table.rbegin(), table.rend(), [&](const MountEntry& entry) {
        return entry.mount_point == mount_point;
    });
    return found == table.rend() ? nullptr : &*found;
}

Result<std::string> to_mount_point(const std::string& path) {
    namespace fs = std::filesystem;
    std::error_code error;
    fs::path whole = fs::absolute(path, error).lexically_normal();
    if (!whole.has_filename()) whole = whole.parent_path();  // "/a/b/" ends in an empty name
    if (error || !whole.has_filename()) {
        return fail(Errno::Invalid, path + ": no directory to mount on");
    }
    const fs::path directory = fs::canonical(whole.parent_path(), error);
    if (error) return fail_posix(error.value(), whole.parent_path().string());
    return (directory / whole.filename()).string();
}

}  // namespace cfsgate
