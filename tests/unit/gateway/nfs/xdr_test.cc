// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/xdr.h"

#include <cstdio>
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/unit/gateway/nfs/libnfs_codec.h"

namespace cfsgate::gateway::nfs {
namespace {

using test::WriteCall;

const std::string kHandle = "0123456789abcdefghijk";  // no multiple of four

std::string words(std::initializer_list<std::uint32_t> values) {
    std::string out;
    for (const std::uint32_t value : values) {
        for (int shift = 24; shift >= 0; shift -= 8)
            out.push_back(static_cast<char>(value >> shift));
    }
    return out;
}

template <class T>
bool decodes(std::string_view bytes) {
    return Decoded<T>::whole(bytes).has_value();
}

nfs_fh3 to_handle(const std::string& bytes) {
    return {{static_cast<u_int>(bytes.size()), const_cast<char*>(bytes.data())}};
}

WriteCall to_call(const WRITE3args& args) {
    return {{args.file.data.data_val, args.file.data.data_len},
            args.offset,
            args.count,
            args.stable,
            {args.data.data_val, args.data.data_len}};
}

/// Of this process's address space, over its whole life.
std::size_t peak_kilobytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmPeak:")) return std::stoul(line.substr(7));
    }
    ADD_FAILURE() << "no VmPeak";
    return 0;
}

TEST(XdrTest, AWriteIsWhatLibnfsSaysItIs) {
    const WriteCall call{kHandle, 0x123456789abcdef0, 5, 1, std::string("a\0b\xff\n", 5)};
    const std::string bytes = test::libnfs_encode(call);
    const auto decoded = Decoded<WRITE3args>::whole(bytes).value();
    EXPECT_EQ(to_call(*decoded), call);
    EXPECT_EQ(encode_xdr(*decoded).value(), bytes);
    EXPECT_EQ(test::libnfs_decode_write(bytes), call);
}

TEST(XdrTest, AWayOfWritingThatNoStandardKnowsIsForTheProcedure) {
    std::string bytes = test::libnfs_encode({kHandle, 1, 5, 2, "hello"});
    const std::size_t stable = 4 + 24 + 8 + 4;  // behind handle, offset and count
    ASSERT_EQ(bytes.substr(stable, 4), words({2}));
    bytes.replace(stable, 4, words({0xfffffffd}));
    EXPECT_EQ(Decoded<WRITE3args>::whole(bytes).value()->stable, 0xfffffffdU);
}

TEST(XdrTest, AListingIsWhatLibnfsSaysItIs) {
    const std::string handle = kHandle;
    entryplus3 second{};
    second.fileid = 8;
    second.name = const_cast<char*>("b");
    second.cookie = UINT64_MAX;
    entryplus3 first{};
    first.fileid = 7;
    first.name = const_cast<char*>("first");
    first.cookie = 70;
    first.name_attributes.attributes_follow = TRUE;
    fattr3& attributes = first.name_attributes.post_op_attr_u.attributes;
    attributes.type = NF3REG;
    attributes.size = 1ULL << 40;
    attributes.ctime = {1, 2};
    first.name_handle.handle_follows = TRUE;
    first.name_handle.post_op_fh3_u.handle = to_handle(handle);
    first.nextentry = &second;
    READDIRPLUS3res result{};
    result.status = NFS3_OK;
    result.READDIRPLUS3res_u.resok.reply = {&first, TRUE};

    const auto listed = test::libnfs_decode_listing(encode_xdr(result).value());
    ASSERT_TRUE(listed);
    EXPECT_EQ(*listed, (std::vector<test::ListedEntry>{{"first", 7, 70, 1ULL << 40, 2, handle},
                                                       {"b", 8, UINT64_MAX, 0, 0, ""}}));
}

TEST(XdrTest, AnExclusiveCreateIsWhatLibnfsSaysItIs) {
    const std::string bytes = test::libnfs_encode_exclusive_create(kHandle, "name", "verifier");
    const auto decoded = Decoded<CREATE3args>::whole(bytes).value();
    EXPECT_STREQ(decoded->where.name, "name");
    EXPECT_EQ(decoded->how.mode, EXCLUSIVE);
    EXPECT_EQ(std::memcmp(decoded->how.createhow3_u.verf, "verifier", 8), 0);
}

TEST(XdrTest, EveryPrefixAndEveryLongerMessageIsRefused) {
    const std::string bytes = test::libnfs_encode({kHandle, 1, 5, 2, "hello"});
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const std::string prefix = bytes.substr(0, size);  // a copy: reading past it shows
        EXPECT_FALSE(decodes<WRITE3args>(prefix)) << size;
    }
    EXPECT_FALSE(decodes<WRITE3args>(bytes + '\0'));
    EXPECT_FALSE(decodes<WRITE3args>(bytes + words({0})));
}

TEST(XdrTest, FrontTakesOneValueAndLeavesTheRest) {
    const std::string bytes = words({7, 0, 2, 1, 2});
    std::string_view rest = bytes;
    EXPECT_EQ(Decoded<rpc2_start>::front(rest).value()->xid, 7U);
    EXPECT_EQ(rest, words({1, 2}));
    EXPECT_FALSE(Decoded<rpc2_start>::front(rest));
    EXPECT_EQ(rest, words({1, 2}));
}

TEST(XdrTest, BytesAtAnyAddressDecode) {
    const std::string bytes = test::libnfs_encode({kHandle, 1, 5, 2, "hello"});
    for (std::size_t shift = 0; shift < 8; ++shift) {
        const std::string moved = std::string(shift, 'x') + bytes;
        EXPECT_TRUE(decodes<WRITE3args>(std::string_view(moved).substr(shift))) << shift;
    }
}

TEST(XdrTest, ALengthAllocatesNoMoreThanTheBytesThatFollow) {
    const std::size_t before = peak_kilobytes();
    const std::string handle = words({4, 0});
    for (const std::uint32_t length : {0xffffffffU, 0xfffffffeU, 0xfffffffcU, 0xfffffff0U,
                                       0x80000000U, 0x40000000U, 0x10000000U, 21U}) {
        const std::string rest = words({length, 1, 2, 3, 4, 5});
        EXPECT_FALSE(decodes<LOOKUP3args>(handle + rest)) << length;
        EXPECT_FALSE(decodes<WRITE3args>(handle + words({0, 0, 5, 2}) + rest)) << length;
        EXPECT_FALSE(decodes<mountres3>(words({MNT3_OK, 0}) + rest)) << length;
        EXPECT_FALSE(decodes<rpc2_auth>(words({1}) + rest)) << length;
        EXPECT_FALSE(decodes<rpc2_authsys>(words({1, 0, 0, 0}) + rest)) << length;
        EXPECT_FALSE(decodes<nfs_fh3>(rest)) << length;
    }
    EXPECT_LT(peak_kilobytes(), before + (100UL << 10));
}

TEST(XdrTest, LimitsOfTheStandardHold) {
    const auto bytes_of = [](std::uint32_t size) {
        return words({size}) + std::string((size + 3U) / 4U * 4U, 'x');
    };
    EXPECT_TRUE(decodes<nfs_fh3>(bytes_of(NFS3_FHSIZE)));
    EXPECT_FALSE(decodes<nfs_fh3>(bytes_of(NFS3_FHSIZE + 1)));
    EXPECT_TRUE(decodes<rpc2_auth>(words({1}) + bytes_of(RPC2_AUTH_BYTES)));
    EXPECT_FALSE(decodes<rpc2_auth>(words({1}) + bytes_of(RPC2_AUTH_BYTES + 1)));
    EXPECT_TRUE(decodes<MountPath>(bytes_of(MNTPATHLEN)));
    EXPECT_FALSE(decodes<MountPath>(bytes_of(MNTPATHLEN + 1)));
    EXPECT_TRUE(decodes<LOOKUP3args>(bytes_of(8) + bytes_of(100000))) << "answered: too long";
    const auto groups = [](std::uint32_t count) {
        return words({0, 0, 1, 1, count}) + std::string(4UL * count, '\0');
    };
    EXPECT_TRUE(decodes<rpc2_authsys>(groups(RPC2_GROUPS)));
    EXPECT_FALSE(decodes<rpc2_authsys>(groups(RPC2_GROUPS + 1)));
}

TEST(XdrTest, ANameWithANulIsRefused) {
    const std::string handle = words({4, 0});
    EXPECT_TRUE(decodes<LOOKUP3args>(handle + words({4}) + "name"));
    EXPECT_FALSE(decodes<LOOKUP3args>(handle + words({4}) + std::string("n\0me", 4)));
    EXPECT_FALSE(decodes<LOOKUP3args>(handle + words({4}) + std::string("nam\0", 4)));
    EXPECT_TRUE(decodes<LOOKUP3args>(handle + words({0}))) << "an empty one is for the procedure";
}

TEST(XdrTest, UnknownCasesOfAUnionAreRefused) {
    const auto set_attributes = [](std::uint32_t how) {
        return words({4, 0, 0, 0, 0, 0, how, 0}) + words({0});
    };
    EXPECT_TRUE(decodes<SETATTR3args>(set_attributes(DONT_CHANGE)));
    EXPECT_TRUE(decodes<SETATTR3args>(set_attributes(SET_TO_SERVER_TIME)));
    EXPECT_FALSE(decodes<SETATTR3args>(set_attributes(3)));
    EXPECT_FALSE(decodes<SETATTR3args>(set_attributes(0xffffffff)));
}

TEST(XdrTest, WhatCannotBeEncodedLeavesTheBufferAlone) {
    const std::string handle(NFS3_FHSIZE + 1, 'x');
    std::string out = "kept";
    const Status status = append_xdr(to_handle(handle), out);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Errno::Invalid);
    EXPECT_EQ(out, "kept");
    EXPECT_TRUE(append_xdr(to_handle(kHandle), out));
    EXPECT_EQ(out, "kept" + words({21}) + kHandle + std::string(3, '\0'));
}

TEST(XdrTest, RepliesOfEveryKind) {
    rpc2_reply reply{};
    reply.xid = 9;
    reply.mtype = RPC2_REPLY;
    reply.body.stat = RPC2_MSG_ACCEPTED;
    reply.body.rpc2_reply_body_u.accepted.data.stat = RPC2_PROG_MISMATCH;
    reply.body.rpc2_reply_body_u.accepted.data.rpc2_accepted_data_u.versions = {3, 3};
    EXPECT_EQ(encode_xdr(reply).value(), words({9, 1, 0, 0, 0, 2, 3, 3}));
    reply.body.stat = RPC2_MSG_DENIED;
    reply.body.rpc2_reply_body_u.rejected.stat = RPC2_AUTH_ERROR;
    reply.body.rpc2_reply_body_u.rejected.rpc2_rejected_u.auth_stat = RPC2_AUTH_TOOWEAK;
    EXPECT_EQ(encode_xdr(reply).value(), words({9, 1, 1, 1, 5}));
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
