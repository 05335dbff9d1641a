// SPDX-License-Identifier: Apache-2.0
// The network lock manager, version 4 (RFC 1813, appendix II). Each procedure also comes as a
// message: its answer is then a call of ours (_MSG and _RES).
//
// Who may read a file may lock it, for reading and for writing, as with a descriptor for reading on
// the mount and in Linux' server. Unlocking needs no right: it only concerns what the client holds.
#include <unistd.h>

#include <array>

#include "gateway/nfs/connection.h"
#include "gateway/nfs/lock_manager.h"
#include "store/base/bytes.h"

namespace cfsgate::gateway::nfs {
namespace {

/// How the answer goes back.
struct Return {
    std::uint32_t xid = 0;
    std::uint32_t result_procedure = 0;  ///< a call of ours; 0: in the reply
    LockClient client;
};

std::string_view view_of(const netobj& object) { return {object.n_bytes, object.n_len}; }

template <class T>
Reply answer(const AdapterPtr& adapter, const Return& back, const T& result) {
    if (back.result_procedure == 0) return reply_with(back.xid, NFS3_OK, result);
    if (auto bytes = encode_xdr(result)) {
        adapter->locks->send(back.client, back.result_procedure, std::move(*bytes));
    }
    return {accepted_reply(back.xid), {}, NFS3_OK};
}

Reply answer_stat(const AdapterPtr& adapter, const Return& back, std::string cookie,
                  nlm4_stats stat) {
    nlm4_res result{};
    result.cookie = {static_cast<u_int>(cookie.size()), cookie.data()};
    result.stat.stat = stat;
    return answer(adapter, back, result);
}

/// Errors: BadMessage and StaleHandle for the handle; Invalid for the client's name.
Result<LockWords> to_words(const Adapter& adapter, const Request& request, const nlm4_lock& lock,
                           bool exclusive) {
    LockWords words;
    if (!is_plain_name(lock.caller_name)) return fail(Errno::Invalid, "a name of another kind");
    words.client = request.from->lock_client(lock.caller_name);
    words.handle = view_of(lock.fh);
    nfs_fh3 handle{};
    handle.data.data_len = lock.fh.n_len;
    handle.data.data_val = lock.fh.n_bytes;
    words.file = CFSGATE_TRY(adapter.id_of(handle));
    words.owner = view_of(lock.oh);
    words.svid = lock.svid;
    words.exclusive = exclusive;
    words.offset = lock.l_offset;
    words.length = lock.l_len;
    return words;
}

/// Errors: StaleHandle, NoAccess; Invalid for what is no file.
Status may_lock(Adapter& adapter, const Request& request, FileId id) {
    const Attributes attributes = CFSGATE_TRY(adapter.files.attributes(request.caller(), id));
    if (attributes.kind != FileKind::File) return fail(Errno::Invalid, "no file");
    const int granted = CFSGATE_TRY(adapter.files.granted(request.caller(), id));
    if ((granted & R_OK) == 0) return fail(Errno::NoAccess);
    return {};
}

nlm4_stats to_stat(Errno code) {
    return code == Errno::StaleHandle || code == Errno::BadMessage ? NLM4_STALE_FH : NLM4_FAILED;
}

Return to_return(const Request& request, const nlm4_lock& lock, std::uint32_t result_procedure) {
    return {request.xid, result_procedure, request.from->lock_client(lock.caller_name)};
}

// --- Procedures; `result` is 0, or the procedure that a message is answered with ---

Answer nlm_null(const AdapterPtr&, const Request& request, std::uint32_t) {
    if (!request.arguments.empty()) return BadArguments{};
    return Reply{accepted_reply(request.xid), {}, NFS3_OK};
}

/// Of a lock of this host's programs, the process; of another host's, what that calls it.
void put_holder(const LockHolder& holder, std::string& bytes, nlm4_holder& out) {
    out.exclusive = holder.type == LockType::Exclusive ? TRUE : FALSE;
    out.svid = holder.pid;
    if (holder.owner.kind == LockOwner::Kind::Network && holder.owner.bytes.size() >= 4) {
        ByteReader in(std::string_view(holder.owner.bytes));
        out.svid = static_cast<int>(in.take<std::uint32_t>());
        bytes = in.take_rest();
    }
    out.oh = {static_cast<u_int>(bytes.size()), bytes.data()};
    out.l_offset = holder.range.first;
    const bool to_the_end = holder.range.last == LockRange::kToTheEnd;
    out.l_len = to_the_end ? 0 : holder.range.last - holder.range.first + 1;
}

Answer nlm_test(const AdapterPtr& adapter, const Request& request, std::uint32_t result) {
    const auto arguments = Decoded<nlm4_testargs>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const nlm4_testargs& asked = **arguments;
    const auto words = to_words(*adapter, request, asked.alock, asked.exclusive != FALSE);
    const Status allowed =
        words ? may_lock(*adapter, request, words->file) : Status(tl::unexpected(words.error()));
    nlm4_testres out{};
    std::string holder_bytes;
    out.cookie = asked.cookie;
    if (!allowed) {
        out.stat.stat = to_stat(allowed.error().code);
    } else if (adapter->locks->in_grace()) {
        out.stat.stat = NLM4_DENIED_GRACE_PERIOD;
    } else if (const auto holder = adapter->locks->test(*words)) {
        out.stat.stat = NLM4_DENIED;
        put_holder(*holder, holder_bytes, out.stat.nlm4_testrply_u.holder);
    }
    return answer(adapter, to_return(request, asked.alock, result), out);
}

Answer lock_as(const AdapterPtr& adapter, const Request& request, std::uint32_t result,
               Monitored monitored) {
    const auto arguments = Decoded<nlm4_lockargs>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const nlm4_lockargs& asked = **arguments;
    const Return back = to_return(request, asked.alock, result);
    const std::string cookie(view_of(asked.cookie));
    const auto words = to_words(*adapter, request, asked.alock, asked.exclusive != FALSE);
    if (!words) return answer_stat(adapter, back, cookie, to_stat(words.error().code));
    if (const Status allowed = may_lock(*adapter, request, words->file); !allowed) {
        return answer_stat(adapter, back, cookie, to_stat(allowed.error().code));
    }
    const LockMode mode{asked.block != FALSE, asked.reclaim != FALSE, monitored, asked.state};
    const bool unknown = monitored == Monitored::Yes && !adapter->locks->knows(words->client);
    if (!unknown || mode.reclaim || adapter->locks->in_grace()) {
        return answer_stat(adapter, back, cookie, adapter->locks->lock(*words, mode));
    }
    // Noting it goes to the disk. Repeats need no memory of the answer: see LockManager.
    Change change;
    change.remembered = false;
    change.run = [adapter, back, cookie, words = *words, mode](const RequestKey&,
                                                               const Answered& answered) {
        const Status noted = adapter->locks->remember(words.client);
        answered(answer_stat(adapter, back, cookie,
                             noted ? adapter->locks->lock(words, mode) : NLM4_DENIED_NOLOCKS));
    };
    return change;
}

Answer nlm_lock(const AdapterPtr& adapter, const Request& request, std::uint32_t result) {
    return lock_as(adapter, request, result, Monitored::Yes);
}

Answer nlm_nm_lock(const AdapterPtr& adapter, const Request& request, std::uint32_t result) {
    return lock_as(adapter, request, result, Monitored::No);
}

Answer nlm_cancel(const AdapterPtr& adapter, const Request& request, std::uint32_t result) {
    const auto arguments = Decoded<nlm4_cancargs>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const nlm4_cancargs& asked = **arguments;
    const auto words = to_words(*adapter, request, asked.alock, asked.exclusive != FALSE);
    return answer_stat(adapter, to_return(request, asked.alock, result),
                       std::string(view_of(asked.cookie)),
                       words ? adapter->locks->cancel(*words) : to_stat(words.error().code));
}

Answer nlm_unlock(const AdapterPtr& adapter, const Request& request, std::uint32_t result) {
    const auto arguments = Decoded<nlm4_unlockargs>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    const nlm4_unlockargs& asked = **arguments;
    const auto words = to_words(*adapter, request, asked.alock, false);
    return answer_stat(adapter, to_return(request, asked.alock, result),
                       std::string(view_of(asked.cookie)),
                       words ? adapter->locks->unlock(*words) : to_stat(words.error().code));
}

/// We wait for nobody's locks.
Answer nlm_granted(const AdapterPtr& adapter, const Request& request, std::uint32_t result) {
    const auto arguments = Decoded<nlm4_testargs>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    return answer_stat(adapter, to_return(request, (*arguments)->alock, result),
                       std::string(view_of((*arguments)->cookie)), NLM4_DENIED);
}

/// The answer to a message that we never send.
template <class T>
Answer nlm_ignored(const AdapterPtr&, const Request& request, std::uint32_t) {
    if (!Decoded<T>::whole(request.arguments)) return BadArguments{};
    return Reply{accepted_reply(request.xid), {}, NFS3_OK};
}

Answer nlm_granted_res(const AdapterPtr& adapter, const Request& request, std::uint32_t) {
    const auto arguments = Decoded<nlm4_res>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    adapter->locks->granted_result(view_of((*arguments)->cookie), (*arguments)->stat.stat);
    return Reply{accepted_reply(request.xid), {}, NFS3_OK};
}

/// Shares are what DOS programs lock with; nothing here keeps them.
Answer answer_share(const Request& request, nlm4_stats stat) {
    const auto arguments = Decoded<nlm4_shareargs>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    nlm4_shareres result{};
    result.cookie = (*arguments)->cookie;
    result.stat = stat;
    return reply_with(request.xid, NFS3_OK, result);
}

Answer nlm_share(const AdapterPtr&, const Request& request, std::uint32_t) {
    return answer_share(request, NLM4_FAILED);
}

Answer nlm_unshare(const AdapterPtr&, const Request& request, std::uint32_t) {
    return answer_share(request, NLM4_GRANTED);  // none is there
}

Answer nlm_free_all(const AdapterPtr& adapter, const Request& request, std::uint32_t) {
    const auto arguments = Decoded<nlm4_notify>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    adapter->locks->free_all(request.from->lock_client((*arguments)->name));
    return Reply{accepted_reply(request.xid), {}, NFS3_OK};
}

struct Procedure {
    Answer (*call)(const AdapterPtr&, const Request&, std::uint32_t) = nullptr;
    std::uint32_t result = 0;
};

constexpr std::array<Procedure, 24> kProcedures{{
    {nlm_null},
    {nlm_test},
    {nlm_lock},
    {nlm_cancel},
    {nlm_unlock},
    {nlm_granted},
    {nlm_test, NLMPROC4_TEST_RES},
    {nlm_lock, NLMPROC4_LOCK_RES},
    {nlm_cancel, NLMPROC4_CANCEL_RES},
    {nlm_unlock, NLMPROC4_UNLOCK_RES},
    {nlm_granted, NLMPROC4_GRANTED_RES},
    {nlm_ignored<nlm4_testres>},
    {nlm_ignored<nlm4_res>},
    {nlm_ignored<nlm4_res>},
    {nlm_ignored<nlm4_res>},
    {nlm_granted_res},
    {},
    {},
    {},
    {},
    {nlm_share},
    {nlm_unshare},
    {nlm_nm_lock},
    {nlm_free_all},
}};

}  // namespace

Answer call_nlm4(const AdapterPtr& adapter, const Request& request) {
    if (request.procedure >= kProcedures.size()) return UnknownProcedure{};
    const Procedure& procedure = kProcedures[request.procedure];
    if (procedure.call == nullptr) return UnknownProcedure{};
    return procedure.call(adapter, request, procedure.result);
}

}  // namespace cfsgate::gateway::nfs
