// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/rpc.h"

#include <gtest/gtest.h>

#include "tests/unit/gateway/nfs/xdr_words.h"

namespace cfsgate::gateway::nfs {
namespace {

using test::opaque;
using test::words;

constexpr std::uint32_t kXid = 0xa1b2c3d4;

struct Header {
    std::uint32_t type = 0;
    std::uint32_t rpc = 2;
    std::uint32_t flavor = 1;
    std::string credential = "cred";
    std::uint32_t verifier_flavor = 0;
    std::string verifier;
    std::string arguments;

    std::string bytes() const {
        return words({kXid, type, rpc, 100003, 3, 7, flavor}) + opaque(credential) +
               words({verifier_flavor}) + opaque(verifier) + arguments;
    }
};

RpcCall call_of(const std::string& record) {
    auto parsed = parse_call(record);
    if (const auto* refusal = std::get_if<RpcRefusal>(&parsed)) {
        ADD_FAILURE() << refusal->reason;
        return {};
    }
    return std::get<RpcCall>(parsed);
}

RpcRefusal refusal_of(const std::string& record) {
    auto parsed = parse_call(record);
    if (const auto* refusal = std::get_if<RpcRefusal>(&parsed)) return *refusal;
    ADD_FAILURE() << "not refused";
    return {};
}

std::string auth_error(std::uint32_t why) { return words({kXid, 1, 1, 1, why}); }

TEST(RpcTest, ACall) {
    Header header;
    header.arguments = "what follows";
    const std::string record = header.bytes();
    const RpcCall call = call_of(record);
    EXPECT_EQ(call.xid, kXid);
    EXPECT_EQ(call.program, 100003U);
    EXPECT_EQ(call.version, 3U);
    EXPECT_EQ(call.procedure, 7U);
    EXPECT_EQ(call.credential, "cred");
    EXPECT_EQ(call.arguments, "what follows");
    EXPECT_EQ(call.arguments.data(), record.data() + record.size() - 12);

    header.flavor = 0;
    header.credential.clear();
    EXPECT_EQ(call_of(header.bytes()).credential, "");
    header.arguments.clear();
    EXPECT_EQ(call_of(header.bytes()).arguments, "");
}

TEST(RpcTest, WhatIsNoCallHasNoAnswer) {
    EXPECT_EQ(refusal_of("").reply, "");
    EXPECT_EQ(refusal_of("GET / HTTP/1.1\r\n\r\n").reply, "");
    for (const std::uint32_t type : {1U, 2U, 0xffffffffU}) {
        Header header;
        header.type = type;
        EXPECT_EQ(refusal_of(header.bytes()).reply, "") << type;
    }
    // A reply in another version is no call either.
    EXPECT_EQ(refusal_of(words({kXid, 1, 3})).reply, "");
}

TEST(RpcTest, EveryPrefixOfAHeaderIsNoCall) {
    const std::string record = Header().bytes();
    for (std::size_t size = 0; size < record.size(); ++size) {
        EXPECT_EQ(refusal_of(record.substr(0, size)).reply, "") << size;
    }
    call_of(record);
}

TEST(RpcTest, AnotherVersionOfRpcIsToldOurs) {
    for (const std::uint32_t version : {0U, 1U, 3U, 0xffffffffU}) {
        Header header;
        header.rpc = version;
        EXPECT_EQ(refusal_of(header.bytes()).reply, words({kXid, 1, 1, 0, 2, 2})) << version;
    }
    // What follows may be in another form.
    EXPECT_EQ(refusal_of(words({kXid, 0, 3})).reply, words({kXid, 1, 1, 0, 2, 2}));
}

TEST(RpcTest, Credentials) {
    Header header;
    header.flavor = 0;  // AUTH_NONE, with a body
    EXPECT_EQ(refusal_of(header.bytes()).reply, auth_error(1));
    header.flavor = 1;  // AUTH_SYS without
    header.credential.clear();
    EXPECT_EQ(refusal_of(header.bytes()).reply, auth_error(1));
    for (const std::uint32_t flavor : {2U, 3U, 6U, 390003U, 0xffffffffU}) {
        header.flavor = flavor;
        EXPECT_EQ(refusal_of(header.bytes()).reply, auth_error(2)) << flavor;
    }
    header.flavor = 1;
    header.credential = std::string(400, 'c');
    EXPECT_EQ(call_of(header.bytes()).credential, header.credential);
    header.credential += 'c';
    EXPECT_EQ(refusal_of(header.bytes()).reply, "");
}

TEST(RpcTest, TheVerifierOfACallIsEmpty) {
    Header header;
    header.verifier = "body";
    EXPECT_EQ(refusal_of(header.bytes()).reply, auth_error(3));
    header.verifier.clear();
    header.verifier_flavor = 1;
    EXPECT_EQ(refusal_of(header.bytes()).reply, auth_error(3));
}

// --- AUTH_SYS ---

std::string auth_sys(const std::string& machine, const std::vector<std::uint32_t>& gids) {
    std::string out = words({77}) + opaque(machine) + words({1000, 100}) +
                      words({static_cast<std::uint32_t>(gids.size())});
    for (const std::uint32_t gid : gids) out += words({gid});
    return out;
}

TEST(RpcTest, WhatAuthSysClaims) {
    const AuthSys claim = parse_auth_sys(auth_sys("host", {1, 2, 0xffffffff})).value();
    EXPECT_EQ(claim.machine, "host");
    EXPECT_EQ(claim.uid, 1000U);
    EXPECT_EQ(claim.gid, 100U);
    EXPECT_EQ(claim.gids, (std::vector<gid_t>{1, 2, 0xffffffff}));
    EXPECT_EQ(parse_auth_sys(auth_sys("", {})).value().gids.size(), 0U);
}

TEST(RpcTest, AuthSysHasItsLimits) {
    EXPECT_TRUE(parse_auth_sys(auth_sys(std::string(255, 'm'), {})));
    EXPECT_FALSE(parse_auth_sys(auth_sys(std::string(256, 'm'), {})));
    EXPECT_TRUE(parse_auth_sys(auth_sys("m", std::vector<std::uint32_t>(16, 5))));
    EXPECT_FALSE(parse_auth_sys(auth_sys("m", std::vector<std::uint32_t>(17, 5))));
    EXPECT_FALSE(parse_auth_sys(words({0, 0xffffffff, 0, 0, 0})));
    EXPECT_FALSE(parse_auth_sys(words({0, 0, 0, 0, 0xffffffff})));
}

TEST(RpcTest, EveryPrefixAndEveryLongerAuthSysIsRefused) {
    const std::string whole = auth_sys("host", {1, 2, 3});
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto claim = parse_auth_sys(whole.substr(0, size));
        ASSERT_FALSE(claim) << size;
        EXPECT_EQ(claim.error().code, Errno::BadMessage);
    }
    EXPECT_FALSE(parse_auth_sys(whole + '\0'));
    EXPECT_FALSE(parse_auth_sys(whole + words({0})));
}

// --- Replies (RFC 5531, 9) ---

TEST(RpcTest, RepliesByteForByte) {
    // xid, REPLY, MSG_ACCEPTED, verifier AUTH_NONE of no bytes, SUCCESS
    EXPECT_EQ(nfs::accepted_reply(kXid), words({kXid, 1, 0, 0, 0, 0}));
    EXPECT_EQ(error_reply(kXid, RPC2_PROG_UNAVAIL), words({kXid, 1, 0, 0, 0, 1}));
    EXPECT_EQ(error_reply(kXid, RPC2_PROG_MISMATCH, {3, 4}), words({kXid, 1, 0, 0, 0, 2, 3, 4}));
    EXPECT_EQ(error_reply(kXid, RPC2_PROC_UNAVAIL), words({kXid, 1, 0, 0, 0, 3}));
    EXPECT_EQ(error_reply(kXid, RPC2_GARBAGE_ARGS), words({kXid, 1, 0, 0, 0, 4}));
    EXPECT_EQ(error_reply(kXid, RPC2_SYSTEM_ERR), words({kXid, 1, 0, 0, 0, 5}));
    EXPECT_EQ(auth_error_reply(kXid, RPC2_AUTH_TOOWEAK), auth_error(5));
    EXPECT_EQ(auth_error_reply(kXid, RPC2_AUTH_BADCRED), auth_error(1));
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
