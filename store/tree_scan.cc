// SPDX-License-Identifier: Apache-2.0
#include "store/tree_scan.h"

#include <map>

#include "store/model/digest.h"
#include "store/model/path.h"

namespace cfsgate::store {

Result<std::vector<GuestRegistry::Found>> find_guests(const ReadView& view) {
    std::map<InodeNumber, GuestRegistry::Found> found;
    const auto nodes = view.lookup(kRootInode, "nodes");
    if (!nodes) return std::vector<GuestRegistry::Found>();
    Status status;
    const auto files_of = [&](const std::string& node, GuestType type, InodeNumber directory) {
        return view.children(directory, kRootInode, [&](const ReadView::Child& child) {
            const auto vmid = parse_guest_file_name(child.name);
            if (vmid && child.type == EntryType::File) found[child.inode] = {node, type, *vmid};
            return true;
        });
    };
    CFSGATE_TRY(view.children(*nodes, kRootInode, [&](const ReadView::Child& child) {
        if (child.type != EntryType::Directory || !is_valid_node_name(child.name)) return true;
        const std::string node(child.name);
        for (const GuestType type : {GuestType::Qemu, GuestType::OpenVz, GuestType::Lxc}) {
            const auto directory = view.lookup(child.inode, guest_directory(type));
            if (!directory) continue;
            status = files_of(node, type, *directory);
            if (!status) return false;
        }
        return true;
    }));
    CFSGATE_TRY(std::move(status));
    std::vector<GuestRegistry::Found> guests;
    for (auto& [inode, guest] : found) guests.push_back(std::move(guest));
    return guests;
}

Result<std::vector<LockLeases::Lock>> find_locks(const ReadView& view) {
    std::vector<LockLeases::Lock> locks;
    const auto directory = view.resolve("priv/lock");
    if (!directory) return locks;
    CFSGATE_TRY(view.headers(*directory, kRootInode, [&](const Inode& inode) {
        if (inode.is_directory()) {
            locks.push_back({"priv/lock/" + inode.name, entry_checksum(inode, {})});
        }
        return true;
    }));
    return locks;
}

}  // namespace cfsgate::store
