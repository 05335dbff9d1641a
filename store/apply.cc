// SPDX-License-Identifier: Apache-2.0
#include "store/apply.h"

#include <optional>

#include "store/change_counters.h"
#include "store/guest_registry.h"
#include "store/lock_leases.h"
#include "store/model/digest.h"
#include "store/model/limits.h"
#include "store/model/path.h"
#include "store/tree_tables.h"

namespace cfsgate::store {
namespace {

bool names_nothing(std::string_view name) { return name.empty() || name == "." || name == ".."; }

/// One operation on its way through the tree. Every step returns an Error where the operation is
/// refused (nothing changed yet) or where the transaction failed (`broken_` says which).
class Step {
public:
    Step(ApplyContext& context, const Stamp& stamp) : context_(context), stamp_(stamp) {}

    Status operator()(const CreateFile& op);
    Status operator()(const WriteFile& op);
    Status operator()(const MakeDirectory& op);
    Status operator()(const Delete& op);
    Status operator()(const Rename& op);
    Status operator()(const SetMtime& op);
    Status operator()(const Unlock& op);

    Applied finish(const Status& status) {
        applied_.ok = status.has_value();
        applied_.version = tree().head().version;
        if (!status) {
            applied_.error = status.error().code;
            applied_.broken = changing_ || status.error().code == Errno::Corrupt;
            applied_.changes.clear();
        }
        return std::move(applied_);
    }

private:
    struct Place {
        InodeNumber directory;
        std::string name;
        std::optional<Inode> existing;
    };

    TreeWriter& tree() { return context_.tree; }

    /// Where `path` is or would be. Errors: NotFound, NotDirectory for its parent, NoAccess for a
    /// name that cannot be.
    Result<Place> place_of(std::string_view path);
    Result<InodeNumber> parent_of(std::string_view path);
    Result<std::optional<Inode>> find(InodeNumber directory, std::string_view name);
    Status refuse_guest_conflict(std::string_view path);
    void register_guest(std::string_view path);

    /// From here on an error breaks the transaction.
    Version bump(std::uint32_t time) {
        changing_ = true;
        TreeHead head = tree().head();
        head.version = Version(head.version.value() + 1);
        head.writer = stamp_.node;
        head.mtime = time;
        tree().set_head(head);
        return head.version;
    }
    Inode stamped(Inode inode, Version version, std::uint32_t mtime) const {
        inode.version = version;
        inode.writer = stamp_.node;
        inode.mtime = mtime;
        return inode;
    }
    Status add(const Place& place, EntryType type);
    Status remove(const Inode& inode);
    void note(Change::Kind kind, const Inode& inode, Version version) {
        applied_.changes.push_back({kind, inode.number, inode.parent, version});
        if (kind != Change::Kind::Removed || applied_.changes.size() == 1) {
            applied_.inode = inode.number;
        }
    }
    Status refuse_rename(const Rename& op, const Inode& source, const Place& target);
    void move_guest(const Rename& op, const Inode& source, const std::optional<Inode>& replaced);

    ApplyContext& context_;
    const Stamp& stamp_;
    Applied applied_;
    bool changing_ = false;
};

Result<std::optional<Inode>> Step::find(InodeNumber directory, std::string_view name) {
    const auto number = tree().lookup(directory, name);
    if (!number) {
        if (number.error().code == Errno::NotFound) return std::optional<Inode>();
        return tl::unexpected(number.error());
    }
    return std::optional<Inode>(CFSGATE_TRY(tree().inode(*number)));
}

Result<InodeNumber> Step::parent_of(std::string_view path) {
    const InodeNumber number = CFSGATE_TRY(tree().resolve(split_path(path).directory));
    const Inode parent = CFSGATE_TRY(tree().inode(number));
    if (!parent.is_directory()) return fail(Errno::NotDirectory);
    return number;
}

Result<Step::Place> Step::place_of(std::string_view path) {
    Place place;
    place.directory = CFSGATE_TRY(parent_of(path));
    place.name = split_path(path).name;
    if (names_nothing(place.name)) return fail(Errno::NoAccess);
    // No mount sends it, and no look-up would find it.
    if (place.name.size() > limits::kNameBytesStoredMax) return fail(Errno::NameTooLong);
    return place;
}

Status Step::refuse_guest_conflict(std::string_view path) {
    const auto guest = parse_guest_path(path);
    if (guest && context_.guests.conflicts(*guest)) return fail(Errno::Exists);
    return {};
}

void Step::register_guest(std::string_view path) {
    if (const auto guest = parse_guest_path(path)) context_.guests.add(*guest);
}

Status Step::add(const Place& place, EntryType type) {
    Inode inode;
    inode.parent = place.directory;
    inode.type = type;
    inode.name = place.name;
    const Version version = bump(stamp_.time);
    inode.number = InodeNumber(version.value());
    inode = stamped(std::move(inode), version, stamp_.time);
    CFSGATE_TRY(tree().add(inode, {}));
    note(Change::Kind::Created, inode, version);
    return {};
}

Status Step::remove(const Inode& inode) {
    if (context_.before_removal) {
        context_.before_removal(inode, CFSGATE_TRY(tree().content(inode)));
    }
    CFSGATE_TRY(tree().remove(inode));
    note(Change::Kind::Removed, inode, tree().head().version);
    return {};
}

Status Step::operator()(const CreateFile& op) {
    const Place place = CFSGATE_TRY(place_of(op.path));
    CFSGATE_TRY(refuse_guest_conflict(op.path));
    if (const auto existing = CFSGATE_TRY(find(place.directory, place.name))) {
        return fail(existing->is_directory() ? Errno::NotDirectory : Errno::Exists);
    }
    CFSGATE_TRY(add(place, EntryType::File));
    register_guest(op.path);
    context_.counters.count(op.path);
    return {};
}

Status Step::operator()(const WriteFile& op) {
    const std::uint64_t end = std::uint64_t{op.offset} + op.data.size();
    if (end > limits::kFileBytesMax) return fail(Errno::FileTooBig);
    const Place place = CFSGATE_TRY(place_of(op.path));
    CFSGATE_TRY(refuse_guest_conflict(op.path));
    const auto existing = CFSGATE_TRY(find(place.directory, place.name));
    if (!existing) return fail(Errno::NotFound);
    if (existing->is_directory()) return fail(Errno::NotDirectory);

    const Version version = bump(stamp_.time);
    Inode after = stamped(*existing, version, stamp_.time);
    // Peers leave a length without bytes where an empty file is "truncated" to a length.
    after.unbacked = existing->size == 0 && op.data.empty() && op.truncate && op.offset > 0;
    std::string content;
    if (!(op.truncate && op.offset == 0)) {
        content = CFSGATE_TRY(tree().content(*existing));
    }
    if (end > content.size() || op.truncate) content.resize(static_cast<std::size_t>(end));
    content.replace(op.offset, op.data.size(), op.data);
    after.size = static_cast<std::uint32_t>(content.size());
    if (after.unbacked) content.clear();
    CFSGATE_TRY(tree().replace_content(*existing, after, content));
    note(Change::Kind::Modified, after, version);
    applied_.bytes = static_cast<std::uint32_t>(op.data.size());
    register_guest(op.path);
    context_.counters.count(op.path);
    return {};
}

Status Step::operator()(const MakeDirectory& op) {
    const Place place = CFSGATE_TRY(place_of(op.path));
    if (CFSGATE_TRY(find(place.directory, place.name))) return fail(Errno::Exists);
    CFSGATE_TRY(add(place, EntryType::Directory));
    if (is_lock_path(op.path)) {
        const Inode lock = CFSGATE_TRY(tree().inode(applied_.inode));
        context_.leases.start(op.path, entry_checksum(lock, {}));
    }
    return {};
}

Status Step::operator()(const Delete& op) {
    const InodeNumber number = CFSGATE_TRY(tree().resolve(op.path));
    if (number == kRootInode) return fail(Errno::NoAccess);
    const Inode inode = CFSGATE_TRY(tree().inode(number));
    if (inode.is_directory() && CFSGATE_TRY(tree().has_children(number))) {
        return fail(Errno::NotEmpty);
    }
    bump(stamp_.time);
    CFSGATE_TRY(remove(inode));
    context_.leases.remove(op.path);
    // A directory that is named like a guest's configuration was never registered.
    const auto guest = parse_guest_path(op.path);
    if (guest && !inode.is_directory()) context_.guests.remove(guest->vmid);
    context_.counters.count(op.path);
    return {};
}

/// The checks of a rename in their order; all of them before anything changes.
Status Step::refuse_rename(const Rename& op, const Inode& source, const Place& target) {
    if (target.existing) {
        if (target.existing->number == kRootInode) return fail(Errno::NoAccess);
        if (target.existing->is_directory() &&
            CFSGATE_TRY(tree().has_children(target.existing->number))) {
            return fail(Errno::NotEmpty);
        }
    } else if (names_nothing(target.name)) {
        return fail(Errno::NoAccess);
    } else if (target.name.size() > limits::kNameBytesStoredMax) {
        return fail(Errno::NameTooLong);
    }
    if (source.is_directory() && CFSGATE_TRY(tree().has_children(source.number))) {
        return fail(Errno::NotEmpty);
    }
    // An empty directory below itself: no mount sends it, and it would tear the tree.
    if (target.directory == source.number) return fail(Errno::Invalid, op.target);
    return {};
}

void Step::move_guest(const Rename& op, const Inode& source, const std::optional<Inode>& replaced) {
    if (source.is_directory()) {
        // In the place of a configuration: mounts refuse that, and messages can say it.
        const auto gone = parse_guest_path(op.target);
        if (gone && replaced && !replaced->is_directory()) context_.guests.remove(gone->vmid);
        return;
    }
    if (const auto guest = parse_guest_path(op.path)) context_.guests.remove(guest->vmid);
    register_guest(op.target);
}

Status Step::operator()(const Rename& op) {
    const InodeNumber number = CFSGATE_TRY(tree().resolve(op.path));
    if (number == kRootInode) return fail(Errno::NoAccess);
    const Inode source = CFSGATE_TRY(tree().inode(number));
    const auto from = parse_guest_path(op.path);
    const auto to = parse_guest_path(op.target);
    if (!source.is_directory() && to && !(from && from->vmid == to->vmid)) {
        CFSGATE_TRY(refuse_guest_conflict(op.target));
    }
    if (source.is_directory() && is_below_lock_directory(op.path)) return fail(Errno::NoAccess);

    Place target;
    if (const auto existing = tree().resolve(op.target)) {
        target.existing = CFSGATE_TRY(tree().inode(*existing));
        target.directory = target.existing->parent;
        target.name = target.existing->name;
    } else {
        target.directory = CFSGATE_TRY(parent_of(op.target));
        target.name = split_path(op.target).name;
    }
    CFSGATE_TRY(refuse_rename(op, source, target));

    const Version version = bump(stamp_.time);
    const bool onto_itself = target.existing && target.existing->number == source.number;
    if (target.existing && !onto_itself) CFSGATE_TRY(remove(*target.existing));
    Inode after = stamped(source, version, stamp_.time);
    after.parent = target.directory;
    after.name = target.name;
    CFSGATE_TRY(tree().move(source, after));
    note(Change::Kind::Moved, after, version);
    applied_.inode = after.number;
    context_.leases.remove(op.path);
    move_guest(op, source, target.existing);
    context_.counters.count(op.path);
    context_.counters.count(op.target);
    return {};
}

Status Step::operator()(const SetMtime& op) {
    const Place place = CFSGATE_TRY(place_of(op.path));
    const auto existing = CFSGATE_TRY(find(place.directory, place.name));
    if (!existing) return fail(Errno::NotFound);
    const bool is_lock = existing->is_directory() && is_lock_path(op.path);
    if (is_lock && (op.mtime < existing->mtime || stamp_.node != existing->writer)) {
        return fail(Errno::NoAccess);
    }
    const Version version = bump(op.mtime);
    const Inode after = stamped(*existing, version, op.mtime);
    CFSGATE_TRY(tree().update(after));
    note(Change::Kind::Modified, after, version);
    if (is_lock) context_.leases.start(op.path, entry_checksum(after, {}));
    context_.counters.count(op.path);
    return {};
}

Status Step::operator()(const Unlock& op) {
    const auto number = tree().resolve(op.path);
    if (!number || !is_below_lock_directory(op.path)) return {};
    const Inode inode = CFSGATE_TRY(tree().inode(*number));
    if (!inode.is_directory() || entry_checksum(inode, {}) != op.checksum) return {};
    return (*this)(Delete{op.path});
}

}  // namespace

Applied apply(ApplyContext& context, const Operation& operation, const Stamp& stamp) {
    Step step(context, stamp);
    return step.finish(std::visit(step, operation));
}

}  // namespace cfsgate::store
