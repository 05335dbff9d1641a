// SPDX-License-Identifier: Apache-2.0
// READDIR and READDIRPLUS. A cookie is where the façade's listing goes on, and stays good while
// entries come and go; so the verifier is always the same, and no client has to start over.
#include <algorithm>

#include "gateway/nfs/file_handle.h"
#include "gateway/nfs/procedures.h"
#include "gateway/nfs/xdr_writer.h"

namespace cfsgate::gateway::nfs {
namespace {

/// Directory's attributes, verifier; and behind the entries: end of the list, eof.
constexpr std::size_t kAroundEntries = kPostOpBytes + 8 + 4 + 4;
/// Most listings fit; longer ones grow.
constexpr std::size_t kReservedBytes = 32U << 10;
constexpr std::size_t kHandleWireBytes = 4 + 4 + kHandleBytes;

struct Wanted {
    const nfs_fh3& directory;
    std::uint64_t cookie = 0;
    Listing listing = Listing::NamesOnly;
    std::size_t bytes_max = 0;  ///< of the whole result behind the status
    std::size_t names_max = 0;  ///< of file ids, names and cookies
};

/// Entries as they go out, within the limits.
class EntryWriter {
public:
    EntryWriter(Adapter& adapter, const Request& request, const Wanted& wanted, std::string& out)
        : adapter_(adapter),
          request_(request),
          plus_(wanted.listing == Listing::WithAttributes),
          room_(wanted.bytes_max - std::min(wanted.bytes_max, kAroundEntries)),
          names_room_(wanted.names_max),
          out_(out) {}

    /// False: it does not fit any more.
    bool add(const DirectoryEntry& entry) {
        const std::size_t name = 8 + 4 + entry.name.size() + xdr_padding(entry.name.size()) + 8;
        const bool described = plus_ && entry.attributes.has_value();
        const std::size_t extra = !plus_ ? 0 : described ? kPostOpBytes + kHandleWireBytes : 8;
        const std::size_t size = 4 + name + extra;
        if (size > room_ || (count_ > 0 && name > names_room_)) {
            full_ = true;
            return false;
        }
        room_ -= size;
        names_room_ -= std::min(names_room_, name);
        ++count_;
        write(entry, described);
        return true;
    }

    bool full() const { return full_; }
    std::size_t count() const { return count_; }

private:
    void write(const DirectoryEntry& entry, bool described) {
        out_.put(std::uint32_t{1});
        out_.put(entry.id.value());
        out_.put_opaque(entry.name);
        out_.put(entry.cookie);
        if (!plus_) return;
        if (!described) {
            out_.put(std::uint32_t{0});
            out_.put(std::uint32_t{0});
            return;
        }
        const Attributes seen = adapter_.as_seen(request_, *entry.attributes);
        out_.put_attributes(to_fattr3(seen, adapter_.file_system));
        out_.put(std::uint32_t{1});
        out_.put_opaque(adapter_.handle_of(entry.id));
    }

    Adapter& adapter_;
    const Request& request_;
    bool plus_;
    std::size_t room_;
    std::size_t names_room_;
    std::size_t count_ = 0;
    bool full_ = false;
    XdrWriter out_;
};

Reply refuse(const Request& request, nfsstat3 status, const post_op_attr& directory) {
    // Both results fail in the same form.
    READDIR3res result{};
    result.status = status;
    result.READDIR3res_u.resfail.dir_attributes = directory;
    return reply_with(request.xid, status, result);
}

Reply list(Adapter& adapter, const Request& request, const Wanted& wanted) {
    const auto id = adapter.id_of(wanted.directory);
    if (!id) return refuse(request, to_nfsstat3(id.error().code), {});
    // Before the listing: what the client keeps as the directory's state must not be newer.
    const auto attributes = adapter.attributes(request, *id);
    if (!attributes) return refuse(request, to_nfsstat3(attributes.error().code), {});

    Reply reply{accepted_reply(request.xid), {}, NFS3_OK};
    reply.head.reserve(reply.head.size() + std::min(wanted.bytes_max, kReservedBytes));
    XdrWriter out(reply.head);
    out.put(std::uint32_t{NFS3_OK});
    out.put_attributes(to_fattr3(*attributes, adapter.file_system));
    out.put(std::uint64_t{0});
    EntryWriter entries(adapter, request, wanted, reply.head);
    const Status listed =
        adapter.files.readdir(request.caller(), *id, wanted.cookie, wanted.listing,
                              [&](const DirectoryEntry& entry) { return entries.add(entry); });
    const post_op_attr about = to_post_op(*attributes, adapter.file_system);
    if (!listed) return refuse(request, to_nfsstat3(listed.error().code), about);
    const bool none_fits = entries.full() && entries.count() == 0;
    if (none_fits || wanted.bytes_max < kAroundEntries) {
        return refuse(request, NFS3ERR_TOOSMALL, about);
    }
    out.put(std::uint32_t{0});
    out.put(std::uint32_t{entries.full() ? 0U : 1U});
    return reply;
}

}  // namespace

Answer nfs3_readdir(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<READDIR3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const std::size_t bytes = std::min((*arguments)->count, kTransferBytesMax);
    return list(*adapter, request,
                {(*arguments)->dir, (*arguments)->cookie, Listing::NamesOnly, bytes, bytes});
}

Answer nfs3_readdirplus(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<READDIRPLUS3args>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const std::size_t bytes = std::min((*arguments)->maxcount, kTransferBytesMax);
    return list(*adapter, request,
                {(*arguments)->dir, (*arguments)->cookie, Listing::WithAttributes, bytes,
                 (*arguments)->dircount});
}

}  // namespace cfsgate::gateway::nfs
