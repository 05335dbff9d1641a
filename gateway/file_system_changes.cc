// SPDX-License-Identifier: Apache-2.0
// The changes of the façade: check, turn inodes into paths, submit, answer.
#include <unistd.h>

#include <algorithm>

#include "gateway/access.h"
#include "gateway/deadlines.h"
#include "gateway/file_system.h"
#include "gateway/open_files.h"
#include "store/model/digest.h"
#include "store/model/limits.h"
#include "store/model/path.h"

namespace cfsgate::gateway {

using replication::Need;
using replication::Outcome;
using replication::Submission;

namespace {

/// What no new entry may be called.
Status check_new_name(std::string_view name) {
    if (name.empty()) return fail(Errno::NotFound);
    if (name.size() > limits::kNameBytesMax) return fail(Errno::NameTooLong);
    if (name == "." || name == "..") return fail(Errno::Exists);
    if (name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos) {
        return fail(Errno::Invalid);
    }
    return {};
}

/// Hands an Outcome's error on, or nothing.
replication::Completion without_value(FileSystem::Done<void> done) {
    return [done = std::move(done)](Result<Outcome> outcome) {
        if (!outcome) return done(tl::unexpected(std::move(outcome).error()));
        done({});
    };
}

void remember_write(std::atomic<std::uint64_t>& last, Sequence sequence) {
    std::uint64_t known = last.load();
    while (known < sequence.value() && !last.compare_exchange_weak(known, sequence.value())) {
    }
}

}  // namespace

/// Where a name is, or would be.
struct FileSystem::Place {
    InodeNumber directory;
    std::string path;
    std::optional<Inode> existing;
};

Status FileSystem::may_change(const Caller& caller) const { return access_->may_change(caller); }

/// What an export leaves out cannot be changed by it either.
Status FileSystem::may_name(const Caller& caller, std::string_view path) const {
    if (access_->exports(caller, path)) return {};
    return fail(Errno::NoAccess, "the export leaves out private subtrees");
}

/// The place of a new entry. Errors: Exists, also for virtual names; NoAccess; those of the name.
Result<FileSystem::Place> FileSystem::new_place(const Caller& caller, const store::ReadView& view,
                                                FileId parent, const std::string& name) const {
    CFSGATE_TRY(check_new_name(name));
    const Inode directory = CFSGATE_TRY(this->directory(caller, view, parent));
    CFSGATE_TRY(may_search(caller, view, directory));
    if (parent == kRootId && find_virtual(name)) return fail(Errno::Exists);
    Place place;
    place.directory = directory.number;
    place.path = join_path(CFSGATE_TRY(view.path_of(directory.number)), name);
    if (place.path.size() > limits::kPathBytesMax) return fail(Errno::NameTooLong, place.path);
    CFSGATE_TRY(may_name(caller, place.path));
    if (const auto existing = view.lookup(directory.number, name)) {
        place.existing = CFSGATE_TRY(view.inode(*existing));
    }
    return place;
}

/// The place of an entry that must exist. Errors: NotFound; NoAccess, also for virtual entries.
Result<FileSystem::Place> FileSystem::existing_place(const Caller& caller,
                                                     const store::ReadView& view, FileId parent,
                                                     const std::string& name) const {
    const Inode directory = CFSGATE_TRY(this->directory(caller, view, parent));
    CFSGATE_TRY(may_search(caller, view, directory));
    if (name == "." || name == "..") return fail(Errno::Invalid);
    if (parent == kRootId && find_virtual(name)) return fail(Errno::NoAccess);
    Place place;
    place.directory = directory.number;
    place.path = join_path(CFSGATE_TRY(view.path_of(directory.number)), name);
    CFSGATE_TRY(may_name(caller, place.path));
    const InodeNumber number = CFSGATE_TRY(view.lookup(directory.number, name));
    place.existing = CFSGATE_TRY(view.inode(number));
    return place;
}

Status FileSystem::check_room(const store::ReadView& view, std::uint64_t more_bytes,
                              std::uint64_t more_entries) const {
    const store::Usage usage = view.usage();
    if (more_entries > 0 && usage.entries + more_entries > options_.entries_max) {
        return fail(Errno::NoSpace, "the tree holds as many entries as it may");
    }
    if (more_bytes > 0 && usage.content_bytes + more_bytes > options_.tree_bytes_max) {
        return fail(Errno::NoSpace, "the tree holds as many bytes as it may");
    }
    return {};
}

// --- New entries ---

Result<Submission> FileSystem::prepare_create(const Caller& caller, FileId parent,
                                              const std::string& name) const {
    const auto view = CFSGATE_TRY(this->view());
    const Place place = CFSGATE_TRY(new_place(caller, *view, parent, name));
    if (place.existing) return fail(Errno::Exists);
    CFSGATE_TRY(may_change(caller));
    Submission submission;
    submission.operation = CreateFile{place.path};
    submission.parent = place.directory;
    submission.check = [this](const store::ReadView& now, const Operation&) {
        return check_room(now, 0, 1);
    };
    return submission;
}

Status FileSystem::submit_create(const Caller& caller, FileId parent, const std::string& name,
                                 bool exclusive, OpenMode mode, const Done<Created>& done) {
    Submission submission = CFSGATE_TRY(prepare_create(caller, parent, name));
    submission.need = Need::Applied;
    sequencer_.submit(std::move(submission),
                      [this, caller, parent, name, exclusive, mode, done](Result<Outcome> outcome) {
                          if (!outcome) {
                              if (outcome.error().code != Errno::Exists || exclusive) {
                                  return done(tl::unexpected(std::move(outcome).error()));
                              }
                              // Somebody was faster, or the guest is configured elsewhere.
                              auto opened = open_by_name(caller, parent, name, mode);
                              if (!opened && opened.error().code == Errno::NotFound) {
                                  return done(fail(Errno::Exists));
                              }
                              return done(std::move(opened));
                          }
                          // It may be gone again. The kernel would take that for a stale name
                          // and create once more.
                          OpenMode made = mode;
                          made.even_removed = true;
                          const FileId id = to_file_id(outcome->inode);
                          auto file = open(caller, id, made);
                          if (!file) return done(tl::unexpected(std::move(file).error()));
                          remember_write((*file)->last_write_, outcome->sequence);
                          auto attributes = getattr(id);
                          if (!attributes)
                              return done(tl::unexpected(std::move(attributes).error()));
                          done(Created{*attributes, std::move(*file)});
                      });
    return {};
}

Result<FileSystem::Created> FileSystem::open_by_name(const Caller& caller, FileId parent,
                                                     const std::string& name, OpenMode mode) {
    const Attributes attributes = CFSGATE_TRY(lookup(caller, parent, name));
    if (attributes.kind == FileKind::Symlink) return fail(Errno::Exists);
    auto file = open(caller, attributes.id, mode);
    if (!file && file.error().code == Errno::StaleHandle) return fail(Errno::NotFound);
    return Created{attributes, CFSGATE_TRY(std::move(file))};
}

void FileSystem::create(const Caller& caller, FileId parent, std::string name, bool exclusive,
                        OpenMode mode, Done<Created> done) {
    done = deadlines_->guard(std::move(done));
    const Status submitted = submit_create(caller, parent, name, exclusive, mode, done);
    if (submitted) return;
    if (submitted.error().code != Errno::Exists || exclusive) {
        return done(tl::unexpected(submitted.error()));
    }
    done(open_by_name(caller, parent, name, mode));
}

Result<Submission> FileSystem::prepare_mkdir(const Caller& caller, FileId parent,
                                             const std::string& name) const {
    Submission submission = CFSGATE_TRY(prepare_create(caller, parent, name));
    submission.operation = MakeDirectory{std::get<CreateFile>(submission.operation).path};
    return submission;
}

void FileSystem::mkdir(const Caller& caller, FileId parent, std::string name,
                       Done<Attributes> done) {
    done = deadlines_->guard(std::move(done));
    auto submission = prepare_mkdir(caller, parent, name);
    if (!submission) return done(tl::unexpected(std::move(submission).error()));
    sequencer_.submit(std::move(*submission), [this, done](Result<Outcome> outcome) {
        if (!outcome) return done(tl::unexpected(std::move(outcome).error()));
        answer_attributes(to_file_id(outcome->inode), done);
    });
}

// --- Removing and renaming ---

Result<Submission> FileSystem::prepare_remove(const Caller& caller, FileId parent,
                                              const std::string& name, bool directory) const {
    const auto check_kind = [directory](const Inode& inode) -> Status {
        if (inode.is_directory() == directory) return {};
        return fail(directory ? Errno::NotDirectory : Errno::IsDirectory);
    };
    const auto view = CFSGATE_TRY(this->view());
    const Place place = CFSGATE_TRY(existing_place(caller, *view, parent, name));
    CFSGATE_TRY(check_kind(*place.existing));
    CFSGATE_TRY(may_change(caller));
    Submission submission;
    submission.operation = Delete{place.path};
    submission.parent = place.directory;
    submission.check = [check_kind](const store::ReadView& now,
                                    const Operation& operation) -> Status {
        const auto inode = now.inode(CFSGATE_TRY(now.resolve(std::get<Delete>(operation).path)));
        return check_kind(CFSGATE_TRY(Result<Inode>(inode)));
    };
    return submission;
}

void FileSystem::remove(const Caller& caller, FileId parent, const std::string& name,
                        bool directory, Done<void> done) {
    done = deadlines_->guard(std::move(done));
    auto submission = prepare_remove(caller, parent, name, directory);
    if (!submission) return done(tl::unexpected(std::move(submission).error()));
    sequencer_.submit(std::move(*submission), without_value(done));
}

void FileSystem::unlink(const Caller& caller, FileId parent, std::string name, Done<void> done) {
    remove(caller, parent, name, false, std::move(done));
}

void FileSystem::rmdir(const Caller& caller, FileId parent, std::string name, Done<void> done) {
    remove(caller, parent, name, true, std::move(done));
}

/// What the kernel checks for a local mount and nobody for the others; on the tree that the rename
/// will meet.
FileSystem::Check FileSystem::kinds_of_rename(InodeNumber source) const {
    return [source](const store::ReadView& now, const Operation& operation) -> Status {
        const auto& rename = std::get<Rename>(operation);
        const InodeNumber moved = CFSGATE_TRY(now.resolve(rename.path));
        if (moved != source) return fail(Errno::NotFound);
        const Inode from = CFSGATE_TRY(now.inode(source));
        if (from.is_directory()) {
            InodeNumber above = CFSGATE_TRY(now.resolve(split_path(rename.target).directory));
            while (above != kRootInode) {
                if (above == source) return fail(Errno::Invalid);
                above = CFSGATE_TRY(now.inode(above)).parent;
            }
        }
        const auto replaced = now.resolve(rename.target);
        if (!replaced) return {};
        const Inode to = CFSGATE_TRY(now.inode(*replaced));
        if (from.is_directory() && !to.is_directory()) return fail(Errno::NotDirectory);
        if (!from.is_directory() && to.is_directory()) return fail(Errno::IsDirectory);
        return {};
    };
}

namespace {

/// Whether a directory at this path, which is not private itself, may have private subtrees.
bool may_hold_private(std::string_view path) {
    const auto components = path_components(path);
    return !components.empty() && components.size() <= 2 && components[0] == "nodes";
}

}  // namespace

Result<Submission> FileSystem::prepare_rename(const Caller& caller, FileId parent,
                                              const std::string& name, FileId new_parent,
                                              const std::string& new_name) const {
    const auto view = CFSGATE_TRY(this->view());
    const Place from = CFSGATE_TRY(existing_place(caller, *view, parent, name));
    if (new_parent == kRootId && find_virtual(new_name)) return fail(Errno::NoAccess);
    const Place to = CFSGATE_TRY(new_place(caller, *view, new_parent, new_name));
    // What is private is so by its path: moved away with all above it, it would be no longer.
    if (caller.restriction != nullptr && from.existing->is_directory() &&
        (may_hold_private(from.path) || may_hold_private(to.path))) {
        return fail(Errno::NoAccess, "an export does not move what may hold private subtrees");
    }
    Submission submission;
    submission.operation = Rename{from.path, to.path};
    submission.parent = from.directory;
    submission.target_parent = to.directory;
    submission.check = kinds_of_rename(from.existing->number);
    CFSGATE_TRY(submission.check(*view, submission.operation));
    CFSGATE_TRY(may_change(caller));
    return submission;
}

void FileSystem::rename(const Caller& caller, FileId parent, std::string name, FileId new_parent,
                        std::string new_name, Done<FileId> done) {
    done = deadlines_->guard(std::move(done));
    if (parent == new_parent && name == new_name) {
        auto there = lookup(caller, parent, name);
        return there ? done(there->id) : done(tl::unexpected(std::move(there).error()));
    }
    auto submission = prepare_rename(caller, parent, name, new_parent, new_name);
    if (!submission) return done(tl::unexpected(std::move(submission).error()));
    sequencer_.submit(std::move(*submission), [done](Result<Outcome> outcome) {
        if (!outcome) return done(tl::unexpected(std::move(outcome).error()));
        done(to_file_id(outcome->inode));
    });
}

// --- Content ---

FileSystem::Check FileSystem::room_for_write(InodeNumber inode) const {
    return [this, inode](const store::ReadView& now, const Operation& operation) -> Status {
        const auto& write = std::get<WriteFile>(operation);
        const std::uint64_t end = std::uint64_t{write.offset} + write.data.size();
        if (end > limits::kFileBytesMax) return fail(Errno::FileTooBig);
        const std::uint64_t size = CFSGATE_TRY(now.inode(inode)).size;
        return check_room(now, end > size ? end - size : 0, 0);
    };
}

/// Submits a write to an inode, or performs it on what open handles keep of a removed one.
void FileSystem::submit_write(OpenFile* file, InodeNumber inode, Submission submission,
                              WriteMode mode, std::function<void(Result<std::uint32_t>)> done) {
    submission.entry = inode;
    submission.append = mode.append;
    submission.need = Need::Durable;
    if (file != nullptr) {
        // Most files are written at once and closed. Who writes many times flushes at the end.
        submission.need = file->written_.exchange(true) ? Need::Applied : Need::Flushing;
    }
    submission.check = room_for_write(inode);
    auto kept = std::make_shared<WriteFile>(std::get<WriteFile>(submission.operation));
    auto held = file != nullptr ? file->shared_from_this() : nullptr;
    sequencer_.submit(std::move(submission), [this, inode, mode, kept, held,
                                              done = std::move(done)](Result<Outcome> outcome) {
        if (outcome) {
            if (held) remember_write(held->last_write_, outcome->sequence);
            return done(outcome->bytes);
        }
        if (outcome.error().code != Errno::StaleHandle) {
            return done(tl::unexpected(std::move(outcome).error()));
        }
        done(open_files_->write(inode, *kept, mode));
    });
}

void FileSystem::write_virtual(VirtualEntry entry, std::uint64_t offset, std::string_view data,
                               const Done<std::uint32_t>& done) {
    const bool says_on = data.starts_with("1\n");
    if (entry != VirtualEntry::Debug || offset != 0 || (!says_on && !data.starts_with("0\n"))) {
        return done(fail(Errno::InputOutput));
    }
    if (options_.set_debug) options_.set_debug(says_on);
    done(2U);
}

void FileSystem::write(OpenFile& file, std::uint64_t offset, std::string data, WriteMode mode,
                       Done<std::uint32_t> done) {
    done = deadlines_->guard(std::move(done));
    if (const auto entry = to_virtual(file.id())) {
        return write_virtual(*entry, offset, data, done);
    }
    if (!sequencer_.quorate()) return done(fail(Errno::NoAccess, "this node has no quorum"));
    if (!mode.append &&
        (offset > limits::kFileBytesMax || data.size() > limits::kFileBytesMax - offset)) {
        return done(fail(Errno::FileTooBig));
    }
    const InodeNumber inode = to_inode(file.id());
    Submission submission;
    const auto view = this->view();
    const auto path = view ? (*view)->path_of(inode) : fail(Errno::NotFound);
    WriteFile write;
    if (path) write.path = *path;
    write.data = std::move(data);
    write.offset = static_cast<std::uint32_t>(offset);
    write.truncate = mode.truncate;
    submission.operation = std::move(write);
    submit_write(&file, inode, std::move(submission), mode, std::move(done));
}

Operation FileSystem::truncation(std::uint64_t old_size, std::string path, std::uint64_t size) {
    WriteFile write;
    write.path = std::move(path);
    write.truncate = true;
    write.offset = static_cast<std::uint32_t>(size);
    // A length without bytes is what peers make of an empty file: never send that form.
    if (old_size == 0 && size > 0) {
        write.data.assign(size, '\0');
        write.offset = 0;
    }
    return write;
}

void FileSystem::truncate(const Caller& caller, FileId id, OpenFile* file, std::uint64_t size,
                          Done<Attributes> done) {
    done = deadlines_->guard(std::move(done));
    if (const auto entry = to_virtual(id)) {
        if (file == nullptr && !access_->grants(caller, access_->mode(*entry), W_OK)) {
            return done(fail(Errno::NoAccess));
        }
        if (*entry != VirtualEntry::Debug) return done(fail(Errno::InputOutput));
        return done(virtual_attributes(*entry));
    }
    if (size > limits::kFileBytesMax) return done(fail(Errno::FileTooBig));
    if (file == nullptr || !sequencer_.quorate()) {
        if (auto allowed = may_change(caller); !allowed) {
            return done(tl::unexpected(std::move(allowed).error()));
        }
    }
    const InodeNumber number = to_inode(id);
    const auto view = this->view();
    if (!view) return done(tl::unexpected(view.error()));
    const auto inode = (*view)->inode(number);
    if (inode && inode->is_directory()) return done(fail(Errno::IsDirectory));
    const auto path = (*view)->path_of(number);
    Submission submission;
    submission.operation = truncation(inode ? inode->size : UINT64_MAX, path ? *path : "", size);
    WriteMode mode;
    mode.truncate = true;
    submit_write(file, number, std::move(submission), mode,
                 [this, id, done](Result<std::uint32_t> written) {
                     if (!written) return done(tl::unexpected(std::move(written).error()));
                     answer_attributes(id, done);
                 });
}

void FileSystem::fsync(OpenFile& file, Done<void> done) {
    const Sequence last(file.last_write_.load());
    if (last == Sequence()) return catch_up(std::move(done));
    sequencer_.sync(last, deadlines_->guard(std::move(done)));
}

void FileSystem::catch_up(Done<void> done) {
    sequencer_.catch_up(deadlines_->guard(std::move(done)));
}

void FileSystem::sync_all(Done<void> done) {
    done = deadlines_->guard(std::move(done));
    sequencer_.sync(store_.journal_status().appended, done);
}

void FileSystem::sync_directory(Done<void> done) {
    done = deadlines_->guard(std::move(done));
    sequencer_.catch_up([this, done](const Status& status) {
        if (!status) return done(tl::unexpected(status.error()));
        sequencer_.sync(store_.journal_status().appended, done);
    });
}

// --- Attributes ---

void FileSystem::answer_attributes(FileId id, const Done<Attributes>& done) const {
    done(getattr(id));
}

Result<Submission> FileSystem::prepare_mtime(const store::ReadView& view, const Inode& inode,
                                             std::int64_t seconds) const {
    if (seconds < 0 || seconds > std::int64_t{UINT32_MAX}) return fail(Errno::Invalid);
    std::string path = CFSGATE_TRY(view.path_of(inode.number));
    Submission submission;
    if (seconds == 0 && inode.is_directory() && is_below_lock_directory(path)) {
        // "Please unlock": it removes the lock if its lease has run out. In a cluster the lowest
        // node decides that, by its own clock, and nobody waits for it.
        const Digest checksum = entry_checksum(inode, {});
        if (!sequencer_.request_unlock(path, checksum) &&
            store_.lock_leases().expired(path, checksum)) {
            submission.operation = Unlock{std::move(path), checksum};
            return submission;
        }
    }
    submission.operation = SetMtime{std::move(path), static_cast<std::uint32_t>(seconds)};
    submission.entry = inode.number;
    return submission;
}

void FileSystem::set_mtime(const Caller& caller, FileId id, std::int64_t seconds,
                           Done<Attributes> done) {
    done = deadlines_->guard(std::move(done));
    const Status submitted = [&]() -> Status {
        if (to_virtual(id) || id == kRootId) return fail(Errno::NoAccess);
        CFSGATE_TRY(may_change(caller));
        const auto view = CFSGATE_TRY(this->view());
        const auto inode = view->inode(to_inode(id));
        if (!inode) {
            if (seconds < 0 || seconds > std::int64_t{UINT32_MAX}) return fail(Errno::Invalid);
            // A removed file has no times that anybody else could see.
            const auto removed = open_files_->attributes(to_inode(id));
            if (!removed) return fail(Errno::StaleHandle);
            done(*removed);
            return {};
        }
        Submission submission = CFSGATE_TRY(prepare_mtime(*view, *inode, seconds));
        const bool unlocks = std::holds_alternative<Unlock>(submission.operation);
        const Attributes before = CFSGATE_TRY(attributes_of(*view, *inode));
        sequencer_.submit(std::move(submission),
                          [this, id, unlocks, before, done](Result<Outcome> outcome) {
                              if (!outcome) return done(tl::unexpected(std::move(outcome).error()));
                              if (unlocks) return done(before);
                              answer_attributes(id, done);
                          });
        return {};
    }();
    if (!submitted) done(tl::unexpected(submitted.error()));
}

Status FileSystem::chmod(const Caller& caller, FileId id, std::uint32_t mode) {
    std::string path;
    if (!to_virtual(id)) {
        const auto found = CFSGATE_TRY(view())->path_of(to_inode(id));
        if (found) path = *found;
    }
    auto allowed = access_->may_chmod(caller, path, mode);
    if (allowed || caller.uid != 0 || options_.chmod_policy == ChmodPolicy::Strict) return allowed;
    ignored_chmods_.fetch_add(1, std::memory_order_relaxed);
    return {};
}

Status FileSystem::chown(const Caller& caller, FileId, uid_t uid, gid_t gid) {
    auto allowed = access_->may_chown(caller, uid, gid);
    if (allowed || caller.uid != 0 || options_.chmod_policy == ChmodPolicy::Strict) return allowed;
    ignored_chmods_.fetch_add(1, std::memory_order_relaxed);
    return {};
}

}  // namespace cfsgate::gateway
