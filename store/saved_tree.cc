// SPDX-License-Identifier: Apache-2.0
#include "store/saved_tree.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "store/entry_codec.h"
#include "store/model/limits.h"
#include "store/model/path.h"

namespace cfsgate::store {
namespace {

bool by_inode(const Entry& a, const Entry& b) {
    if (a.inode.number != b.inode.number) return a.inode.number < b.inode.number;
    return a.inode.version > b.inode.version;
}

bool is_possible_name(std::string_view name) {
    return !name.empty() && name != "." && name != ".." &&
           name.size() <= limits::kNameBytesStoredMax &&
           name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

std::string number_text(InodeNumber inode) { return std::to_string(inode.value()); }

/// One mending, step by step; each step relies on those before it.
class Mender {
public:
    explicit Mender(SavedTree& tree) : tree_(tree) {}

    Mending run() {
        mend_numbers();
        mend_entries();
        mend_places();
        mend_names();
        mend_guests();
        mend_head();
        return std::move(done_);
    }

private:
    enum class Place : std::uint8_t { Unknown, OnTheWay, InTheTree, Nowhere };

    void take_out(Entry entry, std::string why) {
        done_.taken_out.push_back({path_of(entry.inode), std::move(why), std::move(entry)});
    }
    void say(const Inode& inode, std::string what) {
        done_.changed.push_back({path_of(inode), std::move(what)});
    }

    void mend_numbers() {
        auto& entries = tree_.entries;
        std::stable_sort(entries.begin(), entries.end(), by_inode);
        std::vector<Entry> kept;
        kept.reserve(entries.size());
        for (Entry& entry : entries) {
            if (entry.inode.number == kRootInode) {
                take_out(std::move(entry), "has the number of the root");
            } else if (!kept.empty() && kept.back().inode.number == entry.inode.number) {
                take_out(std::move(entry), "its number is that of a newer entry");
            } else {
                kept.push_back(std::move(entry));
            }
        }
        entries = std::move(kept);
        index();
    }

    void mend_entries() {
        take_out_where([this](std::size_t i) { return why_no_entry(tree_.entries[i]); });
        for (Entry& entry : tree_.entries) {
            Inode& inode = entry.inode;
            if (inode.is_directory() &&
                (inode.size != 0 || inode.unbacked || !entry.content.empty())) {
                done_.taken_out.push_back({path_of(inode), "content of a directory", entry});
                inode.size = 0;
                inode.unbacked = false;
                entry.content.clear();
                say(inode, "a directory with content: it is kept without");
            }
            if (!is_possible_name(inode.name)) {
                inode.name = "inode-" + number_text(inode.number);
                say(inode, "its name could not be; this is its new one");
            }
        }
    }

    static std::optional<std::string> why_no_entry(const Entry& entry) {
        const Inode& inode = entry.inode;
        if (inode.type != EntryType::File && inode.type != EntryType::Directory) {
            return "neither a file nor a directory";
        }
        if (inode.is_directory()) return {};
        if (!content_fits(inode, entry.content)) return "content and size disagree";
        if (inode.size > limits::kFileBytesMax) return "larger than a file may be";
        return {};
    }

    /// By the parents alone, since no list of names is at hand.
    void mend_places() {
        places_.assign(tree_.entries.size(), Place::Unknown);
        for (std::size_t i = 0; i < tree_.entries.size(); ++i) find_place(i);
        take_out_where([this](std::size_t i) -> std::optional<std::string> {
            if (places_[i] == Place::InTheTree) return {};
            return why_nowhere(tree_.entries[i].inode);
        });
    }

    /// All paths are told before anything is moved.
    void take_out_where(const std::function<std::optional<std::string>(std::size_t)>& why) {
        std::vector<std::optional<Mending::TakenOut>> out;
        for (std::size_t i = 0; i < tree_.entries.size(); ++i) {
            auto reason = why(i);
            out.emplace_back();
            if (reason) out.back() = {path_of(tree_.entries[i].inode), std::move(*reason), {}};
        }
        std::vector<Entry> kept;
        kept.reserve(tree_.entries.size());
        for (std::size_t i = 0; i < tree_.entries.size(); ++i) {
            if (!out[i]) {
                kept.push_back(std::move(tree_.entries[i]));
                continue;
            }
            out[i]->entry = std::move(tree_.entries[i]);
            done_.taken_out.push_back(std::move(*out[i]));
        }
        tree_.entries = std::move(kept);
        index();
    }

    std::string why_nowhere(const Inode& inode) const {
        const auto parent = index_.find(inode.parent);
        if (parent == index_.end()) {
            return "its parent " + number_text(inode.parent) + " does not exist";
        }
        if (!tree_.entries[parent->second].inode.is_directory()) return "its parent is a file";
        return "cannot be reached from the root";
    }

    void find_place(std::size_t start) {
        std::vector<std::size_t> way;
        std::size_t at = start;
        Place end = Place::Unknown;
        while (end == Place::Unknown) {
            if (places_[at] != Place::Unknown) {
                end = places_[at] == Place::OnTheWay ? Place::Nowhere : places_[at];
                break;
            }
            places_[at] = Place::OnTheWay;
            way.push_back(at);
            const InodeNumber parent = tree_.entries[at].inode.parent;
            const auto found = index_.find(parent);
            if (parent == kRootInode) {
                end = Place::InTheTree;
            } else if (found == index_.end() ||
                       !tree_.entries[found->second].inode.is_directory()) {
                end = Place::Nowhere;
            } else {
                at = found->second;
            }
        }
        for (const std::size_t passed : way) places_[passed] = end;
    }

    void mend_names() {
        std::map<std::pair<InodeNumber, std::string>, std::size_t> names;
        for (std::size_t i = 0; i < tree_.entries.size(); ++i) {
            const Inode& inode = tree_.entries[i].inode;
            const auto [found, added] = names.try_emplace({inode.parent, inode.name}, i);
            if (added) continue;
            const std::size_t loser = older(i, found->second);
            found->second = loser == i ? found->second : i;
            do {
                rename(loser, "another entry has its name");
            } while (!names
                          .try_emplace(
                              {tree_.entries[loser].inode.parent, tree_.entries[loser].inode.name},
                              loser)
                          .second);
        }
    }

    std::size_t older(std::size_t one, std::size_t other) const {
        return tree_.entries[one].inode.version < tree_.entries[other].inode.version ? one : other;
    }

    void rename(std::size_t which, const std::string& why) {
        Inode& inode = tree_.entries[which].inode;
        const std::string suffix = ".duplicate-" + number_text(inode.number);
        const std::string before = path_of(inode);
        inode.name.resize(std::min(inode.name.size(), limits::kNameBytesStoredMax - suffix.size()));
        inode.name += suffix;
        done_.changed.push_back({before, why + "; it is now " + path_of(inode)});
    }

    void mend_guests() {
        std::map<std::uint32_t, std::size_t> guests;
        for (std::size_t i = 0; i < tree_.entries.size(); ++i) {
            const Inode& inode = tree_.entries[i].inode;
            if (inode.is_directory() || !parse_guest_file_name(inode.name)) continue;
            const std::string path = path_of(inode);
            const auto guest = parse_guest_path(path);
            if (!guest) continue;
            const auto [found, added] = guests.try_emplace(guest->vmid, i);
            if (added) continue;
            const std::size_t loser = older(i, found->second);
            const std::string vmid = std::to_string(guest->vmid);
            found->second = loser == i ? found->second : i;
            rename(loser, "guest " + vmid + " is configured twice");
        }
    }

    void mend_head() {
        std::uint64_t newest = std::max<std::uint64_t>(tree_.head.version.value(), 1);
        for (const Entry& entry : tree_.entries) {
            newest = std::max({newest, entry.inode.number.value(), entry.inode.version.value()});
        }
        if (newest == tree_.head.version.value()) return;
        done_.changed.push_back({"the tree", "its version was " +
                                                 std::to_string(tree_.head.version.value()) +
                                                 ", and an entry is of " + std::to_string(newest)});
        tree_.head.version = Version(newest);
    }

    void index() {
        index_.clear();
        for (std::size_t i = 0; i < tree_.entries.size(); ++i) {
            index_[tree_.entries[i].inode.number] = i;
        }
    }

    /// Of an entry that may hang in nothing: then it begins with "?".
    std::string path_of(const Inode& inode) const {
        std::string path = inode.name;
        InodeNumber at = inode.parent;
        for (std::size_t depth = 0; at != kRootInode; ++depth) {
            const auto found = index_.find(at);
            if (found == index_.end() || depth > tree_.entries.size() ||
                path.size() > limits::kPathBytesMax) {
                return "?/" + path;
            }
            const Inode& parent = tree_.entries[found->second].inode;
            path = join_path(parent.name, path);
            at = parent.parent;
        }
        return path;
    }

    SavedTree& tree_;
    Mending done_;
    std::unordered_map<InodeNumber, std::size_t> index_;
    std::vector<Place> places_;
};

}  // namespace

Result<SavedTree> copy_tree(const ReadView& view) {
    SavedTree tree;
    tree.head = view.head();
    CFSGATE_TRY(view.for_each([&](const Inode& inode, std::string_view content) -> Status {
        if (inode.number != kRootInode) tree.entries.push_back({inode, std::string(content)});
        return {};
    }));
    return tree;
}

Digest checksum_of(const SavedTree& tree) {
    Inode root;
    root.type = EntryType::Directory;
    root.version = tree.head.version;
    root.writer = tree.head.writer;
    root.mtime = tree.head.mtime;
    Sha256 sum;
    add_to_tree_checksum(sum, root, {});
    for (const Entry& entry : tree.entries) {
        add_to_tree_checksum(sum, entry.inode, entry.content);
    }
    return sum.finish();
}

std::uint64_t content_bytes_of(const SavedTree& tree) {
    std::uint64_t bytes = 0;
    for (const Entry& entry : tree.entries) bytes += entry.inode.size;
    return bytes;
}

const Entry* find_entry(const SavedTree& tree, InodeNumber inode) {
    const auto found = std::lower_bound(
        tree.entries.begin(), tree.entries.end(), inode,
        [](const Entry& entry, InodeNumber wanted) { return entry.inode.number < wanted; });
    return found != tree.entries.end() && found->inode.number == inode ? &*found : nullptr;
}

Result<InodeNumber> resolve(const SavedTree& tree, std::string_view path) {
    InodeNumber at = kRootInode;
    for (const std::string_view component : path_components(path)) {
        const auto found =
            std::find_if(tree.entries.begin(), tree.entries.end(), [&](const Entry& entry) {
                return entry.inode.parent == at && entry.inode.name == component;
            });
        if (found == tree.entries.end()) {
            return fail(Errno::NotFound, std::string(path) + ": there is no such entry");
        }
        at = found->inode.number;
    }
    return at;
}

std::vector<const Entry*> children_of(const SavedTree& tree, InodeNumber directory) {
    std::vector<const Entry*> children;
    for (const Entry& entry : tree.entries) {
        if (entry.inode.parent == directory) children.push_back(&entry);
    }
    std::sort(children.begin(), children.end(),
              [](const Entry* a, const Entry* b) { return a->inode.name < b->inode.name; });
    return children;
}

Mending mend_tree(SavedTree& tree) { return Mender(tree).run(); }

}  // namespace cfsgate::store
