// SPDX-License-Identifier: Apache-2.0
#include "gateway/access.h"

#include <algorithm>

#include "store/model/path.h"

namespace cfsgate::gateway {
namespace {

constexpr std::uint32_t kWriteBits = 0222;
constexpr uid_t kUnchangedUid = static_cast<uid_t>(-1);
constexpr gid_t kUnchangedGid = static_cast<gid_t>(-1);

std::uint32_t mode_with_quorum(std::string_view name, bool is_directory, bool is_private) {
    if (is_directory) return is_private ? 0700 : 0755;
    if (is_action_script_name(name)) return is_private ? 0700 : 0740;
    return is_private ? 0600 : 0640;
}

}  // namespace

std::uint32_t AccessRules::mode(std::string_view path, bool is_directory) const {
    const std::uint32_t mode =
        mode_with_quorum(split_path(path).name, is_directory, is_private_path(path));
    if (path.empty() || sequencer_.quorate()) return mode;
    return mode & ~kWriteBits;
}

AccessRules::Below::Below(const AccessRules& rules, std::string_view directory)
    : rules_(rules),
      directory_(directory),
      all_private_(is_private_path(directory)),
      // Where an entry of the name `priv` would be.
      some_private_(!all_private_ && is_private_path(join_path(directory, "priv"))) {}

std::uint32_t AccessRules::Below::mode(std::string_view name, bool is_directory) const {
    const bool is_private =
        all_private_ || (some_private_ && is_private_path(join_path(directory_, name)));
    const std::uint32_t mode = mode_with_quorum(name, is_directory, is_private);
    return rules_.sequencer_.quorate() ? mode : mode & ~kWriteBits;
}

std::uint32_t AccessRules::mode(VirtualEntry entry) const {
    if (entry == VirtualEntry::Debug) return 0640;
    if (!kVirtualNames[static_cast<std::size_t>(entry)].is_link) return 0440;
    // Programs test for quorum by the owner's write bit of `local`.
    return sequencer_.quorate() ? 0755U : 0755U & ~kWriteBits;
}

bool AccessRules::grants(const Caller& caller, std::uint32_t mode, int mask) const {
    if (caller.uid == 0) return true;
    const auto wanted = static_cast<std::uint32_t>(mask);
    if ((mode & wanted) == wanted) return true;  // what all others may
    if (((mode >> 3) & wanted) != wanted) return false;
    if (caller.gid == www_data_) return true;
    if (caller.groups == nullptr) return false;
    const auto groups = caller.groups->groups_of(caller);
    return std::find(groups.begin(), groups.end(), www_data_) != groups.end();
}

bool AccessRules::may_search(const Caller& caller, std::string_view directory) const {
    if (!is_private_path(directory)) return true;
    return caller.uid == 0 && exports(caller, directory);
}

bool AccessRules::exports(const Caller& caller, std::string_view path) const {
    if (caller.restriction == nullptr || !is_private_path(path)) return true;
    for (const std::string& there : caller.restriction->private_paths) {
        if (path == there || (path.starts_with(there) && path[there.size()] == '/')) return true;
        // The way down to it.
        if (there.starts_with(path) && there[path.size()] == '/') return true;
    }
    return false;
}

Status AccessRules::may_change(const Caller& caller) const {
    if (caller.uid != 0) return fail(Errno::NoAccess);
    if (caller.restriction != nullptr && caller.restriction->read_only) {
        return fail(Errno::ReadOnly, "the export is read-only");
    }
    if (!sequencer_.quorate()) return fail(Errno::NoAccess, "this node has no quorum");
    return {};
}

Status AccessRules::may_chmod(const Caller& caller, std::string_view path,
                              std::uint32_t mode) const {
    const std::uint32_t expected = is_private_path(path) ? 0600 : 0640;
    if (caller.uid == 0 && (mode & 07777) == expected) return {};
    return fail(Errno::NotPermitted);
}

Status AccessRules::may_chown(const Caller& caller, uid_t uid, gid_t gid) const {
    const bool same_owner = uid == 0 || uid == kUnchangedUid;
    const bool same_group = gid == www_data_ || gid == kUnchangedGid;
    if (caller.uid == 0 && same_owner && same_group) return {};
    return fail(Errno::NotPermitted);
}

}  // namespace cfsgate::gateway
