// SPDX-License-Identifier: Apache-2.0
#include "store/model/path.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace cfsgate {
namespace {

// The C library's classification depends on the locale; names are bytes.
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string_view without_leading_slashes(std::string_view path) {
    path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()));
    return path;
}

std::string_view without_trailing_slashes(std::string_view path) {
    const auto last = path.find_last_not_of('/');
    return last == std::string_view::npos ? std::string_view() : path.substr(0, last + 1);
}

/// Takes the text up to the next slash off the front of `rest`, the slash as well.
std::string_view take_until_slash(std::string_view& rest) {
    const auto end = std::min(rest.find('/'), rest.size());
    const auto front = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return front;
}

/// Takes the next component off the front of `rest`; empty when there is none left.
std::string_view take_component(std::string_view& rest) {
    rest = without_leading_slashes(rest);
    return take_until_slash(rest);
}

/// `text` is "priv" or starts with "priv/".
bool begins_with_priv(std::string_view text) { return take_until_slash(text) == "priv"; }

/// A decimal number without sign or leading zero, 1..4294967295.
std::optional<std::uint32_t> parse_vmid(std::string_view text) {
    if (text.empty() || text.front() == '0' || !std::all_of(text.begin(), text.end(), is_digit)) {
        return std::nullopt;
    }
    std::uint32_t vmid = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), vmid);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return vmid;
}

std::optional<GuestType> parse_guest_directory(std::string_view name) {
    for (const GuestType type : {GuestType::Qemu, GuestType::OpenVz, GuestType::Lxc}) {
        if (name == guest_directory(type)) return type;
    }
    return std::nullopt;
}

}  // namespace

SplitPath split_path(std::string_view path) {
    path = without_trailing_slashes(path);
    if (path.empty()) return {".", "."};
    const auto slash = path.rfind('/');
    if (slash == std::string_view::npos) return {".", path};
    const auto directory = without_trailing_slashes(path.substr(0, slash));
    return {directory.empty() ? path.substr(0, 1) : directory, path.substr(slash + 1)};
}

std::vector<std::string_view> path_components(std::string_view path) {
    std::vector<std::string_view> components;
    if (path == ".") return components;
    for (auto component = take_component(path); !component.empty();
         component = take_component(path)) {
        components.push_back(component);
    }
    return components;
}

std::string join_path(std::string_view directory, std::string_view name) {
    std::string path;
    path.reserve(directory.size() + 1 + name.size());
    path.append(directory);
    if (!path.empty()) path.push_back('/');
    path.append(name);
    return path;
}

bool is_private_path(std::string_view path) {
    auto rest = without_leading_slashes(path);
    if (begins_with_priv(rest)) return true;
    if (take_until_slash(rest) != "nodes") return false;
    // Peers also take an empty component for a node's name: "nodes//priv" is private.
    auto behind_slash = rest;
    take_until_slash(behind_slash);
    if (begins_with_priv(behind_slash)) return true;
    // Look-ups skip empty components, so doubled slashes must not lead past this check.
    take_component(rest);
    return begins_with_priv(without_leading_slashes(rest));
}

bool is_below_lock_directory(std::string_view path) {
    constexpr std::string_view kPrefix = "priv/lock/";
    path = without_leading_slashes(path);
    return path.starts_with(kPrefix) && path.size() > kPrefix.size();
}

bool is_lock_path(std::string_view path) { return split_path(path).directory == "priv/lock"; }

std::string_view to_string(GuestType type) {
    switch (type) {
        case GuestType::Qemu: return "qemu";
        case GuestType::OpenVz: return "openvz";
        case GuestType::Lxc: return "lxc";
    }
    return {};
}

std::string_view guest_directory(GuestType type) {
    return type == GuestType::Qemu ? "qemu-server" : to_string(type);
}

std::optional<GuestPath> parse_guest_path(std::string_view path) {
    auto [directory, name] = split_path(path);
    if (take_until_slash(directory) != "nodes") return std::nullopt;
    const auto node = take_until_slash(directory);
    const auto type = parse_guest_directory(directory);
    const auto vmid = parse_guest_file_name(name);
    if (!is_valid_node_name(node) || !type || !vmid) return std::nullopt;
    return GuestPath{node, *type, *vmid};
}

std::optional<std::uint32_t> parse_guest_file_name(std::string_view name) {
    constexpr std::string_view kSuffix = ".conf";
    if (!name.ends_with(kSuffix)) return std::nullopt;
    name.remove_suffix(kSuffix.size());
    return parse_vmid(name);
}

bool is_valid_node_name(std::string_view name) {
    if (name.empty() || name.front() == '-' || name.back() == '-') return false;
    return std::all_of(name.begin(), name.end(),
                       [](char c) { return is_letter(c) || is_digit(c) || c == '-'; });
}

bool is_action_script_name(std::string_view name) {
    constexpr std::array<std::string_view, 6> kActions{"mount", "umount",   "start",
                                                       "stop",  "premount", "postumount"};
    const auto dot = name.find('.');
    if (dot == std::string_view::npos) return false;
    const auto container = name.substr(0, dot);
    const bool is_number = !container.empty() && container.front() != '0' &&
                           std::all_of(container.begin(), container.end(), is_digit);
    if (container != "vps" && !is_number) return false;
    return std::find(kActions.begin(), kActions.end(), name.substr(dot + 1)) != kActions.end();
}

}  // namespace cfsgate
