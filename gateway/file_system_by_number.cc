// SPDX-License-Identifier: Apache-2.0
// The part of the façade for protocols that keep no open files: every call names its entry by
// number, and access is checked each time.
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "gateway/access.h"
#include "gateway/file_system.h"
#include "gateway/virtual_files.h"
#include "store/model/limits.h"
#include "store/model/path.h"

namespace cfsgate::gateway {

using replication::Need;
using replication::Outcome;

/// What a change saw; filled inside its batch, read when it is answered.
struct FileSystem::Watch {
    Effect effect;
};

// --- Reading ---

/// An entry that is there. Errors: StaleHandle.
Result<Inode> FileSystem::living(const store::ReadView& view, FileId id) const {
    auto inode = view.inode(to_inode(id));
    if (!inode && inode.error().code == Errno::NotFound) return fail(Errno::StaleHandle);
    return inode;
}

/// Whether the caller could find the entry by its name.
Status FileSystem::may_see(const Caller& caller, const store::ReadView& view,
                           const Inode& inode) const {
    if (caller.uid == 0 && caller.restriction == nullptr) return {};
    const std::string path = CFSGATE_TRY(view.path_of(inode.number));
    if (access_->may_search(caller, split_path(path).directory) && access_->exports(caller, path)) {
        return {};
    }
    return fail(Errno::NoAccess);
}

Result<Inode> FileSystem::living_file(const Caller& caller, const store::ReadView& view,
                                      FileId id) const {
    Inode inode = CFSGATE_TRY(living(view, id));
    CFSGATE_TRY(may_see(caller, view, inode));
    if (inode.is_directory()) return fail(Errno::IsDirectory);
    return inode;
}

Result<Attributes> FileSystem::attributes(const Caller& caller, FileId id) const {
    if (const auto entry = to_virtual(id)) return virtual_attributes(*entry);
    const auto view = CFSGATE_TRY(this->view());
    const Inode inode = CFSGATE_TRY(living(*view, id));
    CFSGATE_TRY(may_see(caller, *view, inode));
    return attributes_of(*view, inode);
}

Result<int> FileSystem::granted(const Caller& caller, FileId id) const {
    constexpr std::uint32_t kAnyExecute = 0111;
    const Attributes attributes = CFSGATE_TRY(this->attributes(caller, id));
    if (attributes.kind == FileKind::Directory && caller.restriction != nullptr) {
        const auto view = CFSGATE_TRY(this->view());
        if (!access_->may_search(caller, CFSGATE_TRY(view->path_of(to_inode(id))))) return 0;
    }
    int granted = 0;
    for (const int bit : {R_OK, W_OK, X_OK}) {
        if (access_->grants(caller, attributes.mode, bit)) granted |= bit;
    }
    // Root may read and write whatever the bits say, but executes only what somebody may.
    const bool is_file = attributes.kind == FileKind::File;
    if (is_file && (attributes.mode & kAnyExecute) == 0) granted &= ~X_OK;
    const bool changes = to_virtual(id) ? *to_virtual(id) == VirtualEntry::Debug && caller.uid == 0
                                        : may_change(caller).has_value();
    if (!changes) granted &= ~W_OK;
    return granted;
}

Result<ReadResult> FileSystem::read_at(const Caller& caller, FileId id, std::uint64_t offset,
                                       std::size_t count) const {
    ReadResult result;
    const auto take = [&](std::string_view content) {
        if (offset < content.size()) result.data = content.substr(offset, count);
        result.end = offset + result.data.size() >= content.size();
    };
    if (const auto entry = to_virtual(id)) {
        result.attributes = virtual_attributes(*entry);
        if (result.attributes.kind == FileKind::Symlink) return fail(Errno::Invalid);
        if (!access_->grants(caller, result.attributes.mode, R_OK)) return fail(Errno::NoAccess);
        take(virtual_files_->text(*entry));
        return result;
    }
    const auto view = CFSGATE_TRY(this->view());
    const Inode inode = CFSGATE_TRY(living_file(caller, *view, id));
    const std::string path = CFSGATE_TRY(view->path_of(inode.number));
    result.attributes = shown(*view, inode, to_attributes(inode, path));
    if (!access_->grants(caller, result.attributes.mode, R_OK)) return fail(Errno::NoAccess);
    take(CFSGATE_TRY(view->content(inode)));
    return result;
}

Result<Attributes> FileSystem::parent_of(const Caller& caller, FileId directory) const {
    if (to_virtual(directory)) return fail(Errno::NotDirectory);
    const auto view = CFSGATE_TRY(this->view());
    const Inode inode = CFSGATE_TRY(living(*view, directory));
    if (!inode.is_directory()) return fail(Errno::NotDirectory);
    CFSGATE_TRY(may_search(caller, *view, inode));
    return attributes_of(*view, CFSGATE_TRY(view->inode(inode.parent)));
}

// --- Submitting ---

std::shared_ptr<FileSystem::Watch> FileSystem::watch(Submission& submission,
                                                     const MakeNote& note) const {
    auto watch = std::make_shared<Watch>();
    const auto about = submission.parent ? submission.parent : submission.entry;
    const auto look = [this](const store::ReadView& view,
                             std::optional<InodeNumber> number) -> std::optional<Attributes> {
        if (!number) return {};
        const auto inode = view.inode(*number);
        if (!inode) return {};
        const auto attributes = attributes_of(view, *inode);
        return attributes ? std::optional<Attributes>(*attributes) : std::nullopt;
    };
    submission.check = [watch, look, about, target = submission.target_parent,
                        check = std::move(submission.check)](const store::ReadView& now,
                                                             const Operation& operation) -> Status {
        if (check) CFSGATE_TRY(check(now, operation));
        watch->effect.directory.before = look(now, about);
        watch->effect.target.before = look(now, target);
        return {};
    };
    submission.annotate = [watch, look, about, target = submission.target_parent, note](
                              const store::ReadView& after, const store::Applied& applied) {
        watch->effect.directory.after = look(after, about);
        watch->effect.target.after = look(after, target);
        watch->effect.entry = look(after, applied.inode);
        watch->effect.bytes = applied.bytes;
        return note ? note(watch->effect) : std::string();
    };
    return watch;
}

void FileSystem::submit_watched(Submission submission, const Order& order) {
    const auto watch = this->watch(submission, order.note);
    const auto parent = submission.parent;
    sequencer_.submit(std::move(submission),
                      [this, watch, parent, done = order.done](Result<Outcome> outcome) {
                          if (outcome) return done(watch->effect);
                          Error error = std::move(outcome).error();
                          if (error.code == Errno::NotFound && parent) {
                              const auto view = this->view();
                              if (view && !(*view)->inode(*parent)) error.code = Errno::StaleHandle;
                          }
                          done(tl::unexpected(std::move(error)));
                      });
}

/// Where nothing needs to be changed.
void FileSystem::answer_unchanged(const Order& order, FileId id) const {
    auto attributes = this->attributes(order.caller, id);
    if (!attributes) return order.done(tl::unexpected(std::move(attributes).error()));
    order.done(Effect{*attributes, {*attributes, *attributes}, {}, 0});
}

// --- Files ---

void FileSystem::write_at(Order order, FileId id, std::uint64_t offset, std::string data) {
    if (const auto entry = to_virtual(id)) {
        if (!access_->grants(order.caller, access_->mode(*entry), W_OK)) {
            return order.done(fail(Errno::NoAccess));
        }
        return write_virtual(
            *entry, offset, data,
            [this, order, id, size = data.size()](Result<std::uint32_t> written) {
                if (!written) return order.done(tl::unexpected(written.error()));
                auto effect = Effect{virtual_attributes(*to_virtual(id)), {}, {}, 0};
                effect.bytes = static_cast<std::uint32_t>(size);
                order.done(std::move(effect));
            });
    }
    auto submission = [&]() -> Result<Submission> {
        const auto view = CFSGATE_TRY(this->view());
        const Inode inode = CFSGATE_TRY(living_file(order.caller, *view, id));
        CFSGATE_TRY(may_change(order.caller));
        if (offset > limits::kFileBytesMax || data.size() > limits::kFileBytesMax - offset) {
            return fail(Errno::FileTooBig);
        }
        WriteFile write;
        write.path = CFSGATE_TRY(view->path_of(inode.number));
        write.data = std::move(data);
        write.offset = static_cast<std::uint32_t>(offset);
        Submission made;
        made.operation = std::move(write);
        made.entry = inode.number;
        made.check = room_for_write(inode.number);
        return made;
    }();
    if (!submission) return order.done(tl::unexpected(submission.error()));
    if (std::get<WriteFile>(submission->operation).data.empty()) return answer_unchanged(order, id);
    submit_watched(std::move(*submission), order);
}

// --- Attributes ---

Status FileSystem::apply_modes(const Caller& caller, FileId id, const NewAttributes& wanted) {
    if (wanted.mode) CFSGATE_TRY(chmod(caller, id, *wanted.mode));
    if (!wanted.uid && !wanted.gid) return {};
    constexpr uid_t kUnchanged = static_cast<uid_t>(-1);
    return chown(caller, id, wanted.uid.value_or(kUnchanged), wanted.gid.value_or(kUnchanged));
}

void FileSystem::set_attributes_virtual(const Order& order, VirtualEntry entry,
                                        const NewAttributes& wanted) {
    const Status allowed = [&]() -> Status {
        CFSGATE_TRY(apply_modes(order.caller, to_file_id(entry), wanted));
        if (wanted.size) {
            if (!access_->grants(order.caller, access_->mode(entry), W_OK)) {
                return fail(Errno::NoAccess);
            }
            if (entry != VirtualEntry::Debug) return fail(Errno::InputOutput);
        }
        // A shell's `echo 1 > .debug` also asks for a new time.
        const bool times = wanted.mtime || wanted.mtime_is_now;
        if (times && !(wanted.size && entry == VirtualEntry::Debug)) return fail(Errno::NoAccess);
        return {};
    }();
    if (!allowed) return order.done(tl::unexpected(allowed.error()));
    answer_unchanged(order, to_file_id(entry));
}

Result<replication::Submission> FileSystem::prepare_size(const Caller& caller, FileId id,
                                                         std::uint64_t size) const {
    const auto view = CFSGATE_TRY(this->view());
    const Inode inode = CFSGATE_TRY(living_file(caller, *view, id));
    CFSGATE_TRY(may_change(caller));
    if (size > limits::kFileBytesMax) return fail(Errno::FileTooBig);
    Submission submission;
    submission.operation = truncation(inode.size, CFSGATE_TRY(view->path_of(inode.number)), size);
    submission.entry = inode.number;
    submission.check = room_for_write(inode.number);
    return submission;
}

namespace {

Status check_guard(const NewAttributes& wanted, const Attributes& found) {
    if (!wanted.guard) return {};
    if (wanted.guard->seconds == found.mtime &&
        wanted.guard->nanoseconds == found.ctime_nanoseconds()) {
        return {};
    }
    return fail(Errno::TryAgain, "the entry has changed since");
}

}  // namespace

void FileSystem::set_attributes(Order order, FileId id, NewAttributes wanted) {
    if (const auto entry = to_virtual(id)) return set_attributes_virtual(order, *entry, wanted);
    if (wanted.mtime_is_now) wanted.mtime = options_.clock();
    std::vector<Submission> steps;
    const Status ready = [&]() -> Status {
        const auto view = CFSGATE_TRY(this->view());
        const Inode inode = CFSGATE_TRY(living(*view, id));
        CFSGATE_TRY(may_see(order.caller, *view, inode));
        CFSGATE_TRY(check_guard(wanted, CFSGATE_TRY(attributes_of(*view, inode))));
        CFSGATE_TRY(apply_modes(order.caller, id, wanted));
        if (wanted.size) steps.push_back(CFSGATE_TRY(prepare_size(order.caller, id, *wanted.size)));
        if (wanted.mtime) {
            if (id == kRootId) return fail(Errno::NoAccess);
            CFSGATE_TRY(may_change(order.caller));
            CFSGATE_TRY(may_name(order.caller, CFSGATE_TRY(view->path_of(inode.number))));
            steps.push_back(CFSGATE_TRY(prepare_mtime(*view, inode, *wanted.mtime)));
        }
        return {};
    }();
    if (!ready) return order.done(tl::unexpected(ready.error()));
    if (steps.empty()) return answer_unchanged(order, id);
    if (wanted.guard) {
        steps[0].check = [this, id, wanted, check = std::move(steps[0].check)](
                             const store::ReadView& now, const Operation& operation) -> Status {
            const Inode inode = CFSGATE_TRY(living(now, id));
            CFSGATE_TRY(check_guard(wanted, CFSGATE_TRY(attributes_of(now, inode))));
            return check ? check(now, operation) : Status();
        };
    }
    if (steps.size() == 1) return submit_watched(std::move(steps[0]), order);
    // The second one's reply speaks for both, and is durable when both are.
    steps[0].need = Need::Applied;
    Order first;
    first.caller = order.caller;
    first.done = [this, order, second = std::move(steps[1])](Result<Effect> sized) {
        if (!sized) return order.done(std::move(sized));
        Order rest = order;
        const auto before = sized->directory.before;
        if (order.note) {
            rest.note = [note = order.note, before](Effect effect) {
                effect.directory.before = before;
                return note(effect);
            };
        }
        rest.done = [done = order.done, before](Result<Effect> effect) {
            if (effect) effect->directory.before = before;
            done(std::move(effect));
        };
        submit_watched(second, rest);
    };
    submit_watched(std::move(steps[0]), first);
}

// --- Names ---

namespace {

/// "Not found" for a directory that was named by its number means that the number is stale.
Error about_parent(const store::Store& store, FileId parent, Error error) {
    if (error.code != Errno::NotFound || to_virtual(parent)) return error;
    const auto view = store.read();
    if (view && !(*view)->inode(to_inode(parent))) error.code = Errno::StaleHandle;
    return error;
}

}  // namespace

void FileSystem::create_new(Order order, FileId parent, std::string name) {
    auto submission = prepare_create(order.caller, parent, name);
    if (!submission) {
        return order.done(tl::unexpected(about_parent(store_, parent, submission.error())));
    }
    submit_watched(std::move(*submission), order);
}

void FileSystem::take_existing(const Order& order, FileId id, std::optional<std::uint64_t> size) {
    if (!size) return answer_unchanged(order, id);
    NewAttributes wanted;
    wanted.size = size;
    set_attributes(order, id, wanted);
}

void FileSystem::create_or_take(Order order, FileId parent, std::string name,
                                std::optional<std::uint64_t> size) {
    // Also where somebody was faster, or where the guest is configured elsewhere.
    const auto take = [this, parent, name, size](const Order& by) {
        const auto there = lookup(by.caller, parent, name);
        if (!there && there.error().code != Errno::NotFound) {
            return by.done(tl::unexpected(there.error()));
        }
        if (!there || there->kind != FileKind::File) return by.done(fail(Errno::Exists));
        take_existing(by, there->id, size);
    };
    auto submission = prepare_create(order.caller, parent, name);
    if (!submission) {
        if (submission.error().code == Errno::Exists) return take(order);
        return order.done(tl::unexpected(about_parent(store_, parent, submission.error())));
    }
    Order attempt = order;
    attempt.done = [order, take](Result<Effect> effect) {
        if (!effect && effect.error().code == Errno::Exists) return take(order);
        order.done(std::move(effect));
    };
    submit_watched(std::move(*submission), attempt);
}

void FileSystem::make_directory(Order order, FileId parent, std::string name) {
    auto submission = prepare_mkdir(order.caller, parent, name);
    if (!submission) {
        return order.done(tl::unexpected(about_parent(store_, parent, submission.error())));
    }
    submit_watched(std::move(*submission), order);
}

void FileSystem::remove_name(Order order, FileId parent, std::string name, FileKind kind) {
    auto submission = prepare_remove(order.caller, parent, name, kind == FileKind::Directory);
    if (!submission) {
        return order.done(tl::unexpected(about_parent(store_, parent, submission.error())));
    }
    submit_watched(std::move(*submission), order);
}

void FileSystem::move_name(Order order, FileId parent, std::string name, FileId new_parent,
                           std::string new_name) {
    if (parent == new_parent && name == new_name) {
        // Onto itself: success, nothing happens.
        const auto there = lookup(order.caller, parent, name);
        if (!there) {
            return order.done(tl::unexpected(about_parent(store_, parent, there.error())));
        }
        const auto above = attributes(order.caller, parent);
        if (!above) return order.done(tl::unexpected(above.error()));
        return order.done(Effect{*there, {*above, *above}, {*above, *above}, 0});
    }
    auto submission = prepare_rename(order.caller, parent, name, new_parent, new_name);
    if (!submission) {
        Error error = about_parent(store_, parent, submission.error());
        return order.done(tl::unexpected(about_parent(store_, new_parent, std::move(error))));
    }
    submit_watched(std::move(*submission), order);
}

}  // namespace cfsgate::gateway
