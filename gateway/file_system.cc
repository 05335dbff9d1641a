// SPDX-License-Identifier: Apache-2.0
// Construction and reading; file_system_changes.cc has the changes.
#include "gateway/file_system.h"

#include <unistd.h>

#include <algorithm>

#include "gateway/access.h"
#include "gateway/cluster_log.h"
#include "gateway/deadlines.h"
#include "gateway/lock_table.h"
#include "gateway/open_files.h"
#include "gateway/virtual_files.h"
#include "store/base/crc32c.h"
#include "store/model/limits.h"
#include "store/model/path.h"

namespace cfsgate::gateway {
namespace {

// Where a listing goes on: "." 1, ".." 2, virtual entries from 3, an inode its number + 32.
constexpr std::uint64_t kDotCookie = 1;
constexpr std::uint64_t kDotDotCookie = 2;
constexpr std::uint64_t kVirtualCookie = 3;
constexpr std::uint64_t kInodeCookie = 32;

FileKind kind_of(EntryType type) {
    return type == EntryType::Directory ? FileKind::Directory : FileKind::File;
}

/// A virtual entry's text has no version; clients that cache must see that it is another one.
Version text_version(std::string_view text) { return Version(Crc32c::of(text)); }

std::uint64_t blocks_of(std::uint64_t bytes) {
    return (bytes + limits::kBlockBytes - 1) / limits::kBlockBytes;
}

}  // namespace

FileSystem::FileSystem(store::Store& store, replication::Sequencer& sequencer,
                       FileSystemOptions options, Logger log)
    : store_(store),
      sequencer_(sequencer),
      options_(std::move(options)),
      log_(std::move(log)),
      access_(std::make_unique<AccessRules>(options_.www_data, sequencer)),
      open_files_(std::make_shared<OpenFiles>()),
      locks_(std::make_unique<LockTable>()),
      cluster_log_(std::make_unique<ClusterLog>(options_.node_name)),
      virtual_files_(std::make_unique<VirtualFiles>(store, *cluster_log_, options_)),
      deadlines_(std::make_unique<Deadlines>(options_.deadline)) {
    LogEntry entry;
    entry.time = options_.start_time;
    entry.tag = "cluster";
    entry.pid = ::getpid();
    entry.user = "root";
    entry.message = "starting cluster log";
    cluster_log_->add(std::move(entry));

    store_.observe_removals([this](const Inode& inode, std::string_view content) {
        // The parent is still there as published, and so is the path.
        const auto published = view();
        const auto path = published ? (*published)->path_of(inode.number) : fail(Errno::NotFound);
        OpenFiles::Pinned pinned{to_attributes(inode, path ? *path : inode.name),
                                 std::string(content)};
        pinned.attributes.nlink = 0;
        open_files_->pin(inode.number, std::move(pinned));
    });
    sequencer_.observe_changes([this](const std::vector<store::Change>& changes) {
        open_files_->settle();
        for (const store::Change& change : changes) {
            if (change.kind != store::Change::Kind::Removed) continue;
            locks_->release_network(to_file_id(change.inode));
        }
        for (const InvalidationSink& sink : sinks_) sink(changes);
    });
}

FileSystem::~FileSystem() {
    store_.observe_removals({});
    sequencer_.observe_changes({});
}

void FileSystem::add_invalidation_sink(InvalidationSink sink) { sinks_.push_back(std::move(sink)); }

FileSystemCounters FileSystem::counters() const {
    const OpenFiles::Totals totals = open_files_->totals();
    FileSystemCounters counters;
    counters.ignored_chmods = ignored_chmods_.load(std::memory_order_relaxed);
    counters.timed_out = deadlines_->expired();
    counters.open_files = totals.open;
    counters.pinned_files = totals.pinned;
    counters.pinned_bytes = totals.pinned_bytes;
    return counters;
}

// --- Attributes ---

Attributes FileSystem::to_attributes(const Inode& inode, std::string_view path) const {
    return with_mode(inode, access_->mode(path, inode.is_directory()));
}

Attributes FileSystem::with_mode(const Inode& inode, std::uint32_t mode) const {
    Attributes attributes;
    attributes.id = to_file_id(inode.number);
    attributes.kind = kind_of(inode.type);
    attributes.mode = mode;
    attributes.gid = access_->group();
    attributes.nlink = inode.is_directory() ? 2 : 1;
    attributes.size = inode.size;
    attributes.blocks = blocks_of(inode.size);
    // The root's time is that of the last change anywhere; it has always been shown as 0.
    attributes.mtime = inode.number == kRootInode ? 0 : inode.mtime;
    attributes.version = inode.number == kRootInode ? Version() : inode.version;
    return attributes;
}

Attributes FileSystem::shown(const store::ReadView& view, const Inode& inode,
                             Attributes attributes) {
    if (inode.is_directory()) {
        // Clients know by it whether their listing is still good.
        const auto names = view.names_version(inode.number);
        if (names) attributes.version = std::max(attributes.version, *names);
    }
    return attributes;
}

Result<Attributes> FileSystem::attributes_of(const store::ReadView& view,
                                             const Inode& inode) const {
    const std::string path = CFSGATE_TRY(view.path_of(inode.number));
    return shown(view, inode, to_attributes(inode, path));
}

Attributes FileSystem::virtual_attributes(VirtualEntry entry) const {
    Attributes attributes;
    attributes.id = to_file_id(entry);
    attributes.kind =
        kVirtualNames[static_cast<std::size_t>(entry)].is_link ? FileKind::Symlink : FileKind::File;
    attributes.mode = access_->mode(entry);
    attributes.gid = access_->group();
    const std::string text = virtual_files_->text(entry);
    attributes.size = text.size();
    attributes.version = text_version(text);
    return attributes;
}

Result<Attributes> FileSystem::getattr(FileId id) const {
    if (const auto entry = to_virtual(id)) return virtual_attributes(*entry);
    const auto view = CFSGATE_TRY(this->view());
    const auto inode = view->inode(to_inode(id));
    if (inode) return attributes_of(*view, *inode);
    if (const auto removed = open_files_->attributes(to_inode(id))) return *removed;
    return fail(inode.error().code == Errno::NotFound ? Errno::StaleHandle : inode.error().code,
                inode.error().detail);
}

Result<std::string> FileSystem::readlink(FileId id) const {
    const auto entry = to_virtual(id);
    if (!entry || !kVirtualNames[static_cast<std::size_t>(*entry)].is_link) {
        return fail(Errno::Invalid);
    }
    return virtual_files_->text(*entry);
}

Status FileSystem::access(const Caller& caller, FileId id, int mask) const {
    const Attributes attributes = CFSGATE_TRY(getattr(id));
    if (access_->grants(caller, attributes.mode, mask)) return {};
    return fail(Errno::NoAccess);
}

// --- Names ---

/// The header of a directory. Errors: NotFound; NotDirectory; NoAccess, where the caller may not
/// even know that it is none.
Result<Inode> FileSystem::directory(const Caller& caller, const store::ReadView& view,
                                    FileId id) const {
    if (to_virtual(id)) return fail(Errno::NotDirectory);
    Inode inode = CFSGATE_TRY(view.inode(to_inode(id)));
    if (inode.is_directory()) return inode;
    CFSGATE_TRY(may_see(caller, view, inode));
    return fail(Errno::NotDirectory);
}

Status FileSystem::may_search(const Caller& caller, const store::ReadView& view,
                              const Inode& directory) const {
    if (caller.uid == 0 && caller.restriction == nullptr) return {};
    if (access_->may_search(caller, CFSGATE_TRY(view.path_of(directory.number)))) return {};
    return fail(Errno::NoAccess);
}

Result<Attributes> FileSystem::lookup(const Caller& caller, FileId parent,
                                      std::string_view name) const {
    if (name.size() > limits::kNameBytesStoredMax) return fail(Errno::NameTooLong);
    const auto view = CFSGATE_TRY(this->view());
    const Inode directory = CFSGATE_TRY(this->directory(caller, *view, parent));
    CFSGATE_TRY(may_search(caller, *view, directory));
    if (name == ".") return attributes_of(*view, directory);
    if (caller.restriction != nullptr) {
        const std::string above = CFSGATE_TRY(view->path_of(directory.number));
        if (!access_->exports(caller, join_path(above, name))) return fail(Errno::NotFound);
    }
    if (parent == kRootId) {
        if (const auto entry = find_virtual(name)) return virtual_attributes(*entry);
    }
    const InodeNumber number = CFSGATE_TRY(view->lookup(directory.number, name));
    return attributes_of(*view, CFSGATE_TRY(view->inode(number)));
}

Result<FileId> FileSystem::resolve(std::string_view path) const {
    const auto components = path_components(path);
    if (components.size() == 1) {
        if (const auto entry = find_virtual(components[0])) return to_file_id(*entry);
    }
    return to_file_id(CFSGATE_TRY(CFSGATE_TRY(view())->resolve(path)));
}

namespace {

/// Hands entries to a sink until it has enough.
struct Lister {
    const std::function<bool(const DirectoryEntry&)>& sink;
    std::uint64_t after;
    bool full = false;

    void offer(DirectoryEntry entry) {
        if (!full && entry.cookie > after) full = !sink(entry);
    }
};

}  // namespace

Status FileSystem::readdir(const Caller& caller, FileId directory, std::uint64_t cookie,
                           Listing listing,
                           const std::function<bool(const DirectoryEntry&)>& sink) const {
    const auto view = CFSGATE_TRY(this->view());
    auto inode = this->directory(caller, *view, directory);
    if (!inode && inode.error().code == Errno::NotFound) return fail(Errno::StaleHandle);
    const Inode self = CFSGATE_TRY(std::move(inode));
    CFSGATE_TRY(may_search(caller, *view, self));
    const std::string path = CFSGATE_TRY(view->path_of(self.number));

    Lister lister{sink, cookie};
    lister.offer({directory, FileKind::Directory, ".", kDotCookie, {}});
    lister.offer({to_file_id(self.parent), FileKind::Directory, "..", kDotDotCookie, {}});
    if (directory == kRootId) {
        for (const VirtualName& row : kVirtualNames) {
            const std::uint64_t at = kVirtualCookie + static_cast<std::uint64_t>(row.entry);
            if (at <= cookie) continue;
            DirectoryEntry entry{to_file_id(row.entry),
                                 row.is_link ? FileKind::Symlink : FileKind::File,
                                 row.name,
                                 at,
                                 {}};
            if (listing == Listing::WithAttributes)
                entry.attributes = virtual_attributes(row.entry);
            lister.offer(std::move(entry));
        }
    }
    if (lister.full) return {};
    const InodeNumber after(cookie > kInodeCookie ? cookie - kInodeCookie : 0);
    // Of those that the adapters show; virtual entries hide what has their name.
    const auto is_shown = [&](std::string_view name) {
        if (directory == kRootId && find_virtual(name)) return false;
        return caller.restriction == nullptr || access_->exports(caller, join_path(path, name));
    };
    if (listing == Listing::NamesOnly) {
        return view->children(self.number, after, [&](const store::ReadView::Child& child) {
            if (!is_shown(child.name)) return true;
            lister.offer({to_file_id(child.inode),
                          kind_of(child.type),
                          child.name,
                          child.inode.value() + kInodeCookie,
                          {}});
            return !lister.full;
        });
    }
    const AccessRules::Below below = access_->below(path);
    return view->headers(self.number, after, [&](const Inode& child) {
        if (!is_shown(child.name)) return true;
        const std::uint32_t mode = below.mode(child.name, child.is_directory());
        lister.offer({to_file_id(child.number), kind_of(child.type), child.name,
                      child.number.value() + kInodeCookie,
                      shown(*view, child, with_mode(child, mode))});
        return !lister.full;
    });
}

FileSystemStatistics FileSystem::statfs() const {
    FileSystemStatistics statistics;
    statistics.block_bytes = limits::kBlockBytes;
    statistics.blocks = options_.tree_bytes_max / limits::kBlockBytes;
    statistics.files = options_.entries_max;
    statistics.name_bytes_max = static_cast<std::uint32_t>(limits::kNameBytesMax);
    const auto view = this->view();
    if (!view) return statistics;
    // A tree that peers filled beyond the limits has nothing free.
    const store::Usage usage = (*view)->usage();
    const std::uint64_t blocks = blocks_of(usage.content_bytes);
    statistics.blocks_free = statistics.blocks - std::min(statistics.blocks, blocks);
    statistics.files_free = statistics.files - std::min(statistics.files, usage.entries);
    return statistics;
}

// --- Open files ---

std::shared_ptr<OpenFile> FileSystem::open_virtual(VirtualEntry entry, OpenMode mode) {
    auto file = std::make_shared<OpenFile>();
    file->id_ = to_file_id(entry);
    file->mode_ = mode;
    file->text_ = virtual_files_->text(entry);
    file->opened_size_ = file->text_.size();
    file->opened_version_ = text_version(file->text_);
    return file;
}

Status FileSystem::may_open(const Caller& caller, const store::ReadView& view, const Inode& inode,
                            OpenMode mode) const {
    if (inode.is_directory()) return fail(Errno::IsDirectory);
    if (caller.uid == 0 && caller.restriction == nullptr) return {};
    const std::string path = CFSGATE_TRY(view.path_of(inode.number));
    const int mask = (mode.read ? R_OK : 0) | (mode.write ? W_OK : 0);
    if (access_->may_search(caller, split_path(path).directory) &&
        access_->grants(caller, access_->mode(path, false), mask)) {
        return {};
    }
    return fail(Errno::NoAccess);
}

Result<std::shared_ptr<OpenFile>> FileSystem::open(const Caller& caller, FileId id, OpenMode mode) {
    if (const auto entry = to_virtual(id)) {
        const int mask = (mode.read ? R_OK : 0) | (mode.write ? W_OK : 0);
        if (!access_->grants(caller, access_->mode(*entry), mask)) return fail(Errno::NoAccess);
        return open_virtual(*entry, mode);
    }
    // Counted before it is looked up: see OpenFiles.
    const InodeNumber number = to_inode(id);
    auto file = std::make_shared<OpenFile>();
    open_files_->add(number);
    file->counted_in_ = open_files_;
    file->id_ = id;
    file->mode_ = mode;
    const auto view = CFSGATE_TRY(this->view());
    const auto inode = view->inode(number);
    if (!inode && inode.error().code == Errno::NotFound) {
        CFSGATE_TRY(open_removed(caller, *file));
        return file;
    }
    if (!inode) return tl::unexpected(inode.error());
    CFSGATE_TRY(may_open(caller, *view, *inode, mode));
    file->opened_version_ = inode->version;
    file->opened_size_ = inode->size;
    if (inode->size <= mode.keep_bytes_max) {
        file->as_opened_ = std::string(CFSGATE_TRY(view->content(*inode)));
        file->as_opened_->resize(inode->size);
    }
    return file;
}

Status FileSystem::open_removed(const Caller& caller, OpenFile& file) const {
    const auto removed = open_files_->attributes(to_inode(file.id_));
    if (!file.mode_.even_removed || !removed || removed->kind != FileKind::File) {
        return fail(Errno::StaleHandle);
    }
    const int mask = (file.mode_.read ? R_OK : 0) | (file.mode_.write ? W_OK : 0);
    if (!access_->grants(caller, removed->mode, mask)) return fail(Errno::NoAccess);
    file.opened_version_ = removed->version;
    file.opened_size_ = removed->size;
    return {};
}

OpenFile::~OpenFile() {
    if (counted_in_ != nullptr) counted_in_->remove(to_inode(id_));
}

Result<std::string> FileSystem::read(const OpenFile& file, std::uint64_t offset,
                                     std::size_t count) const {
    if (file.is_virtual()) {
        if (offset >= file.text_.size()) return std::string();
        return file.text_.substr(offset, count);
    }
    const InodeNumber number = to_inode(file.id());
    const auto view = CFSGATE_TRY(this->view());
    const auto inode = view->inode(number);
    if (!inode) {
        if (inode.error().code != Errno::NotFound) return tl::unexpected(inode.error());
        return open_files_->read(number, offset, count);
    }
    const std::string_view content = CFSGATE_TRY(view->content(*inode));
    if (offset >= content.size()) return std::string();
    return std::string(content.substr(offset, count));
}

}  // namespace cfsgate::gateway
