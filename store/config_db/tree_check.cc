// SPDX-License-Identifier: Apache-2.0
#include "store/config_db/tree_check.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "store/model/path.h"

namespace cfsgate::store {
namespace {

constexpr std::size_t kListedMax = 20;
constexpr std::size_t kPrintedBytesMax = 80;
constexpr int kGuestPathDepth = 4;

std::string number(InodeNumber inode) { return std::to_string(inode.value()); }

class TreeCheck {
public:
    TreeCheck(const ConfigDb& tree, Problems& problems) : tree_(tree), problems_(problems) {
        for (const Entry& entry : tree.entries)
            by_number_.emplace(entry.inode.number, &entry.inode);
    }

    void run() {
        check_numbers();
        check_versions();
        check_parents();
        check_for_circles();
        check_names();
        check_guests();
    }

private:
    void refuse(const Inode& inode, std::string_view why) {
        problems_.add(row_name(inode.number, inode.name), why);
    }

    /// Null for the root and for an inode that does not exist.
    const Inode* find(InodeNumber number) const {
        const auto found = by_number_.find(number);
        return found == by_number_.end() ? nullptr : found->second;
    }

    // A table that was made by hand may lack the primary key.
    void check_numbers() {
        for (std::size_t i = 1; i < tree_.entries.size(); ++i) {
            const Inode& inode = tree_.entries[i].inode;
            if (inode.number == tree_.entries[i - 1].inode.number) {
                refuse(inode, "the inode is there twice");
            }
        }
    }

    // New entries take the next version as their inode, so one above it would be used again.
    void check_versions() {
        const auto last = tree_.head.version.value();
        const auto behind = " is above the root's version " + std::to_string(last);
        for (const Entry& entry : tree_.entries) {
            const Inode& inode = entry.inode;
            if (inode.number.value() > last) refuse(inode, "the inode" + behind);
            if (inode.version.value() > last) {
                refuse(inode, "version " + std::to_string(inode.version.value()) + behind);
            }
        }
    }

    void check_parents() {
        for (const Entry& entry : tree_.entries) {
            const Inode& inode = entry.inode;
            if (inode.parent == kRootInode) continue;
            const Inode* parent = find(inode.parent);
            if (parent == nullptr) {
                refuse(inode, "parent " + number(inode.parent) + " does not exist");
            } else if (!parent->is_directory()) {
                refuse(inode, "parent " + number(inode.parent) + " is a file");
            }
        }
    }

    void check_for_circles() {
        std::unordered_set<InodeNumber> visited;
        for (const Entry& entry : tree_.entries) {
            std::vector<const Inode*> way;
            const Inode* at = &entry.inode;
            while (at != nullptr && visited.insert(at->number).second) {
                way.push_back(at);
                at = find(at->parent);
            }
            // Having come back to this walk, not to an earlier one, is a circle from there on.
            const auto circle = std::find(way.begin(), way.end(), at);
            for (auto member = circle; member != way.end(); ++member) {
                refuse(**member, "parent " + number((*member)->parent) +
                                     " is the entry itself or lies below it");
            }
        }
    }

    void check_names() {
        std::map<std::pair<InodeNumber, std::string_view>, const Inode*> seen;
        for (const Entry& entry : tree_.entries) {
            const Inode& inode = entry.inode;
            const auto [first, added] = seen.try_emplace({inode.parent, inode.name}, &inode);
            if (!added) {
                refuse(inode, "inode " + number(first->second->number) +
                                  " has the same name in directory " + number(inode.parent));
            }
        }
    }

    void check_guests() {
        std::unordered_map<std::uint32_t, const Inode*> seen;
        for (const Entry& entry : tree_.entries) {
            const auto vmid = vmid_of(entry.inode);
            if (!vmid) continue;
            const auto [first, added] = seen.try_emplace(*vmid, &entry.inode);
            if (!added) {
                refuse(entry.inode, "VMID " + std::to_string(*vmid) + " is also that of " +
                                        row_name(first->second->number, first->second->name));
            }
        }
    }

    std::optional<std::uint32_t> vmid_of(const Inode& inode) const {
        // Most entries are ruled out by name, before their path is put together.
        if (inode.is_directory() || !parse_guest_file_name(inode.name)) return std::nullopt;
        const auto path = short_path(inode);
        if (!path) return std::nullopt;
        const auto guest = parse_guest_path(*path);
        if (!guest) return std::nullopt;
        return guest->vmid;
    }

    /// The path of an entry that is not deeper than a guest's; circles end there too.
    std::optional<std::string> short_path(const Inode& inode) const {
        std::string path = inode.name;
        const Inode* at = &inode;
        for (int depth = 1; at->parent != kRootInode; ++depth) {
            at = find(at->parent);
            if (at == nullptr || depth == kGuestPathDepth) return std::nullopt;
            path = join_path(at->name, path);
        }
        return path;
    }

    const ConfigDb& tree_;
    Problems& problems_;
    std::unordered_map<InodeNumber, const Inode*> by_number_;
};

}  // namespace

std::string printable(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out;
    for (const char c : text.substr(0, kPrintedBytesMax)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7f) {
            out.push_back(c);
        } else {
            out.append({'\\', 'x', kDigits[byte >> 4], kDigits[byte & 0xf]});
        }
    }
    if (text.size() > kPrintedBytesMax) out.append("...");
    return out;
}

void Problems::add(std::string_view row, std::string_view why) {
    if (++count_ > kListedMax) return;
    if (!listed_.empty()) listed_.append("; ");
    listed_.append(row).append(": ").append(why);
}

Status Problems::finish(const std::string& file) const {
    if (count_ == 0) return {};
    std::string detail = file + ": " + listed_;
    if (count_ > kListedMax) detail += "; and " + std::to_string(count_ - kListedMax) + " more";
    return fail(Errno::Corrupt, std::move(detail));
}

std::string row_name(InodeNumber inode, std::string_view name) {
    return "inode " + number(inode) + " '" + printable(name) + "'";
}

void check_tree(const ConfigDb& tree, Problems& problems) { TreeCheck(tree, problems).run(); }

}  // namespace cfsgate::store
