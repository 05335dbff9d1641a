// SPDX-License-Identifier: Apache-2.0
// The status monitor, version 1 (X/Open XNFS). It monitors for our lock manager alone, so what
// remains for others to say is that they have restarted.
#include <array>

#include "gateway/nfs/connection.h"
#include "gateway/nfs/lock_manager.h"

namespace cfsgate::gateway::nfs {
namespace {

template <class Arguments>
bool decodes(const Request& request) {
    return Decoded<Arguments>::whole(request.arguments).has_value();
}

Reply done(const Request& request) { return {accepted_reply(request.xid), {}, NFS3_OK}; }

/// "Would you monitor this host?" and "Do": no.
template <class Arguments>
Answer sm_refuse(const AdapterPtr& adapter, const Request& request) {
    if (!decodes<Arguments>(request)) return BadArguments{};
    const sm_stat_res result{STAT_FAIL, adapter->locks->state()};
    return reply_with(request.xid, NFS3_OK, result);
}

template <class Arguments>
Answer sm_say_state(const AdapterPtr& adapter, const Request& request) {
    if (!decodes<Arguments>(request)) return BadArguments{};
    const sm_stat result{adapter->locks->state()};
    return reply_with(request.xid, NFS3_OK, result);
}

/// NULL; and SIMU_CRASH, which is for this host's own lock manager, and that knows when it starts.
Answer sm_nothing(const AdapterPtr&, const Request& request) {
    if (!request.arguments.empty()) return BadArguments{};
    return done(request);
}

Answer sm_notify(const AdapterPtr& adapter, const Request& request) {
    const auto arguments = Decoded<stat_chge>::whole(request.arguments);
    if (!arguments) return BadArguments{};
    adapter->locks->restarted(request.from->lock_client((*arguments)->mon_name),
                              (*arguments)->state);
    return done(request);
}

constexpr std::array<Answer (*)(const AdapterPtr&, const Request&), 7> kProcedures{
    sm_nothing,
    sm_refuse<sm_name>,
    sm_refuse<sm_mon>,
    sm_say_state<sm_mon_id>,
    sm_say_state<sm_my_id>,
    sm_nothing,
    sm_notify,
};

}  // namespace

Answer call_nsm(const AdapterPtr& adapter, const Request& request) {
    if (request.procedure >= kProcedures.size()) return UnknownProcedure{};
    return kProcedures[request.procedure](adapter, request);
}

std::string answer_nsm_datagram(const AdapterPtr& adapter, const SocketAddress& from,
                                std::string_view bytes) {
    const auto parsed = parse_call(bytes);
    const auto* call = std::get_if<RpcCall>(&parsed);
    if (call == nullptr) return std::get<RpcRefusal>(parsed).reply;
    if (call->program != SM_PROGRAM) return error_reply(call->xid, RPC2_PROG_UNAVAIL);
    if (call->version != SM_V1) return error_reply(call->xid, RPC2_PROG_MISMATCH, {SM_V1, SM_V1});
    if (call->procedure == SM_NULL) return accepted_reply(call->xid);
    if (call->procedure != SM_NOTIFY) return error_reply(call->xid, RPC2_PROC_UNAVAIL);
    const auto change = Decoded<stat_chge>::whole(call->arguments);
    if (!change) return error_reply(call->xid, RPC2_GARBAGE_ARGS);
    const LockClient client{(*change)->mon_name, from.ip, {}, from.reserved_port() ? "-" : "high"};
    adapter->locks->restarted(client, (*change)->state);
    return accepted_reply(call->xid);
}

}  // namespace cfsgate::gateway::nfs
