// SPDX-License-Identifier: Apache-2.0
// What an export rule leaves out. Without sockets: to be remote takes another host.
#include <future>

#include "gateway/nfs/procedures.h"
#include "tests/unit/gateway/nfs/server_fixture.h"

namespace cfsgate::gateway::nfs {
namespace {

class RestrictionTest : public ServerTest {
protected:
    RestrictionTest() {
        make_entry(MakeDirectory{"priv/acme"});
        make_file("priv/acme/key", "acme-content");
    }
    void SetUp() override {
        sequencer = std::make_unique<HoldingSequencer>(
            replication::make_local_sequencer(*store, options.clock));
        files = std::make_unique<FileSystem>(*store, *sequencer, options, null_logger());
        adapter = std::make_shared<Adapter>(*files, ExportRules());
    }

    std::string run(std::uint32_t procedure, const std::string& arguments,
                    Answer (*program)(const AdapterPtr&, const Request&) = call_nfs3) {
        Request request;
        request.xid = 1;
        request.procedure = procedure;
        request.address = "192.0.2.1";
        request.as = std::make_shared<const ServedAs>(Identity{uid, 0, {}, &restriction});
        request.arguments = arguments;
        const Answer answer = program(adapter, request);
        if (const auto* reply = std::get_if<Reply>(&answer)) return behind_header(*reply);
        std::promise<Reply> later;
        std::get<Change>(answer).run("key",
                                     [&](Reply reply) { later.set_value(std::move(reply)); });
        return behind_header(later.get_future().get());
    }
    nfsstat3 run_status(std::uint32_t procedure, const std::string& arguments) {
        const std::string result = run(procedure, arguments);
        std::string_view at = result;
        return static_cast<nfsstat3>(test::take_word(at));
    }
    static std::string behind_header(const Reply& reply) {
        return reply.head.substr(24) + reply.data;
    }
    std::string listing(const std::string& path) {
        return run(kReaddirplus,
                   opaque(handle(path)) + word64(0) + word64(0) + words({65536, 65536}));
    }
    static bool has(const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos;
    }
    std::string read_arguments(const std::string& path) const {
        return opaque(handle(path)) + word64(0) + words({100});
    }

    Restriction restriction;
    uid_t uid = 0;
    AdapterPtr adapter;
};

TEST_F(RestrictionTest, AReadOnlyExportRefusesEveryChange) {
    restriction.read_only = true;
    restriction.private_paths = {"priv"};
    const std::string d = handle("d");
    const std::string f = handle("d/f");
    const std::string wanted = encode(Wanted{});
    const std::uint64_t version = tree_version();
    const std::vector<std::pair<std::uint32_t, std::string>> changes{
        {kSetattr, opaque(f) + encode(Wanted{.size = 1}) + words({0})},
        {kSetattr, opaque(f) + encode(Wanted{.mtime = 1}) + words({0})},
        {kWrite, opaque(f) + word64(0) + words({1, 2}) + opaque("w")},
        {kCreate, where(d, "new") + words({0}) + wanted},
        {kCreate, where(d, "new") + words({1}) + wanted},
        {kCreate, where(d, "new") + words({2}) + "verifier"},
        {kMkdir, where(d, "new") + wanted},
        {kRemove, where(d, "f")},
        {kRmdir, where(d, "e")},
        {kRename, where(d, "f") + where(d, "new")}};
    for (const auto& [procedure, arguments] : changes) {
        EXPECT_EQ(run_status(procedure, arguments), NFS3ERR_ROFS) << procedure;
    }
    EXPECT_EQ(tree_version(), version);
    const auto access = take(Decoded<ACCESS3res>::whole(run(kAccess, opaque(f) + words({0x3f}))));
    EXPECT_EQ(access->ACCESS3res_u.resok.access, std::uint32_t{ACCESS3_READ});
    EXPECT_EQ(run_status(kRead, read_arguments("d/f")), NFS3_OK);
}

TEST_F(RestrictionTest, PrivateSubtreesAreNotThere) {
    EXPECT_FALSE(has(listing(""), "priv"));
    EXPECT_TRUE(has(listing(""), "nodes"));
    EXPECT_EQ(run_status(kLookup, where(handle(""), "priv")), NFS3ERR_NOENT);
    for (const char* path : {"priv", "priv/secret", "priv/acme", "priv/acme/key"}) {
        EXPECT_EQ(run(kGetattr, opaque(handle(path))), words({NFS3ERR_ACCES})) << path;
        EXPECT_EQ(run(kAccess, opaque(handle(path)) + words({0x3f})), words({NFS3ERR_ACCES, 0}));
        EXPECT_EQ(run(kRead, read_arguments(path)), words({NFS3ERR_ACCES, 0})) << path;
    }
    EXPECT_EQ(run_status(kLookup, where(handle("priv"), "secret")), NFS3ERR_ACCES);
    EXPECT_EQ(listing("priv"), words({NFS3ERR_ACCES, 0}));
    EXPECT_EQ(run(1, opaque("/etc/pve/priv"), call_mount3), words({MNT3ERR_NOENT}));
    // Nothing can be made or moved there either.
    const std::uint64_t version = tree_version();
    EXPECT_EQ(run_status(kMkdir, where(handle("priv"), "new") + encode(Wanted{})), NFS3ERR_ACCES);
    EXPECT_EQ(run_status(kRename, where(handle("d"), "f") + where(handle("priv"), "f")),
              NFS3ERR_ACCES);
    EXPECT_EQ(run_status(kRemove, where(handle("priv"), "secret")), NFS3ERR_ACCES);
    EXPECT_EQ(
        run_status(kWrite, opaque(handle("priv/secret")) + word64(0) + words({1, 2}) + opaque("w")),
        NFS3ERR_ACCES);
    EXPECT_EQ(tree_version(), version);
}

TEST_F(RestrictionTest, AnExportedPrivateSubtreeIsAllThatIsThere) {
    restriction.private_paths = {"priv/acme"};
    EXPECT_TRUE(has(listing(""), "priv"));
    const std::string priv = listing("priv");
    EXPECT_FALSE(has(priv, "secret"));
    EXPECT_EQ(run_status(kLookup, where(handle("priv"), "secret")), NFS3ERR_NOENT);
    EXPECT_EQ(run_status(kGetattr, opaque(handle("priv/secret"))), NFS3ERR_ACCES);
    EXPECT_TRUE(has(listing("priv/acme"), "key"));
    EXPECT_TRUE(has(run(kRead, read_arguments("priv/acme/key")), "acme-content"));
    // It is root's alone there, too.
    uid = 1000;
    EXPECT_EQ(run_status(kRead, read_arguments("priv/acme/key")), NFS3ERR_ACCES);
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
