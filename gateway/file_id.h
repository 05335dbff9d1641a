// SPDX-License-Identifier: Apache-2.0
// The number that a file is shown under: the FUSE node id, st_ino and the NFS fileid.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "store/base/ids.h"

namespace cfsgate::gateway {

/// Root 1; virtual entries 2^62 + k; a foreign inode 1 is 2^62 + 1023; else the inode's number.
/// The same on every node, kept over restarts.
using FileId = Id<struct FileIdTag, std::uint64_t>;

inline constexpr FileId kRootId{1};
inline constexpr std::uint64_t kVirtualIdBase = 1ULL << 62;

/// The entries of the root that are not in the tree. The order is frozen: it is part of file ids
/// and of readdir cookies.
enum class VirtualEntry : std::uint8_t {
    Local,
    QemuServer,
    OpenVz,
    Lxc,
    Version,
    Members,
    VmList,
    Rrd,
    ClusterLog,
    Debug,
};
inline constexpr std::size_t kVirtualEntries = 10;

struct VirtualName {
    VirtualEntry entry;
    std::string_view name;
    bool is_link;
};
inline constexpr std::array<VirtualName, kVirtualEntries> kVirtualNames{{
    {VirtualEntry::Local, "local", true},
    {VirtualEntry::QemuServer, "qemu-server", true},
    {VirtualEntry::OpenVz, "openvz", true},
    {VirtualEntry::Lxc, "lxc", true},
    {VirtualEntry::Version, ".version", false},
    {VirtualEntry::Members, ".members", false},
    {VirtualEntry::VmList, ".vmlist", false},
    {VirtualEntry::Rrd, ".rrd", false},
    {VirtualEntry::ClusterLog, ".clusterlog", false},
    {VirtualEntry::Debug, ".debug", false},
}};

constexpr FileId to_file_id(VirtualEntry entry) {
    return FileId(kVirtualIdBase + static_cast<std::uint64_t>(entry));
}

constexpr FileId to_file_id(InodeNumber inode) {
    if (inode == kRootInode) return kRootId;
    if (inode.value() == 1) return FileId(kVirtualIdBase + 1023);
    return FileId(inode.value());
}

constexpr std::optional<VirtualEntry> to_virtual(FileId id) {
    if (id.value() < kVirtualIdBase || id.value() >= kVirtualIdBase + kVirtualEntries) return {};
    return static_cast<VirtualEntry>(id.value() - kVirtualIdBase);
}

/// For ids that are not virtual.
constexpr InodeNumber to_inode(FileId id) {
    if (id == kRootId) return kRootInode;
    if (id.value() == kVirtualIdBase + 1023) return InodeNumber(1);
    return InodeNumber(id.value());
}

constexpr std::optional<VirtualEntry> find_virtual(std::string_view name) {
    for (const VirtualName& row : kVirtualNames) {
        if (row.name == name) return row.entry;
    }
    return {};
}

}  // namespace cfsgate::gateway
