// SPDX-License-Identifier: Apache-2.0
// The procedures that read, over a socket.
#include "tests/unit/gateway/nfs/server_fixture.h"

namespace cfsgate::gateway::nfs {
namespace {

class ServerReadingTest : public ServerTest {
protected:
    /// What every procedure says that begins with a handle.
    void expect_handle_errors(std::uint32_t procedure, const std::string& behind = {}) {
        const std::string good = handle("d/f");
        const std::string gone = handle("d/e");
        ASSERT_EQ(test::result_of(*store, Delete{"d/e"}), 0);
        EXPECT_EQ(status_of(procedure, opaque(gone) + behind), NFS3ERR_STALE);
        EXPECT_EQ(status_of(procedure, opaque(encode_handle(files->id() + 1, kRootId)) + behind),
                  NFS3ERR_STALE);
        for (const std::string& bad :
             {std::string(), good.substr(1), good + '\0', std::string(24, '\0'),
              std::string(64, 'x'), encode_handle(files->id(), FileId(0))}) {
            EXPECT_EQ(status_of(procedure, opaque(bad) + behind), NFS3ERR_BADHANDLE);
        }
    }
};

TEST_F(ServerReadingTest, Null) {
    EXPECT_EQ(result_of(kNull, ""), "");
    who = test::nobody();
    EXPECT_EQ(result_of(kNull, ""), "");
    const Call call = make_call(kNull, words({0}));
    EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, 4}));
}

TEST_F(ServerReadingTest, Getattr) {
    const auto file = call<GETATTR3res>(kGetattr, opaque(handle("d/f")));
    const fattr3& got = file->GETATTR3res_u.resok.obj_attributes;
    EXPECT_EQ(got.type, NF3REG);
    EXPECT_EQ(got.mode, 0640U);
    EXPECT_EQ(got.size, 7U);
    EXPECT_EQ(got.gid, kGroup);
    EXPECT_EQ(got.fsid, files->id());
    EXPECT_EQ(got.fileid, take(files->resolve("d/f")).value());
    EXPECT_EQ(got.mtime.seconds, directory.now);
    EXPECT_EQ(got.mtime.nseconds, 0U);
    EXPECT_EQ(got.ctime.nseconds, test::inode_of(*store, "d/f").version.value());
    EXPECT_EQ(encoded(got), encoded(attributes("d/f")));

    const auto root = call<GETATTR3res>(kGetattr, opaque(handle("")));
    EXPECT_EQ(root->GETATTR3res_u.resok.obj_attributes.fileid, 1U);
    EXPECT_EQ(root->GETATTR3res_u.resok.obj_attributes.type, NF3DIR);
    const auto link = call<GETATTR3res>(kGetattr, opaque(handle("local")));
    EXPECT_EQ(link->GETATTR3res_u.resok.obj_attributes.type, NF3LNK);
    EXPECT_EQ(link->GETATTR3res_u.resok.obj_attributes.size, 11U);
    expect_handle_errors(kGetattr);
}

TEST_F(ServerReadingTest, ThePrivateIsForRootAlone) {
    const std::string secret = handle("priv/secret");
    EXPECT_EQ(status_of(kGetattr, opaque(secret)), NFS3_OK);
    for (const Credential& other : {user, www_data, member, test::nobody()}) {
        who = other;
        EXPECT_EQ(result_of(kGetattr, opaque(secret)), words({NFS3ERR_ACCES}));
        EXPECT_EQ(result_of(kAccess, opaque(secret) + words({0x3f})), words({NFS3ERR_ACCES, 0}));
        EXPECT_EQ(result_of(kRead, opaque(secret) + word64(0) + words({100})),
                  words({NFS3ERR_ACCES, 0}));
        EXPECT_EQ(status_of(kLookup, where(handle("priv"), "secret")), NFS3ERR_ACCES);
        EXPECT_EQ(status_of(kLookup, where(handle("priv"), "absent")), NFS3ERR_ACCES);
        EXPECT_EQ(
            status_of(kReaddir, opaque(handle("priv")) + word64(0) + word64(0) + words({999})),
            NFS3ERR_ACCES);
        EXPECT_EQ(status_of(kFsinfo, opaque(secret)), NFS3ERR_ACCES);
        EXPECT_EQ(status_of(kCommit, opaque(secret) + word64(0) + words({0})), NFS3ERR_ACCES);
        // The directory itself is seen, as in any listing of the root.
        EXPECT_EQ(status_of(kGetattr, opaque(handle("priv"))), NFS3_OK);
    }
}

TEST_F(ServerReadingTest, Lookup) {
    const auto found = call<LOOKUP3res>(kLookup, where(handle("d"), "f"));
    ASSERT_EQ(found->status, NFS3_OK);
    const LOOKUP3resok& ok = found->LOOKUP3res_u.resok;
    EXPECT_EQ(bytes_of(ok.object), handle("d/f"));
    EXPECT_EQ(encoded(ok.obj_attributes), encoded(attributes("d/f")));
    EXPECT_EQ(encoded(ok.dir_attributes), encoded(attributes("d")));

    const auto object = [&](const std::string& dir, const std::string& name) {
        const auto result = call<LOOKUP3res>(kLookup, where(handle(dir), name));
        return result->status == NFS3_OK ? bytes_of(result->LOOKUP3res_u.resok.object) : "";
    };
    EXPECT_EQ(object("d", "."), handle("d"));
    EXPECT_EQ(object("d", ".."), handle(""));
    EXPECT_EQ(object("d/e", ".."), handle("d"));
    EXPECT_EQ(object("", ".."), handle(""));
    EXPECT_EQ(object("", "local"), handle("local"));
    EXPECT_EQ(object("", ".version"), handle(".version"));

    const auto absent = call<LOOKUP3res>(kLookup, where(handle("d"), "absent"));
    EXPECT_EQ(absent->status, NFS3ERR_NOENT);
    EXPECT_EQ(encoded(absent->LOOKUP3res_u.resfail.dir_attributes), encoded(attributes("d")));
    EXPECT_EQ(status_of(kLookup, where(handle("d"), "")), NFS3ERR_NOENT);
    EXPECT_EQ(status_of(kLookup, where(handle("d"), "../d")), NFS3ERR_NOENT);
    EXPECT_EQ(status_of(kLookup, where(handle("d/f"), "x")), NFS3ERR_NOTDIR);
    EXPECT_EQ(status_of(kLookup, where(handle("d/f"), "..")), NFS3ERR_NOTDIR);
    EXPECT_EQ(status_of(kLookup, where(handle(".version"), "..")), NFS3ERR_NOTDIR);
    EXPECT_EQ(status_of(kLookup, where(handle("d"), std::string(5000, 'n'))), NFS3ERR_NAMETOOLONG);
    expect_handle_errors(kLookup, opaque("f"));
}

TEST_F(ServerReadingTest, AccessByCaller) {
    const auto access = [&](const std::string& path, std::uint32_t asked = 0xffffffff) {
        const auto result = call<ACCESS3res>(kAccess, opaque(handle(path)) + words({asked}));
        EXPECT_EQ(result->status, NFS3_OK);
        return result->ACCESS3res_u.resok.access;
    };
    constexpr std::uint32_t kWriteFile = ACCESS3_MODIFY | ACCESS3_EXTEND;
    constexpr std::uint32_t kBrowse = ACCESS3_READ | ACCESS3_LOOKUP;
    EXPECT_EQ(access("d/f"), ACCESS3_READ | kWriteFile);
    EXPECT_EQ(access("d/f", ACCESS3_READ | ACCESS3_EXECUTE), std::uint32_t{ACCESS3_READ});
    EXPECT_EQ(access("d/f", 0), 0U);
    EXPECT_EQ(access("d"), kBrowse | kWriteFile | ACCESS3_DELETE);
    EXPECT_EQ(access("priv"), kBrowse | kWriteFile | ACCESS3_DELETE);
    EXPECT_EQ(access(".version"), std::uint32_t{ACCESS3_READ});
    EXPECT_EQ(access(".debug"), ACCESS3_READ | kWriteFile);
    for (const Credential& one : {www_data, member}) {
        who = one;
        EXPECT_EQ(access("d/f"), std::uint32_t{ACCESS3_READ});
        EXPECT_EQ(access("d"), kBrowse);
        EXPECT_EQ(access("priv"), 0U);
        EXPECT_EQ(access(".version"), std::uint32_t{ACCESS3_READ});
    }
    for (const Credential& one : {user, test::nobody()}) {
        who = one;
        EXPECT_EQ(access("d/f"), 0U);
        EXPECT_EQ(access("d"), kBrowse);
        EXPECT_EQ(access("priv"), 0U);
        EXPECT_EQ(access(".version"), 0U);
    }
    who = {};
    expect_handle_errors(kAccess, words({1}));
}

TEST_F(ServerReadingTest, Readlink) {
    const auto link = call<READLINK3res>(kReadlink, opaque(handle("local")));
    ASSERT_EQ(link->status, NFS3_OK);
    EXPECT_STREQ(link->READLINK3res_u.resok.data, "nodes/node1");
    EXPECT_EQ(link->READLINK3res_u.resok.symlink_attributes.attributes_follow, TRUE);
    const auto file = call<READLINK3res>(kReadlink, opaque(handle("d/f")));
    EXPECT_EQ(file->status, NFS3ERR_INVAL);
    EXPECT_EQ(encoded(file->READLINK3res_u.resfail.symlink_attributes), encoded(attributes("d/f")));
    expect_handle_errors(kReadlink);
}

TEST_F(ServerReadingTest, Read) {
    const auto read = [&](const std::string& path, std::uint64_t offset, std::uint32_t count) {
        const auto result =
            call<READ3res>(kRead, opaque(handle(path)) + word64(offset) + words({count}));
        EXPECT_EQ(result->status, NFS3_OK);
        const READ3resok& ok = result->READ3res_u.resok;
        EXPECT_EQ(ok.count, ok.data.data_len);
        EXPECT_EQ(encoded(ok.file_attributes), encoded(attributes(path)));
        return std::pair(std::string(ok.data.data_val, ok.data.data_len), ok.eof != FALSE);
    };
    EXPECT_EQ(read("d/f", 0, 100), std::pair(std::string("1234567"), true));
    EXPECT_EQ(read("d/f", 0, 7), std::pair(std::string("1234567"), true));
    EXPECT_EQ(read("d/f", 0, 6), std::pair(std::string("123456"), false));
    EXPECT_EQ(read("d/f", 2, 3), std::pair(std::string("345"), false));
    EXPECT_EQ(read("d/f", 6, 100), std::pair(std::string("7"), true));
    EXPECT_EQ(read("d/f", 7, 100), std::pair(std::string(), true));
    EXPECT_EQ(read("d/f", UINT64_MAX, UINT32_MAX), std::pair(std::string(), true));
    EXPECT_EQ(read("d/f", 3, 0), std::pair(std::string(), false));

    make_file("large", std::string(1U << 20, 'x'));
    EXPECT_EQ(read("large", 0, UINT32_MAX), std::pair(std::string(1U << 20, 'x'), true));
    EXPECT_EQ(read("large", 1, (1U << 20) - 2), std::pair(std::string((1U << 20) - 2, 'x'), false));

    const std::string behind = word64(0) + words({100});
    EXPECT_EQ(status_of(kRead, opaque(handle("d")) + behind), NFS3ERR_ISDIR);
    EXPECT_EQ(status_of(kRead, opaque(handle("local")) + behind), NFS3ERR_INVAL);
    expect_handle_errors(kRead, behind);
    who = user;
    const auto refused = call<READ3res>(kRead, opaque(handle("d/f")) + behind);
    EXPECT_EQ(refused->status, NFS3ERR_ACCES);
    EXPECT_EQ(encoded(refused->READ3res_u.resfail.file_attributes), encoded(attributes("d/f")));
    for (const Credential& one : {www_data, member}) {
        who = one;
        EXPECT_EQ(status_of(kRead, opaque(handle("d/f")) + behind), NFS3_OK);
    }
    who = test::nobody();
    EXPECT_EQ(status_of(kRead, opaque(handle("d/f")) + behind), NFS3ERR_ACCES);
    EXPECT_EQ(status_of(kRead, opaque(handle(".version")) + behind), NFS3ERR_ACCES);
}

TEST_F(ServerReadingTest, AVirtualFileIsReadAsLongAsItsSizeSaid) {
    const std::string version = opaque(handle(".version"));
    const auto before = call<GETATTR3res>(kGetattr, version);
    const fattr3& said = before->GETATTR3res_u.resok.obj_attributes;
    make_file("nodes/node1/qemu-server-is-no-guest", "x");
    make_file("user.cfg", "user:root@pam:1:0:::::\n");  // counted in the text
    std::string text;
    bool end = false;
    for (int i = 0; i < 1000 && !end; ++i) {
        const auto part = call<READ3res>(kRead, version + word64(text.size()) + words({100}));
        const READ3resok& ok = part->READ3res_u.resok;
        EXPECT_EQ(encoded(ok.file_attributes), encoded(said));
        text.append(ok.data.data_val, ok.data.data_len);
        end = ok.eof != FALSE;
    }
    EXPECT_TRUE(end);
    EXPECT_EQ(text.size(), said.size);
    EXPECT_TRUE(text.starts_with("{\n\"starttime\"")) << text;
    EXPECT_TRUE(text.ends_with("}\n"));
}

TEST_F(ServerReadingTest, Fsstat) {
    options.tree_bytes_max = 100 * 4096;
    options.entries_max = 1000;
    start();
    const auto result = call<FSSTAT3res>(kFsstat, opaque(handle("")));
    ASSERT_EQ(result->status, NFS3_OK);
    const FSSTAT3resok& ok = result->FSSTAT3res_u.resok;
    EXPECT_EQ(encoded(ok.obj_attributes), encoded(attributes("")));
    EXPECT_EQ(ok.tbytes, 100U * 4096);
    EXPECT_EQ(ok.fbytes, 99U * 4096);  // 21 bytes are there
    EXPECT_EQ(ok.abytes, ok.fbytes);
    EXPECT_EQ(ok.tfiles, 1000U);
    EXPECT_EQ(ok.ffiles, 1000U - 8);  // the root and seven
    EXPECT_EQ(ok.afiles, ok.ffiles);
    EXPECT_EQ(ok.invarsec, 0U);
    expect_handle_errors(kFsstat);
}

TEST_F(ServerReadingTest, Fsinfo) {
    const auto result = call<FSINFO3res>(kFsinfo, opaque(handle("")));
    ASSERT_EQ(result->status, NFS3_OK);
    const FSINFO3resok& ok = result->FSINFO3res_u.resok;
    EXPECT_EQ(encoded(ok.obj_attributes), encoded(attributes("")));
    EXPECT_EQ(ok.rtmax, 1U << 20);
    EXPECT_EQ(ok.rtpref, 1U << 20);
    EXPECT_EQ(ok.wtmax, 1U << 20);
    EXPECT_EQ(ok.wtpref, 1U << 20);
    EXPECT_EQ(ok.dtpref, 65536U);
    EXPECT_EQ(ok.maxfilesize, 1U << 20);
    EXPECT_EQ(ok.time_delta.seconds, 1U);
    EXPECT_EQ(ok.time_delta.nseconds, 0U);
    EXPECT_EQ(ok.properties, 0x1aU);  // symbolic links, homogeneous, times can be set
    expect_handle_errors(kFsinfo);
}

TEST_F(ServerReadingTest, Pathconf) {
    const auto result = call<PATHCONF3res>(kPathconf, opaque(handle("d")));
    ASSERT_EQ(result->status, NFS3_OK);
    const PATHCONF3resok& ok = result->PATHCONF3res_u.resok;
    EXPECT_EQ(encoded(ok.obj_attributes), encoded(attributes("d")));
    EXPECT_EQ(ok.linkmax, 1U);
    EXPECT_EQ(ok.name_max, 255U);
    EXPECT_EQ(ok.no_trunc, TRUE);
    EXPECT_EQ(ok.chown_restricted, TRUE);
    EXPECT_EQ(ok.case_insensitive, FALSE);
    EXPECT_EQ(ok.case_preserving, TRUE);
    expect_handle_errors(kPathconf);
}

// --- Around the procedures (RFC 5531) ---

TEST_F(ServerReadingTest, WhatIsNotServedIsToldSo) {
    Call call = make_call(0, "");
    call.program = 100227;  // access control lists
    EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, 1}));
    call.program = 100011;  // quotas
    EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, 1}));
    for (const std::uint32_t program : {test::kNfs, test::kMount}) {
        call.program = program;
        for (const std::uint32_t version : {0U, 1U, 2U, 4U, 0xffffffffU}) {
            call.version = version;
            EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, 2, 3, 3})) << version;
        }
        call.version = 3;
        for (const std::uint32_t procedure : {program == test::kNfs ? 22U : 6U, 0xffffffffU}) {
            call.procedure = procedure;
            EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, 3})) << procedure;
        }
        call.procedure = 0;
    }
}

TEST_F(ServerReadingTest, ArgumentsMustBeWholeAndNoMore) {
    const std::string h = opaque(handle("d"));
    const std::string attributes = encode(Wanted{});
    const std::vector<std::string> whole{"",
                                         h,
                                         h + attributes + words({0}),
                                         h + opaque("f"),
                                         h + words({1}),
                                         h,
                                         h + word64(0) + words({1}),
                                         h + word64(0) + words({4, 2}) + opaque("data"),
                                         h + opaque("new") + words({0}) + attributes,
                                         h + opaque("new") + attributes,
                                         h + opaque("new") + attributes + opaque("target"),
                                         h + opaque("new") + words({7}) + attributes,
                                         h + opaque("absent"),
                                         h + opaque("absent"),
                                         h + opaque("absent") + h + opaque("there"),
                                         h + h + opaque("new"),
                                         h + word64(0) + word64(0) + words({512}),
                                         h + word64(0) + word64(0) + words({512, 512}),
                                         h,
                                         h,
                                         h,
                                         h + word64(0) + words({0})};
    ASSERT_EQ(whole.size(), 22U);
    const std::uint64_t before = tree_version();
    const auto is_garbage = [&](std::uint32_t procedure, const std::string& arguments) {
        const Call call = make_call(procedure, arguments);
        return client->ask(call) == words({call.xid, 1, 0, 0, 0, 4});
    };
    for (std::uint32_t procedure = 0; procedure < whole.size(); ++procedure) {
        const std::string& arguments = whole[procedure];
        for (std::size_t size = 0; size < arguments.size(); ++size) {
            EXPECT_TRUE(is_garbage(procedure, arguments.substr(0, size)))
                << procedure << " " << size;
        }
        EXPECT_TRUE(is_garbage(procedure, arguments + words({0}))) << procedure;
        EXPECT_TRUE(is_garbage(procedure, arguments + "x")) << procedure;
    }
    EXPECT_EQ(tree_version(), before);
    for (std::uint32_t procedure = 1; procedure < whole.size(); ++procedure) {
        status_of(procedure, whole[procedure]);  // fails where it is garbage
    }
    EXPECT_GT(server->counters().bad_arguments.load(), 500U);
}

TEST_F(ServerReadingTest, ACredentialThatDoesNotDecodeIsBad) {
    Call call = make_call(kGetattr, opaque(handle("")));
    call.as.gids = std::vector<std::uint32_t>(17, 1);
    EXPECT_EQ(client->ask(call), words({call.xid, 1, 1, 1, 1}));
    call.as.gids.resize(16);
    EXPECT_EQ(client->ask(call).substr(0, 24), words({call.xid, 1, 0, 0, 0, 0}));
}

TEST_F(ServerReadingTest, FromAHighPortNobodySpeaksForEverybody) {
    connect(20000);
    ASSERT_GE(client->port(), 1024);
    for (const Credential& claim : {Credential{}, user, www_data}) {
        Call call = make_call(kGetattr, opaque(handle("")));
        call.as = claim;
        EXPECT_EQ(client->ask(call), words({call.xid, 1, 1, 1, 5}));  // AUTH_TOOWEAK
    }
    EXPECT_EQ(server->counters().beyond_proof.load(), 3U);
    who = test::nobody();
    EXPECT_EQ(status_of(kGetattr, opaque(handle(""))), NFS3_OK);
    EXPECT_EQ(status_of(kRead, opaque(handle("d/f")) + word64(0) + words({9})), NFS3ERR_ACCES);
}

TEST_F(ServerReadingTest, WhatIsNoRecordOrNoCallEndsTheConnection) {
    for (const std::string& bytes :
         {words({0x80000000U | (16U << 20)}), words({0xffffffff}), words({0x80000000}),
          test::as_record("no call"), test::as_record(words({1, 1, 0, 0, 0, 0}))}) {
        connect();
        client->send_bytes(bytes);
        EXPECT_TRUE(client->is_closed());
    }
    EXPECT_EQ(server->counters().dropped.load(), 5U);
    connect();
    EXPECT_EQ(result_of(kNull, ""), "");
}

TEST_F(ServerReadingTest, RequestsInOneSegmentAndInPiecesAreAllAnswered) {
    const Call first = make_call(kGetattr, opaque(handle("d")));
    const Call second = make_call(kNull, "");
    const std::string call = test::encode_call(first);
    const std::string fragments =
        words({5}) + call.substr(0, 5) + words({0}) +
        words({0x80000000U | static_cast<std::uint32_t>(call.size() - 5)}) + call.substr(5);
    const std::string stream = fragments + test::as_record(test::encode_call(second));
    const auto expect_both = [&] {
        const std::string reply = client->receive().value_or("");
        EXPECT_EQ(reply, words({first.xid, 1, 0, 0, 0, 0, 0}) + encoded(attributes("d")));
        EXPECT_EQ(client->receive().value_or(""), words({second.xid, 1, 0, 0, 0, 0}));
    };
    client->send_bytes(stream);
    expect_both();
    for (std::size_t cut = 1; cut < stream.size(); cut += 7) {
        client->send_bytes(stream.substr(0, cut));
        client->send_bytes(stream.substr(cut));
        expect_both();
    }
}

TEST_F(ServerReadingTest, ClientsAreListed) {
    result_of(kNull, "");
    status_of(kLookup, where(handle("d/f"), "x"));
    const auto clients = take(server->clients());
    ASSERT_EQ(clients.size(), 1U);
    EXPECT_EQ(clients[0].kind, ClientStatus::Kind::Everybody);
    EXPECT_EQ(clients[0].address.port, client->port());
    EXPECT_EQ(clients[0].requests, 2U);
    EXPECT_EQ(clients[0].errors, 1U);
    EXPECT_EQ(clients[0].last_error, "NOTDIR in LOOKUP");
    EXPECT_GT(clients[0].bytes_in, 100U);
    EXPECT_GT(clients[0].bytes_out, 60U);
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
