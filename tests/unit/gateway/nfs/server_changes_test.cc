// SPDX-License-Identifier: Apache-2.0
// The procedures that change the tree, over a socket.
#include "tests/unit/gateway/nfs/server_fixture.h"

namespace cfsgate::gateway::nfs {
namespace {

const std::string kNoGuard = words({0});
constexpr std::uint32_t kUnchecked = 0;
constexpr std::uint32_t kGuarded = 1;
constexpr std::uint32_t kExclusive = 2;

class ServerChangesTest : public ServerTest {
protected:
    static std::string write_arguments(const std::string& file, std::uint64_t offset,
                                       const std::string& data, std::uint32_t stable = 2) {
        return opaque(file) + word64(offset) +
               words({static_cast<std::uint32_t>(data.size()), stable}) + opaque(data);
    }
    Decoded<WRITE3res> write(const std::string& path, std::uint64_t offset,
                             const std::string& data) {
        return call<WRITE3res>(kWrite, write_arguments(handle(path), offset, data));
    }
    static std::string create_arguments(const std::string& directory, const std::string& name,
                                        std::uint32_t mode, const Wanted& wanted = {}) {
        return where(directory, name) + words({mode}) + encode(wanted);
    }
    static std::string exclusive_arguments(const std::string& directory, const std::string& name,
                                           const std::string& verifier) {
        return where(directory, name) + words({kExclusive}) + verifier;
    }
    std::string setattr_arguments(const std::string& path, const Wanted& wanted) {
        return opaque(handle(path)) + encode(wanted) + kNoGuard;
    }
    /// Weak cache data of one change between the two states.
    static void expect_wcc(const wcc_data& wcc, const fattr3& before, const fattr3& after) {
        EXPECT_EQ(encoded_before(wcc), before_of(before));
        EXPECT_EQ(encoded(wcc.after), encoded(after));
    }
    static std::string verifier_of(const char* bytes) { return {bytes, 8}; }
};

// --- WRITE and COMMIT ---

TEST_F(ServerChangesTest, AWriteOfAMegabyteIsOneChange) {
    std::string data(1U << 20, 'd');
    data.replace(1000, 3, std::string("\0\xff\n", 3));
    const fattr3 before = attributes("d/f");
    const std::uint64_t version = tree_version();
    const auto result = write("d/f", 0, data);
    ASSERT_EQ(result->status, NFS3_OK);
    const WRITE3resok& ok = result->WRITE3res_u.resok;
    EXPECT_EQ(ok.count, 1U << 20);
    EXPECT_EQ(ok.committed, FILE_SYNC);
    EXPECT_EQ(tree_version(), version + 1);
    EXPECT_TRUE(content("d/f") == data);
    const fattr3 after = attributes("d/f");
    EXPECT_EQ(after.ctime.nseconds, version + 1);
    expect_wcc(ok.file_wcc, before, after);
}

TEST_F(ServerChangesTest, EveryWayOfWritingIsStable) {
    for (const std::uint32_t stable : {0U, 1U, 2U}) {
        const auto result = call<WRITE3res>(
            kWrite, write_arguments(handle("d/f"), 2, std::to_string(stable), stable));
        EXPECT_EQ(result->WRITE3res_u.resok.committed, FILE_SYNC);
        EXPECT_EQ(content("d/f"), "12" + std::to_string(stable) + "4567");
    }
    const Call unknown = make_call(kWrite, write_arguments(handle("d/f"), 0, "x", 3));
    EXPECT_EQ(client->ask(unknown), words({unknown.xid, 1, 0, 0, 0, 4}));
}

TEST_F(ServerChangesTest, AWriteOfNothingChangesNothing) {
    const fattr3 before = attributes("d/f");
    const std::uint64_t version = tree_version();
    const auto result = write("d/f", 3, "");
    ASSERT_EQ(result->status, NFS3_OK);
    EXPECT_EQ(result->WRITE3res_u.resok.count, 0U);
    EXPECT_EQ(result->WRITE3res_u.resok.committed, FILE_SYNC);
    expect_wcc(result->WRITE3res_u.resok.file_wcc, before, before);
    EXPECT_EQ(tree_version(), version);
}

TEST_F(ServerChangesTest, CountAndDataOfAWrite) {
    const std::string file = opaque(handle("d/f"));
    // Of more data as much as was said; of less, nothing can be.
    EXPECT_EQ(status_of(kWrite, file + word64(0) + words({2, 2}) + opaque("abcd")), NFS3_OK);
    EXPECT_EQ(content("d/f"), "ab34567");
    const Call more = make_call(kWrite, file + word64(0) + words({5, 2}) + opaque("abcd"));
    EXPECT_EQ(client->ask(more), words({more.xid, 1, 0, 0, 0, 4}));
    EXPECT_EQ(content("d/f"), "ab34567");
}

TEST_F(ServerChangesTest, WhatCannotBeWritten) {
    const std::uint64_t version = tree_version();
    EXPECT_EQ(write("d/f", 1U << 20, "x")->status, NFS3ERR_FBIG);
    EXPECT_EQ(write("d/f", 1, std::string(1U << 20, 'x'))->status, NFS3ERR_FBIG);
    EXPECT_EQ(write("d/f", UINT64_MAX, "xy")->status, NFS3ERR_FBIG);
    EXPECT_EQ(write("d", 0, "x")->status, NFS3ERR_ISDIR);
    EXPECT_EQ(write(".version", 0, "x")->status, NFS3ERR_IO);
    EXPECT_EQ(status_of(kWrite, write_arguments("bad", 0, "x")), NFS3ERR_BADHANDLE);
    EXPECT_EQ(status_of(kWrite, write_arguments(encode_handle(files->id(), FileId(9999)), 0, "x")),
              NFS3ERR_STALE);
    EXPECT_EQ(tree_version(), version);
    EXPECT_EQ(write("d/f", (1U << 20) - 1, "x")->status, NFS3_OK);
    EXPECT_EQ(content("d/f").size(), 1U << 20);

    const auto refused = write("d/f", 1U << 20, "x");
    EXPECT_EQ(encoded_before(refused->WRITE3res_u.resfail.file_wcc), "none");
    EXPECT_EQ(encoded(refused->WRITE3res_u.resfail.file_wcc.after), encoded(attributes("d/f")));
}

TEST_F(ServerChangesTest, ACommitHasTheVerifierOfTheWritesOfThisProcess) {
    const auto verifiers = [&] {
        const auto written = write("d/f", 0, "x");
        const auto committed =
            call<COMMIT3res>(kCommit, opaque(handle("d/f")) + word64(0) + words({0}));
        EXPECT_EQ(committed->status, NFS3_OK);
        EXPECT_EQ(encoded(committed->COMMIT3res_u.resok.file_wcc.after),
                  encoded(attributes("d/f")));
        return std::pair(verifier_of(written->WRITE3res_u.resok.verf),
                         verifier_of(committed->COMMIT3res_u.resok.verf));
    };
    const auto first = verifiers();
    EXPECT_EQ(first.first, first.second);
    EXPECT_EQ(verifiers(), first);
    start_server();  // within the same second
    const auto second = verifiers();
    EXPECT_EQ(second.first, second.second);
    EXPECT_NE(second.first, first.first);
}

TEST_F(ServerChangesTest, ACommitNeedsNoWriteAndChangesNothing) {
    const std::uint64_t version = tree_version();
    const std::string range = word64(UINT64_MAX) + words({UINT32_MAX});
    EXPECT_EQ(status_of(kCommit, opaque(handle("d/f")) + range), NFS3_OK);
    EXPECT_EQ(status_of(kCommit, opaque("bad") + range), NFS3ERR_BADHANDLE);
    EXPECT_EQ(status_of(kCommit, opaque(encode_handle(files->id(), FileId(9999))) + range),
              NFS3ERR_STALE);
    EXPECT_EQ(tree_version(), version);
}

// --- SETATTR ---

TEST_F(ServerChangesTest, SetattrOfTheSize) {
    const fattr3 before = attributes("d/f");
    const std::uint64_t version = tree_version();
    const auto shorter = call<SETATTR3res>(kSetattr, setattr_arguments("d/f", {.size = 3}));
    ASSERT_EQ(shorter->status, NFS3_OK);
    EXPECT_EQ(content("d/f"), "123");
    EXPECT_EQ(tree_version(), version + 1);
    expect_wcc(shorter->SETATTR3res_u.resok.obj_wcc, before, attributes("d/f"));
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/f", {.size = 5})), NFS3_OK);
    EXPECT_EQ(content("d/f"), std::string("123\0\0", 5));
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/f", {.size = 0})), NFS3_OK);
    EXPECT_EQ(content("d/f"), "");
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/f", {.size = (1U << 20) + 1})),
              NFS3ERR_FBIG);
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d", {.size = 0})), NFS3ERR_ISDIR);
}

TEST_F(ServerChangesTest, SetattrOfTheTime) {
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/f", {.mtime = 1234})), NFS3_OK);
    EXPECT_EQ(attributes("d/f").mtime.seconds, 1234U);
    directory.now += 100;
    const auto now = call<SETATTR3res>(kSetattr, setattr_arguments("d/f", {.mtime_is_now = true}));
    ASSERT_EQ(now->status, NFS3_OK);
    EXPECT_EQ(attributes("d/f").mtime.seconds, directory.now);
    EXPECT_EQ(encoded(now->SETATTR3res_u.resok.obj_wcc.after), encoded(attributes("d/f")));
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d", {.mtime = 77})), NFS3_OK);
    EXPECT_EQ(attributes("d").mtime.seconds, 77U);
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("", {.mtime = 77})), NFS3ERR_ACCES);
    EXPECT_EQ(status_of(kSetattr, setattr_arguments(".version", {.mtime = 77})), NFS3ERR_ACCES);
}

TEST_F(ServerChangesTest, SetattrOfSizeAndTimeAnswersForBoth) {
    const fattr3 before = attributes("d/f");
    const auto both =
        call<SETATTR3res>(kSetattr, setattr_arguments("d/f", {.size = 2, .mtime = 555}));
    ASSERT_EQ(both->status, NFS3_OK);
    EXPECT_EQ(content("d/f"), "12");
    EXPECT_EQ(attributes("d/f").mtime.seconds, 555U);
    expect_wcc(both->SETATTR3res_u.resok.obj_wcc, before, attributes("d/f"));
}

TEST_F(ServerChangesTest, SetattrOfModeAndOwnerChangesNothing) {
    const std::uint64_t version = tree_version();
    const fattr3 before = attributes("d/f");
    const auto same = call<SETATTR3res>(
        kSetattr, setattr_arguments("d/f", {.mode = 0640, .uid = 0, .gid = kGroup}));
    EXPECT_EQ(same->status, NFS3_OK);
    expect_wcc(same->SETATTR3res_u.resok.obj_wcc, before, before);
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/f", {})), NFS3_OK);
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/f", {.mode = 0644})), NFS3ERR_PERM);
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/f", {.uid = 1})), NFS3ERR_PERM);
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/f", {.gid = 1})), NFS3ERR_PERM);
    // What is refused is refused as a whole.
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/f", {.mode = 0644, .size = 0})),
              NFS3ERR_PERM);
    EXPECT_EQ(tree_version(), version);
}

TEST_F(ServerChangesTest, TheGuardOfASetattr) {
    const std::string file = opaque(handle("d/f"));
    const fattr3 found = attributes("d/f");
    const auto guarded = [&](std::uint32_t seconds, std::uint32_t nanoseconds,
                             const Wanted& wanted) {
        return file + encode(wanted) + words({1, seconds, nanoseconds});
    };
    const auto [seconds, nanoseconds] = found.ctime;
    const std::uint64_t version = tree_version();
    for (const auto& arguments :
         {guarded(seconds, nanoseconds + 1, {.size = 1}),
          guarded(seconds + 1, nanoseconds, {.size = 1}),
          guarded(seconds, nanoseconds + 1, {.mtime = 1}), guarded(0, 0, {})}) {
        const auto refused = take(Decoded<SETATTR3res>::whole(result_of(kSetattr, arguments)));
        EXPECT_EQ(refused->status, NFS3ERR_NOT_SYNC);
        EXPECT_EQ(encoded(refused->SETATTR3res_u.resfail.obj_wcc.after), encoded(found));
    }
    EXPECT_EQ(tree_version(), version);
    EXPECT_EQ(status_of(kSetattr, guarded(seconds, nanoseconds, {.size = 1})), NFS3_OK);
    EXPECT_EQ(content("d/f"), "1");
    // A second one from the same look meets another file.
    EXPECT_EQ(status_of(kSetattr, guarded(seconds, nanoseconds, {.size = 0})), NFS3ERR_NOT_SYNC);
}

TEST_F(ServerChangesTest, TheGuardIsAskedWhenTheTurnComes) {
    sequencer->hold();
    const fattr3 found = attributes("d/f");
    const Call first = make_call(kWrite, write_arguments(handle("d/f"), 0, "other"));
    const Call second =
        make_call(kSetattr, opaque(handle("d/f")) + encode(Wanted{.size = 1}) +
                                words({1, found.ctime.seconds, found.ctime.nseconds}));
    client->send(first);
    ASSERT_TRUE(wait_until([&] { return sequencer->held() == 1; }));
    client->send(second);
    ASSERT_TRUE(wait_until([&] { return sequencer->held() == 2; }));
    sequencer->release();
    const std::string ok = words({1, 0, 0, 0, 0});
    EXPECT_TRUE(client->receive().value().starts_with(words({first.xid}) + ok + words({NFS3_OK})));
    EXPECT_TRUE(client->receive().value().starts_with(words({second.xid}) + ok +
                                                      words({NFS3ERR_NOT_SYNC})));
    EXPECT_EQ(content("d/f"), "other67");
}

// --- CREATE ---

TEST_F(ServerChangesTest, AnUncheckedCreateMakesOrTakesTheFile) {
    const fattr3 before = attributes("d");
    const std::uint64_t version = tree_version();
    const auto made = call<CREATE3res>(
        kCreate, create_arguments(handle("d"), "new", kUnchecked, {.mode = 0600, .size = 0}));
    ASSERT_EQ(made->status, NFS3_OK);
    const CREATE3resok& ok = made->CREATE3res_u.resok;
    EXPECT_EQ(bytes_of(ok.obj.post_op_fh3_u.handle), handle("d/new"));
    EXPECT_EQ(encoded(ok.obj_attributes), encoded(attributes("d/new")));
    EXPECT_EQ(attributes("d/new").mode, 0640U);  // whatever was asked for
    EXPECT_EQ(tree_version(), version + 1);
    expect_wcc(ok.dir_wcc, before, attributes("d"));

    // There already: taken as it is, or cut.
    const auto taken = call<CREATE3res>(kCreate, create_arguments(handle("d"), "f", kUnchecked));
    ASSERT_EQ(taken->status, NFS3_OK);
    EXPECT_EQ(bytes_of(taken->CREATE3res_u.resok.obj.post_op_fh3_u.handle), handle("d/f"));
    EXPECT_EQ(content("d/f"), "1234567");
    EXPECT_EQ(tree_version(), version + 1);
    const auto cut =
        call<CREATE3res>(kCreate, create_arguments(handle("d"), "f", kUnchecked, {.size = 2}));
    ASSERT_EQ(cut->status, NFS3_OK);
    EXPECT_EQ(content("d/f"), "12");
    EXPECT_EQ(encoded(cut->CREATE3res_u.resok.obj_attributes), encoded(attributes("d/f")));
    EXPECT_EQ(status_of(kCreate, create_arguments(handle("d"), "e", kUnchecked)), NFS3ERR_EXIST);
    EXPECT_EQ(status_of(kCreate, create_arguments(handle(""), "local", kUnchecked)), NFS3ERR_EXIST);
}

TEST_F(ServerChangesTest, AGuardedCreateMakesTheFileOrFails) {
    EXPECT_EQ(status_of(kCreate, create_arguments(handle("d"), "new", kGuarded)), NFS3_OK);
    const std::uint64_t version = tree_version();
    const auto refused = call<CREATE3res>(kCreate, create_arguments(handle("d"), "new", kGuarded));
    EXPECT_EQ(refused->status, NFS3ERR_EXIST);
    EXPECT_EQ(encoded(refused->CREATE3res_u.resfail.dir_wcc.after), encoded(attributes("d")));
    EXPECT_EQ(status_of(kCreate, create_arguments(handle("d"), "e", kGuarded)), NFS3ERR_EXIST);
    EXPECT_EQ(status_of(kCreate, create_arguments(handle(""), ".version", kGuarded)),
              NFS3ERR_EXIST);
    EXPECT_EQ(tree_version(), version);
}

TEST_F(ServerChangesTest, AnExclusiveCreateIsRepeatedByItsVerifier) {
    const std::string arguments = exclusive_arguments(handle("d"), "new", "verifier");
    const auto made = call<CREATE3res>(kCreate, arguments);
    ASSERT_EQ(made->status, NFS3_OK);
    const std::string file = handle("d/new");
    EXPECT_EQ(bytes_of(made->CREATE3res_u.resok.obj.post_op_fh3_u.handle), file);
    const std::uint64_t version = tree_version();

    // Under another XID, so that no kept reply helps; also after a start.
    for (const bool restarted : {false, true}) {
        if (restarted) start();
        const auto again = call<CREATE3res>(kCreate, arguments);
        ASSERT_EQ(again->status, NFS3_OK) << restarted;
        const CREATE3resok& ok = again->CREATE3res_u.resok;
        EXPECT_EQ(bytes_of(ok.obj.post_op_fh3_u.handle), file);
        EXPECT_EQ(encoded(ok.obj_attributes), encoded(attributes("d/new")));
        expect_wcc(ok.dir_wcc, attributes("d"), attributes("d"));
        for (const char* other : {"Verifier", "verifieR", "\0\0\0\0\0\0\0\0"}) {
            EXPECT_EQ(
                status_of(kCreate, exclusive_arguments(handle("d"), "new", std::string(other, 8))),
                NFS3ERR_EXIST);
        }
    }
    EXPECT_EQ(status_of(kCreate, exclusive_arguments(handle("d"), "f", "verifier")), NFS3ERR_EXIST);
    EXPECT_EQ(tree_version(), version);
}

TEST_F(ServerChangesTest, AGuestThatIsConfiguredElsewhereExists) {
    make_entry(MakeDirectory{"nodes/node1/qemu-server"});
    make_entry(MakeDirectory{"nodes/node2"});
    make_entry(MakeDirectory{"nodes/node2/qemu-server"});
    make_file("nodes/node2/qemu-server/100.conf", "memory: 512\n");
    const std::string directory_handle = handle("nodes/node1/qemu-server");
    for (const std::uint32_t mode : {kUnchecked, kGuarded}) {
        EXPECT_EQ(status_of(kCreate, create_arguments(directory_handle, "100.conf", mode)),
                  NFS3ERR_EXIST);
    }
    EXPECT_EQ(status_of(kCreate, exclusive_arguments(directory_handle, "100.conf", "verifier")),
              NFS3ERR_EXIST);
}

TEST_F(ServerChangesTest, TheVerifierBelongsToTheFileAndNotToItsName) {
    const std::string arguments = exclusive_arguments(handle("d"), "new", "verifier");
    EXPECT_EQ(status_of(kCreate, arguments), NFS3_OK);
    EXPECT_EQ(status_of(kRemove, where(handle("d"), "new")), NFS3_OK);
    EXPECT_EQ(status_of(kCreate, create_arguments(handle("d"), "new", kGuarded)), NFS3_OK);
    EXPECT_EQ(status_of(kCreate, arguments), NFS3ERR_EXIST);
}

TEST_F(ServerChangesTest, TheSetattrOfAnExclusiveCreateMayAskForAnyMode) {
    EXPECT_EQ(status_of(kCreate, exclusive_arguments(handle("d"), "new", "verifier")), NFS3_OK);
    EXPECT_EQ(status_of(kSetattr,
                        setattr_arguments("d/new", {.mode = 0600, .uid = 0, .gid = 0, .mtime = 9})),
              NFS3_OK);
    EXPECT_EQ(attributes("d/new").mode, 0640U);
    EXPECT_EQ(attributes("d/new").mtime.seconds, 9U);
    // Once.
    EXPECT_EQ(status_of(kSetattr, setattr_arguments("d/new", {.mode = 0600})), NFS3ERR_PERM);
}

// --- MKDIR, and what the tree does not hold ---

TEST_F(ServerChangesTest, Mkdir) {
    const fattr3 before = attributes("d");
    const auto made =
        call<MKDIR3res>(kMkdir, where(handle("d"), "new") + encode(Wanted{.mode = 0700}));
    ASSERT_EQ(made->status, NFS3_OK);
    const MKDIR3resok& ok = made->MKDIR3res_u.resok;
    EXPECT_EQ(bytes_of(ok.obj.post_op_fh3_u.handle), handle("d/new"));
    EXPECT_EQ(encoded(ok.obj_attributes), encoded(attributes("d/new")));
    EXPECT_EQ(attributes("d/new").type, NF3DIR);
    expect_wcc(ok.dir_wcc, before, attributes("d"));
    for (const char* there : {"new", "f"}) {
        EXPECT_EQ(status_of(kMkdir, where(handle("d"), there) + encode(Wanted{})), NFS3ERR_EXIST);
    }
}

TEST_F(ServerChangesTest, NamesOfNewEntries) {
    const std::uint64_t version = tree_version();
    const std::string d = handle("d");
    const std::vector<std::pair<std::string, nfsstat3>> names{
        {"", NFS3ERR_NOENT},
        {".", NFS3ERR_EXIST},
        {"..", NFS3ERR_EXIST},
        {"a/b", NFS3ERR_INVAL},
        {std::string(256, 'n'), NFS3ERR_NAMETOOLONG},
        {std::string(60000, 'n'), NFS3ERR_NAMETOOLONG}};
    for (const auto& [name, status] : names) {
        EXPECT_EQ(status_of(kMkdir, where(d, name) + encode(Wanted{})), status) << name;
        EXPECT_EQ(status_of(kCreate, create_arguments(d, name, kGuarded)), status) << name;
        EXPECT_EQ(status_of(kCreate, create_arguments(d, name, kUnchecked)), status) << name;
        EXPECT_EQ(status_of(kCreate, exclusive_arguments(d, name, "verifier")), status) << name;
        EXPECT_EQ(status_of(kRename, where(d, "f") + where(d, name)), status) << name;
    }
    EXPECT_EQ(tree_version(), version);
    EXPECT_EQ(status_of(kCreate, create_arguments(d, std::string(255, 'n'), kGuarded)), NFS3_OK);
    EXPECT_EQ(status_of(kCreate, create_arguments(d, "\xff\n \"", kGuarded)), NFS3_OK);
    // A NUL is no part of any name.
    const Call call = make_call(kCreate, create_arguments(d, std::string("a\0b", 3), kGuarded));
    EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, 4}));
}

TEST_F(ServerChangesTest, LinksAndNodesAreNotSupported) {
    const std::uint64_t version = tree_version();
    const std::string place = where(handle("d"), "new");
    EXPECT_EQ(result_of(kSymlink, place + encode(Wanted{}) + opaque("target")),
              words({NFS3ERR_NOTSUPP, 0, 0}));
    EXPECT_EQ(result_of(kLink, opaque(handle("d/f")) + place), words({NFS3ERR_NOTSUPP, 0, 0, 0}));
    for (const std::uint32_t type : {3U, 4U}) {  // devices
        EXPECT_EQ(result_of(kMknod, place + words({type}) + encode(Wanted{}) + words({1, 2})),
                  words({NFS3ERR_NOTSUPP, 0, 0}));
    }
    for (const std::uint32_t type : {6U, 7U}) {  // socket, FIFO
        EXPECT_EQ(result_of(kMknod, place + words({type}) + encode(Wanted{})),
                  words({NFS3ERR_NOTSUPP, 0, 0}));
    }
    for (const std::uint32_t type : {1U, 2U, 5U}) {
        EXPECT_EQ(result_of(kMknod, place + words({type})), words({NFS3ERR_BADTYPE, 0, 0}));
    }
    for (const std::uint32_t type : {0U, 8U, 0xffffffffU}) {
        const Call call = make_call(kMknod, place + words({type}));
        EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, 4})) << type;
    }
    EXPECT_EQ(tree_version(), version);
}

// --- REMOVE, RMDIR, RENAME ---

TEST_F(ServerChangesTest, Remove) {
    const fattr3 before = attributes("d");
    const std::string file = handle("d/f");
    const auto removed = call<REMOVE3res>(kRemove, where(handle("d"), "f"));
    ASSERT_EQ(removed->status, NFS3_OK);
    EXPECT_FALSE(exists("d/f"));
    expect_wcc(removed->REMOVE3res_u.resok.dir_wcc, before, attributes("d"));
    EXPECT_EQ(status_of(kGetattr, opaque(file)), NFS3ERR_STALE);

    const auto absent = call<REMOVE3res>(kRemove, where(handle("d"), "f"));
    EXPECT_EQ(absent->status, NFS3ERR_NOENT);
    EXPECT_EQ(encoded(absent->REMOVE3res_u.resfail.dir_wcc.after), encoded(attributes("d")));
    EXPECT_EQ(status_of(kRemove, where(handle("d"), "e")), NFS3ERR_ISDIR);
    EXPECT_EQ(status_of(kRemove, where(handle("d"), ".")), NFS3ERR_INVAL);
    EXPECT_EQ(status_of(kRemove, where(handle(""), "local")), NFS3ERR_ACCES);
    EXPECT_EQ(status_of(kRemove, where(handle("priv/secret"), "x")), NFS3ERR_NOTDIR);
}

TEST_F(ServerChangesTest, Rmdir) {
    EXPECT_EQ(status_of(kRmdir, where(handle(""), "d")), NFS3ERR_NOTEMPTY);
    EXPECT_EQ(status_of(kRmdir, where(handle("d"), "f")), NFS3ERR_NOTDIR);
    EXPECT_EQ(status_of(kRmdir, where(handle("d"), "absent")), NFS3ERR_NOENT);
    EXPECT_EQ(status_of(kRmdir, where(handle("d"), ".")), NFS3ERR_INVAL);
    const fattr3 before = attributes("d");
    const auto removed = call<RMDIR3res>(kRmdir, where(handle("d"), "e"));
    ASSERT_EQ(removed->status, NFS3_OK);
    EXPECT_FALSE(exists("d/e"));
    expect_wcc(removed->RMDIR3res_u.resok.dir_wcc, before, attributes("d"));
}

TEST_F(ServerChangesTest, Rename) {
    const std::string file = handle("d/f");
    const fattr3 from = attributes("d");
    const fattr3 to = attributes("d/e");
    const auto moved =
        call<RENAME3res>(kRename, where(handle("d"), "f") + where(handle("d/e"), "g"));
    ASSERT_EQ(moved->status, NFS3_OK);
    EXPECT_EQ(content("d/e/g"), "1234567");
    EXPECT_FALSE(exists("d/f"));
    EXPECT_EQ(handle("d/e/g"), file);  // it is the same file
    expect_wcc(moved->RENAME3res_u.resok.fromdir_wcc, from, attributes("d"));
    expect_wcc(moved->RENAME3res_u.resok.todir_wcc, to, attributes("d/e"));

    // Onto itself, and over another one.
    const std::uint64_t version = tree_version();
    EXPECT_EQ(status_of(kRename, where(handle("d/e"), "g") + where(handle("d/e"), "g")), NFS3_OK);
    EXPECT_EQ(tree_version(), version);
    make_file("other", "other");
    EXPECT_EQ(status_of(kRename, where(handle("d/e"), "g") + where(handle(""), "other")), NFS3_OK);
    EXPECT_EQ(content("other"), "1234567");
}

TEST_F(ServerChangesTest, WhatCannotBeRenamed) {
    make_file("d/g", "g");
    make_entry(MakeDirectory{"d/e/full"});
    make_entry(MakeDirectory{"empty"});
    const std::uint64_t version = tree_version();
    const auto rename = [&](const std::string& from, const std::string& name, const std::string& to,
                            const std::string& new_name) {
        return status_of(kRename, where(handle(from), name) + where(handle(to), new_name));
    };
    EXPECT_EQ(rename("d", "absent", "d", "x"), NFS3ERR_NOENT);
    EXPECT_EQ(rename("d", "absent", "d", "absent"), NFS3ERR_NOENT);
    EXPECT_EQ(rename("d", "f", "d", "e"), NFS3ERR_ISDIR);
    EXPECT_EQ(rename("d", "e", "d", "f"), NFS3ERR_NOTDIR);
    EXPECT_EQ(rename("", "d", "d/e", "d"), NFS3ERR_INVAL);
    EXPECT_EQ(rename("", "empty", "d", "e"), NFS3ERR_NOTEMPTY);
    EXPECT_EQ(rename("", "local", "d", "x"), NFS3ERR_ACCES);
    EXPECT_EQ(rename("d", "f", "", "local"), NFS3ERR_ACCES);
    EXPECT_EQ(rename("d/f", "x", "d", "y"), NFS3ERR_NOTDIR);
    EXPECT_EQ(rename("d", "f", "d/g", "y"), NFS3ERR_NOTDIR);
    const auto refused =
        call<RENAME3res>(kRename, where(handle("d"), "absent") + where(handle("d/e"), "x"));
    EXPECT_EQ(encoded(refused->RENAME3res_u.resfail.fromdir_wcc.after), encoded(attributes("d")));
    EXPECT_EQ(encoded(refused->RENAME3res_u.resfail.todir_wcc.after), encoded(attributes("d/e")));
    EXPECT_EQ(tree_version(), version);
}

// --- Every change ---

struct ChangeCall {
    const char* name;
    std::uint32_t procedure;
    std::string arguments;
};

/// One of each kind: on files `f`, directory `e` to be removed, and the name `new`.
std::vector<ChangeCall> all_changes(const std::string& d, const std::string& f) {
    const std::string wanted = encode(Wanted{});
    return {{"setattr size", kSetattr, opaque(f) + encode(Wanted{.size = 1}) + kNoGuard},
            {"setattr time", kSetattr, opaque(f) + encode(Wanted{.mtime = 1}) + kNoGuard},
            {"write", kWrite, opaque(f) + word64(0) + words({1, 2}) + opaque("w")},
            {"create", kCreate, where(d, "new") + words({kUnchecked}) + wanted},
            {"create guarded", kCreate, where(d, "new") + words({kGuarded}) + wanted},
            {"create exclusive", kCreate, where(d, "new") + words({kExclusive}) + "verifier"},
            {"mkdir", kMkdir, where(d, "new") + wanted},
            {"remove", kRemove, where(d, "f")},
            {"rmdir", kRmdir, where(d, "e")},
            {"rename", kRename, where(d, "f") + where(d, "new")}};
}

TEST_F(ServerChangesTest, NobodyButRootChangesAnything) {
    const std::uint64_t version = tree_version();
    for (const Credential& one : {user, www_data, member, test::nobody()}) {
        who = one;
        for (const ChangeCall& change : all_changes(handle("d"), handle("d/f"))) {
            EXPECT_EQ(status_of(change.procedure, change.arguments), NFS3ERR_ACCES) << change.name;
        }
    }
    EXPECT_EQ(tree_version(), version);
}

TEST_F(ServerChangesTest, WithoutQuorumThereIsNoChangeAndNoWaiting) {
    sequencer->hold();  // nothing must get that far
    sequencer->set_quorate(false);
    const std::uint64_t version = tree_version();
    for (const ChangeCall& change : all_changes(handle("d"), handle("d/f"))) {
        EXPECT_EQ(status_of(change.procedure, change.arguments), NFS3ERR_ACCES) << change.name;
    }
    EXPECT_EQ(sequencer->held(), 0U);
    EXPECT_EQ(tree_version(), version);
    EXPECT_EQ(attributes("d/f").mode, 0440U);
    EXPECT_EQ(status_of(kRead, opaque(handle("d/f")) + word64(0) + words({9})), NFS3_OK);
}

TEST_F(ServerChangesTest, HandlesOfWhatIsGoneAreStale) {
    make_entry(MakeDirectory{"gone"});
    make_file("gone/f", "x");
    const std::string d = handle("gone");
    const std::string f = handle("gone/f");
    make_entry(Delete{"gone/f"});
    make_entry(Delete{"gone"});
    const std::uint64_t version = tree_version();
    for (const ChangeCall& change : all_changes(d, f)) {
        EXPECT_EQ(status_of(change.procedure, change.arguments), NFS3ERR_STALE) << change.name;
    }
    EXPECT_EQ(status_of(kRename, where(handle("d"), "f") + where(d, "new")), NFS3ERR_STALE);
    EXPECT_EQ(status_of(kRename, where(d, "new") + where(d, "new")), NFS3ERR_STALE);
    for (const ChangeCall& change : all_changes("bad", "bad")) {
        EXPECT_EQ(status_of(change.procedure, change.arguments), NFS3ERR_BADHANDLE) << change.name;
    }
    EXPECT_EQ(tree_version(), version);
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
