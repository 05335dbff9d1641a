// SPDX-License-Identifier: Apache-2.0
// What a path means. Cases: tests/data/vectors/path-rules.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cfsgate {

/// Directory and last component, after removing trailing slashes: "a/b/" is {"a", "b"}, "x" is
/// {".", "x"}, "" and "/" are {".", "."}.
struct SplitPath {
    std::string_view directory;
    std::string_view name;
};
SplitPath split_path(std::string_view path);

/// The non-empty components. "", "." and "/" are the root: no component.
std::vector<std::string_view> path_components(std::string_view path);

/// "" joined with "b" is "b".
std::string join_path(std::string_view directory, std::string_view name);

/// For root alone: `priv`, `priv/…`, `nodes/X/priv`, `nodes/X/priv/…`.
bool is_private_path(std::string_view path);

/// Below `priv/lock/`. Where the path names a directory it is a lock, or lies in one.
bool is_below_lock_directory(std::string_view path);

/// Directly in `priv/lock`: the ones that are lock leases.
bool is_lock_path(std::string_view path);

enum class GuestType : std::uint8_t { Qemu, OpenVz, Lxc };
/// "qemu", "openvz" or "lxc".
std::string_view to_string(GuestType type);
/// "qemu-server", "openvz" or "lxc": the directory's name.
std::string_view guest_directory(GuestType type);

/// `nodes/<node>/<kind>/<vmid>.conf`
struct GuestPath {
    std::string_view node;
    GuestType type = GuestType::Qemu;
    std::uint32_t vmid = 0;
};
std::optional<GuestPath> parse_guest_path(std::string_view path);

/// `<vmid>.conf`: first digit 1–9, at most 4294967295.
std::optional<std::uint32_t> parse_guest_file_name(std::string_view name);

/// Letters, digits and inner hyphens.
bool is_valid_node_name(std::string_view name);

/// A name such as `vps.mount` or `101.start`: shown with the execute bit for its owner.
bool is_action_script_name(std::string_view name);

}  // namespace cfsgate
