// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/rpc.h"

#include "gateway/nfs/xdr_writer.h"
#include "store/base/check.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::size_t kUsualReplyBytes = 256;

std::string encode_reply(const rpc2_reply& reply) {
    auto bytes = encode_xdr(reply);
    CFSGATE_CHECK(bytes.has_value());  // it holds nothing of variable length
    return std::move(*bytes);
}

rpc2_reply reply_to(std::uint32_t xid, rpc2_reply_stat stat) {
    rpc2_reply reply{};
    reply.xid = xid;
    reply.mtype = RPC2_REPLY;
    reply.body.stat = stat;
    return reply;
}

std::string rpc_mismatch_reply(std::uint32_t xid) {
    rpc2_reply reply = reply_to(xid, RPC2_MSG_DENIED);
    reply.body.rpc2_reply_body_u.rejected.stat = RPC2_RPC_MISMATCH;
    reply.body.rpc2_reply_body_u.rejected.rpc2_rejected_u.versions = {RPC2_VERSION, RPC2_VERSION};
    return encode_reply(reply);
}

}  // namespace

std::variant<RpcCall, RpcRefusal> parse_call(std::string_view record) {
    const auto start = Decoded<rpc2_start>::front(record);
    if (!start) return RpcRefusal{"a record without an RPC header", {}};
    if ((*start)->mtype != RPC2_CALL) return RpcRefusal{"an RPC message that is no call", {}};
    const std::uint32_t xid = (*start)->xid;
    if ((*start)->rpcvers != RPC2_VERSION) {
        return RpcRefusal{"another RPC version", rpc_mismatch_reply(xid)};
    }
    const auto header = Decoded<rpc2_call>::front(record);
    if (!header) return RpcRefusal{"a malformed RPC header", {}};
    const rpc2_call& call = **header;
    const auto refuse = [xid](const char* reason, rpc2_auth_stat why) {
        return RpcRefusal{reason, auth_error_reply(xid, why)};
    };
    RpcCall out{xid, call.prog, call.vers, call.proc, {}, record};
    switch (call.cred.flavor) {
        case RPC2_AUTH_NONE:
            if (call.cred.body.body_len != 0) {
                return refuse("AUTH_NONE with a body", RPC2_AUTH_BADCRED);
            }
            break;
        case RPC2_AUTH_SYS:
            out.credential.assign(call.cred.body.body_val, call.cred.body.body_len);
            if (out.credential.empty()) return refuse("an empty AUTH_SYS", RPC2_AUTH_BADCRED);
            break;
        default: return refuse("an unknown kind of credential", RPC2_AUTH_REJECTEDCRED);
    }
    // RFC 5531, 8.2 and appendix A: the verifier of a call is AUTH_NONE, and that is empty.
    if (call.verf.flavor != RPC2_AUTH_NONE || call.verf.body.body_len != 0) {
        return refuse("a verifier that is not AUTH_NONE", RPC2_AUTH_BADVERF);
    }
    return out;
}

Result<AuthSys> parse_auth_sys(std::string_view body) {
    const auto decoded = CFSGATE_TRY(Decoded<rpc2_authsys>::whole(body));
    AuthSys out;
    out.machine = decoded->machinename;
    out.uid = decoded->uid;
    out.gid = decoded->gid;
    out.gids.assign(decoded->gids.gids_val, decoded->gids.gids_val + decoded->gids.gids_len);
    return out;
}

std::string accepted_reply(std::uint32_t xid) {
    // The same for every call but for its first word.
    static const std::string kTemplate = [] {
        rpc2_reply reply = reply_to(0, RPC2_MSG_ACCEPTED);
        reply.body.rpc2_reply_body_u.accepted.data.stat = RPC2_SUCCESS;
        return encode_reply(reply);
    }();
    std::string reply;
    reply.reserve(kUsualReplyBytes);
    XdrWriter(reply).put(xid);
    reply.append(kTemplate, sizeof(xid));
    return reply;
}

std::string error_reply(std::uint32_t xid, rpc2_accept_stat why, rpc2_versions versions) {
    rpc2_reply reply = reply_to(xid, RPC2_MSG_ACCEPTED);
    reply.body.rpc2_reply_body_u.accepted.data.stat = why;
    reply.body.rpc2_reply_body_u.accepted.data.rpc2_accepted_data_u.versions = versions;
    return encode_reply(reply);
}

std::string auth_error_reply(std::uint32_t xid, rpc2_auth_stat why) {
    rpc2_reply reply = reply_to(xid, RPC2_MSG_DENIED);
    reply.body.rpc2_reply_body_u.rejected.stat = RPC2_AUTH_ERROR;
    reply.body.rpc2_reply_body_u.rejected.rpc2_rejected_u.auth_stat =
        static_cast<unsigned int>(why);
    return encode_reply(reply);
}

}  // namespace cfsgate::gateway::nfs
