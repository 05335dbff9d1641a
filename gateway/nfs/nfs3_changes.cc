// SPDX-License-Identifier: Apache-2.0
// The procedures that change the tree. Each is described by its parts, and to_change() makes of
// them what is run, kept with the journal and answered.
#include <unistd.h>

#include <utility>

#include "gateway/nfs/procedures.h"
#include "store/base/clock.h"

namespace cfsgate::gateway::nfs {
namespace {

using Order = FileSystem::Order;

/// What differs from one change to the next.
struct Parts {
    bool harmless_to_repeat = false;
    std::function<void(Order)> start;
    /// The whole reply, after the change.
    std::function<std::string(const Effect&)> success;
    std::function<std::string(nfsstat3)> failure;
    /// Kept with the note; may be empty. Called inside the change's transaction.
    std::function<void(const Effect&, ReplyNote&)> annotate;
};

/// A client repeats what it is told to try again. Where nobody knows whether the change has happened,
/// that must do no harm.
nfsstat3 status_of(Errno code, bool harmless_to_repeat) {
    const bool unknown = code == Errno::TimedOut || code == Errno::Interrupted;
    return unknown && !harmless_to_repeat ? NFS3ERR_IO : to_nfsstat3(code);
}

Change to_change(const AdapterPtr& adapter, const Request& request, Parts parts) {
    Change change;
    change.harmless_to_repeat = parts.harmless_to_repeat;
    change.later = [failure = parts.failure] { return failure(NFS3ERR_JUKEBOX); };
    // Holds on to the adapter and to the caller's groups until it is answered.
    change.run = [adapter, as = request.as, parts = std::move(parts)](const RequestKey& key,
                                                                      Answered answered) {
        Order order;
        order.caller = as->caller();
        order.note = [key, success = parts.success,
                      annotate = parts.annotate](const Effect& effect) {
            ReplyNote note{key, success(effect), {}, {}};
            if (annotate) annotate(effect, note);
            return encode_reply_note(note);
        };
        order.done = [adapter, as, harmless = parts.harmless_to_repeat, success = parts.success,
                      failure = parts.failure,
                      answered = std::move(answered)](Result<Effect> effect) {
            if (effect) return answered({success(*effect), {}, NFS3_OK});
            const nfsstat3 status = status_of(effect.error().code, harmless);
            answered({failure(status), {}, static_cast<std::uint32_t>(status)});
        };
        parts.start(std::move(order));
    };
    return change;
}

/// Attributes after a failure, where the caller may see them.
wcc_data after_failure(const AdapterPtr& adapter, const ServedAsPtr& as, FileId id) {
    const auto attributes = adapter->files.attributes(as->caller(), id);
    Around around;
    if (attributes) around.after = *attributes;
    return to_wcc(around, adapter->file_system);
}

/// A failure of those whose result holds the state of one entry; `wcc` picks its place.
template <class Res, class Pick>
std::function<std::string(nfsstat3)> failure_about(const AdapterPtr& adapter,
                                                   const Request& request, FileId id, Pick pick) {
    return [adapter, as = request.as, xid = request.xid, id, pick](nfsstat3 status) {
        Res result{};
        result.status = status;
        pick(result) = after_failure(adapter, as, id);
        return whole_reply(xid, result);
    };
}

/// Before anything is begun.
template <class Res>
Reply refuse(const Request& request, nfsstat3 status) {
    Res result{};
    result.status = status;
    return reply_with(request.xid, status, result);
}
template <class Res>
Reply refuse(const Request& request, const Error& error) {
    return refuse<Res>(request, to_nfsstat3(error.code));
}

/// CREATE, MKDIR: their results are alike.
template <class Res, class Pick>
std::function<std::string(const Effect&)> made(const AdapterPtr& adapter, const Request& request,
                                               Pick ok_of) {
    return [adapter, xid = request.xid, ok_of](const Effect& effect) {
        Res result{};
        auto& ok = ok_of(result);
        std::string handle;
        if (effect.entry) {
            handle = adapter->handle_of(effect.entry->id);
            ok.obj.handle_follows = TRUE;
            ok.obj.post_op_fh3_u.handle.data.data_val = handle.data();
            ok.obj.post_op_fh3_u.handle.data.data_len = static_cast<u_int>(handle.size());
        }
        ok.obj_attributes = to_post_op(effect.entry, adapter->file_system);
        ok.dir_wcc = to_wcc(effect.directory, adapter->file_system);
        return whole_reply(xid, result);
    };
}

}  // namespace

Answer nfs3_setattr(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<SETATTR3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->object);
    if (!id) return refuse<SETATTR3res>(request, id.error());
    NewAttributes wanted = to_new_attributes((*arguments)->new_attributes);
    if ((*arguments)->guard.check != FALSE) {
        const nfstime3& ctime = (*arguments)->guard.sattrguard3_u.obj_ctime;
        wanted.guard = NewAttributes::Guard{ctime.seconds, ctime.nseconds};
    }
    Parts parts;
    parts.harmless_to_repeat = !wanted.guard;
    parts.start = [adapter, id = *id, wanted](Order order) {
        NewAttributes now = wanted;
        // The mode of a create means nothing here, and an EXCLUSIVE one sends it afterwards. Not so
        // what somebody sends who could not have made the file.
        const auto granted = adapter->files.granted(order.caller, id);
        const bool may_write = granted && (*granted & W_OK) != 0;
        if (may_write && (now.mode || now.uid || now.gid) &&
            adapter->exclusive_creates.take_fresh(id)) {
            now.mode.reset();
            now.uid.reset();
            now.gid.reset();
        }
        adapter->files.set_attributes(std::move(order), id, now);
    };
    parts.success = [adapter, xid = request.xid](const Effect& effect) {
        SETATTR3res result{};
        result.SETATTR3res_u.resok.obj_wcc = to_wcc(effect.directory, adapter->file_system);
        return whole_reply(xid, result);
    };
    parts.failure = failure_about<SETATTR3res>(
        adapter, request, *id,
        [](SETATTR3res& result) -> wcc_data& { return result.SETATTR3res_u.resfail.obj_wcc; });
    parts.annotate = [id = *id](const Effect&, ReplyNote& note) { note.file = id; };
    return to_change(adapter, request, std::move(parts));
}

Answer nfs3_write(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<WRITE3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const WRITE3args& wanted = **arguments;
    if (wanted.stable > FILE_SYNC || wanted.data.data_len < wanted.count) return BadArguments{};
    const auto id = adapter->id_of(wanted.file);
    if (!id) return refuse<WRITE3res>(request, id.error());
    auto data = std::make_shared<std::string>(wanted.data.data_val, wanted.count);
    Parts parts;
    parts.harmless_to_repeat = true;
    parts.start = [adapter, id = *id, offset = wanted.offset, data](Order order) {
        adapter->files.write_at(std::move(order), id, offset, std::move(*data));
    };
    // Whatever was asked for, it is on stable storage when it is answered.
    parts.success = [adapter, xid = request.xid, count = wanted.count](const Effect& effect) {
        WRITE3res result{};
        WRITE3resok& ok = result.WRITE3res_u.resok;
        ok.file_wcc = to_wcc(effect.directory, adapter->file_system);
        ok.count = count;
        ok.committed = FILE_SYNC;
        std::copy(adapter->write_verifier.begin(), adapter->write_verifier.end(), ok.verf);
        return whole_reply(xid, result);
    };
    parts.failure = failure_about<WRITE3res>(
        adapter, request, *id,
        [](WRITE3res& result) -> wcc_data& { return result.WRITE3res_u.resfail.file_wcc; });
    return to_change(adapter, request, std::move(parts));
}

namespace {

/// A file of that name that this client has made under that verifier (RFC 1813, 3.3.8): its first
/// answer was lost.
Result<Effect> made_before(Adapter& adapter, const Caller& caller, FileId directory,
                           const std::string& name, const CreateVerifier& verifier) {
    const auto there = adapter.files.lookup(caller, directory, name);
    // Not there either: a guest that is configured elsewhere, or a name that no file can have.
    if (!there && there.error().code != Errno::NotFound) return tl::unexpected(there.error());
    if (!there || !adapter.exclusive_creates.made_by(there->id, verifier)) {
        return fail(Errno::Exists);
    }
    const Attributes above = CFSGATE_TRY(adapter.files.attributes(caller, directory));
    return Effect{*there, {above, above}, {}, 0};
}

void create_exclusive(const AdapterPtr& adapter, Order order, FileId directory,
                      const std::string& name, const CreateVerifier& verifier) {
    Order attempt = order;
    attempt.done = [adapter, order, directory, name, verifier](Result<Effect> effect) {
        if (effect || effect.error().code != Errno::Exists) return order.done(std::move(effect));
        order.done(made_before(*adapter, order.caller, directory, name, verifier));
    };
    adapter->files.create_new(std::move(attempt), directory, name);
}

}  // namespace

Answer nfs3_create(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<CREATE3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const createhow3& how = (*arguments)->how;
    const auto id = adapter->id_of((*arguments)->where.dir);
    if (!id) return refuse<CREATE3res>(request, id.error());
    const std::string name = (*arguments)->where.name;
    Parts parts;
    switch (how.mode) {
        case UNCHECKED: {
            parts.harmless_to_repeat = true;
            const auto size = to_new_attributes(how.createhow3_u.obj_attributes).size;
            parts.start = [adapter, id = *id, name, size](Order order) {
                adapter->files.create_or_take(std::move(order), id, name, size);
            };
            break;
        }
        case GUARDED:
            parts.start = [adapter, id = *id, name](Order order) {
                adapter->files.create_new(std::move(order), id, name);
            };
            break;
        case EXCLUSIVE: {
            parts.harmless_to_repeat = true;
            const CreateVerifier verifier(how.createhow3_u.verf, NFS3_CREATEVERFSIZE);
            parts.start = [adapter, id = *id, name, verifier](Order order) {
                create_exclusive(adapter, std::move(order), id, name, verifier);
            };
            parts.annotate = [adapter, verifier](const Effect& effect, ReplyNote& note) {
                if (!effect.entry) return;
                note.verifier = verifier;
                note.file = effect.entry->id;
                adapter->exclusive_creates.add(note.file, verifier);
            };
            break;
        }
    }
    parts.success = made<CREATE3res>(adapter, request, [](CREATE3res& result) -> CREATE3resok& {
        return result.CREATE3res_u.resok;
    });
    if (how.mode == UNCHECKED) {
        // Where the file was there, the change was one of the file.
        parts.success = [adapter, directory = *id, as = request.as,
                         usual = std::move(parts.success)](const Effect& effect) {
            if (effect.directory.after && effect.directory.after->id == directory) {
                return usual(effect);
            }
            return usual(Effect{effect.entry, {}, {}, effect.bytes});
        };
    }
    parts.failure = failure_about<CREATE3res>(
        adapter, request, *id,
        [](CREATE3res& result) -> wcc_data& { return result.CREATE3res_u.resfail.dir_wcc; });
    return to_change(adapter, request, std::move(parts));
}

Answer nfs3_mkdir(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<MKDIR3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->where.dir);
    if (!id) return refuse<MKDIR3res>(request, id.error());
    Parts parts;
    parts.start = [adapter, id = *id, name = std::string((*arguments)->where.name)](Order order) {
        adapter->files.make_directory(std::move(order), id, name);
    };
    parts.success = made<MKDIR3res>(adapter, request, [](MKDIR3res& result) -> MKDIR3resok& {
        return result.MKDIR3res_u.resok;
    });
    parts.failure = failure_about<MKDIR3res>(
        adapter, request, *id,
        [](MKDIR3res& result) -> wcc_data& { return result.MKDIR3res_u.resfail.dir_wcc; });
    return to_change(adapter, request, std::move(parts));
}

namespace {

/// REMOVE, RMDIR: alike but for their names.
template <class Res, class Ok, class Fail>
Change remove(const AdapterPtr& adapter, const Request& request, FileId directory, std::string name,
              FileKind kind, Ok ok_of, Fail fail_of) {
    Parts parts;
    parts.start = [adapter, directory, name = std::move(name), kind](Order order) {
        adapter->files.remove_name(std::move(order), directory, name, kind);
    };
    parts.success = [adapter, xid = request.xid, ok_of](const Effect& effect) {
        Res result{};
        ok_of(result) = to_wcc(effect.directory, adapter->file_system);
        return whole_reply(xid, result);
    };
    parts.failure = failure_about<Res>(adapter, request, directory, fail_of);
    return to_change(adapter, request, std::move(parts));
}

}  // namespace

Answer nfs3_remove(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<REMOVE3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->object.dir);
    if (!id) return refuse<REMOVE3res>(request, id.error());
    return remove<REMOVE3res>(
        adapter, request, *id, (*arguments)->object.name, FileKind::File,
        [](REMOVE3res& result) -> wcc_data& { return result.REMOVE3res_u.resok.dir_wcc; },
        [](REMOVE3res& result) -> wcc_data& { return result.REMOVE3res_u.resfail.dir_wcc; });
}

Answer nfs3_rmdir(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<RMDIR3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->object.dir);
    if (!id) return refuse<RMDIR3res>(request, id.error());
    return remove<RMDIR3res>(
        adapter, request, *id, (*arguments)->object.name, FileKind::Directory,
        [](RMDIR3res& result) -> wcc_data& { return result.RMDIR3res_u.resok.dir_wcc; },
        [](RMDIR3res& result) -> wcc_data& { return result.RMDIR3res_u.resfail.dir_wcc; });
}

Answer nfs3_rename(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<RENAME3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto from = adapter->id_of((*arguments)->from.dir);
    const auto to = adapter->id_of((*arguments)->to.dir);
    if (!from || !to) return refuse<RENAME3res>(request, from ? to.error() : from.error());
    Parts parts;
    parts.start = [adapter, from = *from, to = *to, name = std::string((*arguments)->from.name),
                   new_name = std::string((*arguments)->to.name)](Order order) {
        adapter->files.move_name(std::move(order), from, name, to, new_name);
    };
    parts.success = [adapter, xid = request.xid](const Effect& effect) {
        RENAME3res result{};
        RENAME3resok& ok = result.RENAME3res_u.resok;
        ok.fromdir_wcc = to_wcc(effect.directory, adapter->file_system);
        ok.todir_wcc = to_wcc(effect.target, adapter->file_system);
        return whole_reply(xid, result);
    };
    parts.failure = [adapter, as = request.as, xid = request.xid, from = *from,
                     to = *to](nfsstat3 status) {
        RENAME3res result{};
        result.status = status;
        result.RENAME3res_u.resfail.fromdir_wcc = after_failure(adapter, as, from);
        result.RENAME3res_u.resfail.todir_wcc = after_failure(adapter, as, to);
        return whole_reply(xid, result);
    };
    return to_change(adapter, request, std::move(parts));
}

// The tree holds files and directories, and the links that it makes by itself.

Answer nfs3_symlink(const AdapterPtr&, const Request& request) {
    if (!Decoded<SYMLINK3args>::whole(request.arguments)) return BadArguments{};
    return refuse<SYMLINK3res>(request, NFS3ERR_NOTSUPP);
}

Answer nfs3_mknod(const AdapterPtr&, const Request& request) {
    const auto arguments = Decoded<MKNOD3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    switch ((*arguments)->what.type) {
        case NF3CHR:
        case NF3BLK:
        case NF3SOCK:
        case NF3FIFO: return refuse<MKNOD3res>(request, NFS3ERR_NOTSUPP);
        case NF3REG:
        case NF3DIR:
        case NF3LNK: break;
    }
    return refuse<MKNOD3res>(request, NFS3ERR_BADTYPE);
}

Answer nfs3_link(const AdapterPtr&, const Request& request) {
    if (!Decoded<LINK3args>::whole(request.arguments)) return BadArguments{};
    return refuse<LINK3res>(request, NFS3ERR_NOTSUPP);
}

Answer nfs3_commit(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<COMMIT3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->file);
    if (!id) return refuse<COMMIT3res>(request, id.error());
    const auto reply = [adapter, as = request.as, xid = request.xid, id = *id](nfsstat3 status) {
        COMMIT3res result{};
        result.status = status;
        wcc_data& wcc = status == NFS3_OK ? result.COMMIT3res_u.resok.file_wcc
                                          : result.COMMIT3res_u.resfail.file_wcc;
        wcc = after_failure(adapter, as, id);
        if (status == NFS3_OK) {
            std::copy(adapter->write_verifier.begin(), adapter->write_verifier.end(),
                      result.COMMIT3res_u.resok.verf);
        }
        return whole_reply(xid, result);
    };
    const auto allowed = adapter->files.attributes(request.caller(), *id);
    if (!allowed) {
        const nfsstat3 status = to_nfsstat3(allowed.error().code);
        return Reply{reply(status), {}, static_cast<std::uint32_t>(status)};
    }
    Change change;
    change.harmless_to_repeat = true;
    change.remembered = false;
    change.later = [reply] { return reply(NFS3ERR_JUKEBOX); };
    change.run = [adapter, reply](const RequestKey&, Answered answered) {
        adapter->files.sync_all([reply, answered = std::move(answered)](Status synced) {
            const nfsstat3 status = synced ? NFS3_OK : to_nfsstat3(synced.error().code);
            answered({reply(status), {}, static_cast<std::uint32_t>(status)});
        });
    };
    return change;
}

}  // namespace cfsgate::gateway::nfs
