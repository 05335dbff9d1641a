// SPDX-License-Identifier: Apache-2.0
// MOUNT, over a socket.
#include "tests/unit/gateway/nfs/server_fixture.h"

namespace cfsgate::gateway::nfs {
namespace {

enum MountProcedure : std::uint32_t { kMnt = 1, kDump, kUmnt, kUmntAll, kExport };

class ServerMountTest : public ServerTest {
protected:
    std::string mount_call(std::uint32_t procedure, const std::string& arguments) {
        Call call = make_call(procedure, arguments);
        call.program = test::kMount;
        return result_of(call);
    }
    std::string mnt(const std::string& path) { return mount_call(kMnt, opaque(path)); }
    std::string mounted(const std::string& path) {
        return words({0}) + opaque(handle(path)) + words({1, 1});  // one flavour: AUTH_SYS
    }
    std::string listed(const std::vector<std::string>& paths) {
        std::string out;
        for (const std::string& path : paths) {
            out += words({1}) + opaque("127.0.0.1") + opaque(path);
        }
        return out + words({0});
    }
};

TEST_F(ServerMountTest, Null) {
    EXPECT_EQ(mount_call(0, ""), "");
    who = test::nobody();
    EXPECT_EQ(mount_call(0, ""), "");
}

TEST_F(ServerMountTest, TheExportAndDirectoriesInIt) {
    EXPECT_EQ(mnt("/etc/pve"), mounted(""));
    EXPECT_EQ(mnt("/etc/pve/"), mounted(""));
    EXPECT_EQ(mnt("/etc/pve/d"), mounted("d"));
    EXPECT_EQ(mnt("/etc/pve//d/./e/"), mounted("d/e"));
    EXPECT_EQ(mnt("/etc/pve/priv"), mounted("priv"));
}

TEST_F(ServerMountTest, WhatCannotBeMounted) {
    EXPECT_EQ(mnt("/etc/pve/d/f"), words({MNT3ERR_NOTDIR}));
    EXPECT_EQ(mnt("/etc/pve/d/f/x"), words({MNT3ERR_NOTDIR}));
    EXPECT_EQ(mnt("/etc/pve/local"), words({MNT3ERR_NOTDIR}));
    EXPECT_EQ(mnt("/etc/pve/absent"), words({MNT3ERR_NOENT}));
    for (const char* path : {"", "/", "/etc", "/etc/pvex", "/etc/pved", "/etc/pved/e", "/etc/pv",
                             "etc/pve", "/etc/pve/..", "/etc/pve/d/..", "/etc/passwd"}) {
        EXPECT_EQ(mnt(path), words({MNT3ERR_NOENT})) << path;
    }
    who = user;
    EXPECT_EQ(mnt("/etc/pve/priv/secret"), words({MNT3ERR_ACCES}));
    EXPECT_EQ(mnt("/etc/pve/priv/absent"), words({MNT3ERR_ACCES}));
    EXPECT_EQ(mnt("/etc/pve"), mounted(""));
}

TEST_F(ServerMountTest, PathsHaveTheirLimit) {
    EXPECT_EQ(mnt("/etc/pve/" + std::string(1024 - 9, '/')), mounted(""));
    Call call = make_call(kMnt, opaque("/etc/pve/" + std::string(1025 - 9, '/')));
    call.program = test::kMount;
    EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, 4}));
}

TEST_F(ServerMountTest, MountsAreListedUntilTheyEnd) {
    EXPECT_EQ(mount_call(kDump, ""), listed({}));
    mnt("/etc/pve");
    mnt("/etc/pve/d");
    mnt("/etc/pve/d");
    mnt("/etc/pve/absent");
    EXPECT_EQ(mount_call(kDump, ""), listed({"/etc/pve", "/etc/pve/d"}));
    EXPECT_EQ(mount_call(kUmnt, opaque("/etc/pve")), "");
    EXPECT_EQ(mount_call(kUmnt, opaque("/never/mounted")), "");
    EXPECT_EQ(mount_call(kDump, ""), listed({"/etc/pve/d"}));
    mnt("/etc/pve");
    EXPECT_EQ(mount_call(kUmntAll, ""), "");
    EXPECT_EQ(mount_call(kDump, ""), listed({}));
}

TEST_F(ServerMountTest, TheListOfMountsIsBounded) {
    for (std::size_t i = 0; i < 1500; ++i) {
        // Many ways to say the same.
        mnt("/etc/pve" + std::string(i % 1000, '/') + (i < 1000 ? "" : "d/e"));
    }
    const std::string list = mount_call(kDump, "");
    std::string_view rest = list;
    std::size_t count = 0;
    while (test::take_word(rest) == 1) {
        rest.remove_prefix(4 + 12);
        const std::size_t size = test::take_word(rest);
        rest.remove_prefix(size + (4 - size % 4) % 4);
        ++count;
    }
    EXPECT_EQ(count, 1024U);
}

TEST_F(ServerMountTest, TheExportIsListedWithItsNetworks) {
    server_options.networks = {"192.0.2.0/24", "2001:db8::/32"};
    start_server();
    EXPECT_EQ(mount_call(kExport, ""),
              words({1}) + opaque("/etc/pve") + words({1}) + opaque("localhost") + words({1}) +
                  opaque("192.0.2.0/24") + words({1}) + opaque("2001:db8::/32") + words({0, 0}));
}

TEST_F(ServerMountTest, ArgumentsMustBeWholeAndNoMore) {
    for (std::uint32_t procedure = 0; procedure <= kExport; ++procedure) {
        const bool path = procedure == kMnt || procedure == kUmnt;
        for (const std::string& arguments :
             {path ? std::string() : words({0}), path ? words({9}) : std::string("x"),
              path ? opaque("/etc/pve") + words({0}) : words({0, 0})}) {
            Call call = make_call(procedure, arguments);
            call.program = test::kMount;
            EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, 4})) << procedure;
        }
    }
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
