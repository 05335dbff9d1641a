// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>

#include "gateway/nfs/procedures.h"
#include "gateway/nfs/xdr_writer.h"
#include "store/model/limits.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::uint32_t kListingBytesPreferred = 64U << 10;

/// Of a union whose failure holds nothing, or only what zeros say.
template <class Result>
Reply failed(const Request& request, Errno code) {
    Result result{};
    result.status = to_nfsstat3(code);
    return reply_with(request.xid, result.status, result);
}

nfs_fh3 borrowed_handle(std::string& bytes) {
    nfs_fh3 handle{};
    handle.data.data_val = bytes.data();
    handle.data.data_len = static_cast<u_int>(bytes.size());
    return handle;
}

/// The directory first: what it shows must not be newer than the look-up.
Result<Attributes> find(Adapter& adapter, const Request& request, const Attributes& directory,
                        std::string_view name) {
    if (directory.kind != FileKind::Directory) return fail(Errno::NotDirectory);
    const Caller caller = request.caller();
    auto found = name == ".." ? adapter.files.parent_of(caller, directory.id)
                              : adapter.files.lookup(caller, directory.id, name);
    if (!found) return found;
    return adapter.as_seen(request, *found);
}

}  // namespace

Answer nfs3_getattr(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<GETATTR3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto attributes = [&]() -> Result<Attributes> {
        const FileId id = CFSGATE_TRY(adapter->id_of((*arguments)->object));
        return adapter->attributes(request, id);
    }();
    if (!attributes) return failed<GETATTR3res>(request, attributes.error().code);
    GETATTR3res result{};
    result.GETATTR3res_u.resok.obj_attributes = to_fattr3(*attributes, adapter->file_system);
    return reply_with(request.xid, NFS3_OK, result);
}

Answer nfs3_lookup(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<LOOKUP3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto directory = [&]() -> Result<Attributes> {
        const FileId id = CFSGATE_TRY(adapter->id_of((*arguments)->what.dir));
        return adapter->attributes(request, id);
    }();
    if (!directory) return failed<LOOKUP3res>(request, directory.error().code);
    const auto found = find(*adapter, request, *directory, (*arguments)->what.name);
    LOOKUP3res result{};
    const post_op_attr about_directory = to_post_op(*directory, adapter->file_system);
    if (!found) {
        result.status = to_nfsstat3(found.error().code);
        result.LOOKUP3res_u.resfail.dir_attributes = about_directory;
        return reply_with(request.xid, result.status, result);
    }
    std::string handle = adapter->handle_of(found->id);
    LOOKUP3resok& ok = result.LOOKUP3res_u.resok;
    ok.object = borrowed_handle(handle);
    ok.obj_attributes = to_post_op(*found, adapter->file_system);
    ok.dir_attributes = about_directory;
    return reply_with(request.xid, NFS3_OK, result);
}

Answer nfs3_access(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<ACCESS3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->object);
    if (!id) return failed<ACCESS3res>(request, id.error().code);
    const auto attributes = adapter->attributes(request, *id);
    const auto granted = adapter->files.granted(request.caller(), *id);
    if (!attributes || !granted) {
        return failed<ACCESS3res>(request,
                                  attributes ? granted.error().code : attributes.error().code);
    }
    const bool directory = attributes->kind == FileKind::Directory;
    unsigned int allowed = 0;
    if ((*granted & R_OK) != 0) allowed |= ACCESS3_READ;
    if ((*granted & W_OK) != 0) {
        allowed |= ACCESS3_MODIFY | ACCESS3_EXTEND | (directory ? ACCESS3_DELETE : 0);
    }
    if ((*granted & X_OK) != 0) allowed |= directory ? ACCESS3_LOOKUP : ACCESS3_EXECUTE;
    ACCESS3res result{};
    result.ACCESS3res_u.resok.obj_attributes = to_post_op(*attributes, adapter->file_system);
    result.ACCESS3res_u.resok.access = allowed & (*arguments)->access;
    return reply_with(request.xid, NFS3_OK, result);
}

Answer nfs3_readlink(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<READLINK3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->symlink);
    if (!id) return failed<READLINK3res>(request, id.error().code);
    const auto attributes = adapter->attributes(request, *id);
    if (!attributes) return failed<READLINK3res>(request, attributes.error().code);
    auto target = adapter->files.readlink(*id);
    READLINK3res result{};
    if (!target) {
        result.status = to_nfsstat3(target.error().code);
        result.READLINK3res_u.resfail.symlink_attributes =
            to_post_op(*attributes, adapter->file_system);
        return reply_with(request.xid, result.status, result);
    }
    result.READLINK3res_u.resok.symlink_attributes = to_post_op(*attributes, adapter->file_system);
    result.READLINK3res_u.resok.data = target->data();
    return reply_with(request.xid, NFS3_OK, result);
}

namespace {

/// A virtual file is read from the text whose size the client has seen.
Result<ReadResult> read(Adapter& adapter, const Request& request, FileId id, std::uint64_t offset,
                        std::size_t count) {
    if (!to_virtual(id)) return adapter.files.read_at(request.caller(), id, offset, count);
    ReadResult result;
    result.attributes = CFSGATE_TRY(adapter.attributes(request, id));
    if (result.attributes.kind == FileKind::Symlink) return fail(Errno::Invalid);
    if ((CFSGATE_TRY(adapter.files.granted(request.caller(), id)) & R_OK) == 0) {
        return fail(Errno::NoAccess);
    }
    const auto text = adapter.virtual_texts.get(adapter.files, request.client, id,
                                                std::chrono::steady_clock::now());
    if (text == nullptr) return fail(Errno::InputOutput);
    result.data = CFSGATE_TRY(adapter.files.read(*text, offset, count));
    result.end = offset + result.data.size() >= text->opened_size();
    return result;
}

}  // namespace

Answer nfs3_read(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<READ3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const READ3args& wanted = **arguments;
    const auto id = adapter->id_of(wanted.file);
    if (!id) return failed<READ3res>(request, id.error().code);
    const std::size_t count = std::min(wanted.count, kTransferBytesMax);
    auto result = read(*adapter, request, *id, wanted.offset, count);
    if (!result) {
        READ3res refused{};
        refused.status = to_nfsstat3(result.error().code);
        refused.READ3res_u.resfail.file_attributes = adapter->post_op(request, *id);
        return reply_with(request.xid, refused.status, refused);
    }
    // READ3resok by hand, so that the data stays where it is.
    Reply reply{accepted_reply(request.xid), std::move(result->data), NFS3_OK};
    XdrWriter out(reply.head);
    const auto size = static_cast<std::uint32_t>(reply.data.size());
    out.put(std::uint32_t{NFS3_OK});
    out.put_attributes(to_fattr3(result->attributes, adapter->file_system));
    out.put(size);
    out.put(std::uint32_t{result->end ? 1U : 0U});
    out.put(size);
    return reply;
}

Answer nfs3_fsstat(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<FSSTAT3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->fsroot);
    const auto attributes = id ? adapter->attributes(request, *id) : tl::unexpected(id.error());
    if (!attributes) return failed<FSSTAT3res>(request, attributes.error().code);
    const FileSystemStatistics statistics = adapter->files.statfs();
    FSSTAT3res result{};
    FSSTAT3resok& ok = result.FSSTAT3res_u.resok;
    ok.obj_attributes = to_post_op(*attributes, adapter->file_system);
    ok.tbytes = statistics.blocks * statistics.block_bytes;
    ok.fbytes = ok.abytes = statistics.blocks_free * statistics.block_bytes;
    ok.tfiles = statistics.files;
    ok.ffiles = ok.afiles = statistics.files_free;
    return reply_with(request.xid, NFS3_OK, result);
}

Answer nfs3_fsinfo(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<FSINFO3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->fsroot);
    const auto attributes = id ? adapter->attributes(request, *id) : tl::unexpected(id.error());
    if (!attributes) return failed<FSINFO3res>(request, attributes.error().code);
    FSINFO3res result{};
    FSINFO3resok& ok = result.FSINFO3res_u.resok;
    ok.obj_attributes = to_post_op(*attributes, adapter->file_system);
    ok.rtmax = ok.rtpref = ok.wtmax = ok.wtpref = kTransferBytesMax;
    ok.rtmult = ok.wtmult = static_cast<unsigned int>(limits::kBlockBytes);
    ok.dtpref = kListingBytesPreferred;
    ok.maxfilesize = limits::kFileBytesMax;
    ok.time_delta = {1, 0};
    ok.properties = FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME;
    return reply_with(request.xid, NFS3_OK, result);
}

Answer nfs3_pathconf(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<PATHCONF3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const auto id = adapter->id_of((*arguments)->object);
    const auto attributes = id ? adapter->attributes(request, *id) : tl::unexpected(id.error());
    if (!attributes) return failed<PATHCONF3res>(request, attributes.error().code);
    PATHCONF3res result{};
    PATHCONF3resok& ok = result.PATHCONF3res_u.resok;
    ok.obj_attributes = to_post_op(*attributes, adapter->file_system);
    ok.linkmax = 1;
    ok.name_max = static_cast<unsigned int>(limits::kNameBytesMax);
    ok.no_trunc = TRUE;
    ok.chown_restricted = TRUE;
    ok.case_insensitive = FALSE;
    ok.case_preserving = TRUE;
    return reply_with(request.xid, NFS3_OK, result);
}

}  // namespace cfsgate::gateway::nfs
