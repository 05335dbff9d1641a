// SPDX-License-Identifier: Apache-2.0
// RPC messages, version 2 (RFC 5531): what a record asks, and the replies around a procedure's
// results.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gateway/nfs/xdr.h"

namespace cfsgate::gateway::nfs {

/// A call whose header is well-formed.
struct RpcCall {
    std::uint32_t xid = 0;
    std::uint32_t program = 0;
    std::uint32_t version = 0;
    std::uint32_t procedure = 0;
    std::string credential;      ///< the body of AUTH_SYS, as sent; empty for AUTH_NONE
    std::string_view arguments;  ///< borrowed from the record
};

/// A record that is no call that we could serve.
struct RpcRefusal {
    const char* reason = "";
    std::string reply;  ///< empty: there is nothing to answer; close the connection
};

std::variant<RpcCall, RpcRefusal> parse_call(std::string_view record);

/// What AUTH_SYS claims. Errors: BadMessage.
struct AuthSys {
    std::string machine;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::vector<gid_t> gids;
};
Result<AuthSys> parse_auth_sys(std::string_view body);

/// The header of a successful reply; the results follow it.
std::string accepted_reply(std::uint32_t xid);
/// `versions` for RPC2_PROG_MISMATCH.
std::string error_reply(std::uint32_t xid, rpc2_accept_stat why, rpc2_versions versions = {});
std::string auth_error_reply(std::uint32_t xid, rpc2_auth_stat why);

}  // namespace cfsgate::gateway::nfs
