// SPDX-License-Identifier: Apache-2.0
// The lock manager and the status monitor, over a socket.
#include <chrono>

#include "gateway/lock_table.h"
#include "gateway/nfs/lock_clients.h"
#include "store/base/files.h"
#include "tests/support/temp_directory.h"
#include "tests/unit/gateway/nfs/server_fixture.h"

namespace cfsgate::gateway::nfs {
namespace {

/// Of whom and of what a lock is; exclusive, of the whole file, where nothing else is said.
struct Lock {
    std::string client = "alpha";
    std::string path = "d/f";
    std::uint32_t svid = 1;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool exclusive = true;
    bool block = false;
    bool reclaim = false;
    std::uint32_t state = 3;
};

class ServerLocksTest : public ServerTest {
protected:
    void SetUp() override {
        server_options.locks.clients_file = kept.file("clients");
        server_options.locks.grace = std::chrono::seconds(30);
        ServerTest::SetUp();
    }

    std::string nlm(std::uint32_t procedure, const std::string& arguments) {
        Call call = make_call(procedure, arguments);
        call.program = NLM_PROGRAM;
        call.version = NLM_V4;
        return result_of(call);
    }
    std::string nsm(std::uint32_t procedure, const std::string& arguments) {
        Call call = make_call(procedure, arguments);
        call.program = SM_PROGRAM;
        call.version = SM_V1;
        return result_of(call);
    }

    std::string alock(const Lock& lock) {
        return opaque(lock.client) + opaque(handle(lock.path)) +
               opaque(std::to_string(lock.svid) + "@" + lock.client) + words({lock.svid}) +
               word64(lock.offset) + word64(lock.length);
    }
    std::string lock_arguments(const Lock& lock) {
        return opaque("cookie") + words({lock.block, lock.exclusive}) + alock(lock) +
               words({lock.reclaim, lock.state});
    }
    std::uint32_t stat(const std::string& result) {
        EXPECT_TRUE(result.starts_with(opaque("cookie")));
        std::string_view at = std::string_view(result).substr(opaque("cookie").size());
        return test::take_word(at);
    }
    std::uint32_t lock(const Lock& what) { return stat(nlm(NLMPROC4_LOCK, lock_arguments(what))); }
    std::uint32_t unlock(const Lock& what) {
        return stat(nlm(NLMPROC4_UNLOCK, opaque("cookie") + alock(what)));
    }
    std::uint32_t cancel(const Lock& what) {
        return stat(nlm(NLMPROC4_CANCEL,
                        opaque("cookie") + words({what.block, what.exclusive}) + alock(what)));
    }
    std::string test_lock(const Lock& what) {
        return nlm(NLMPROC4_TEST, opaque("cookie") + words({what.exclusive}) + alock(what));
    }
    LockTable::Totals totals() const { return files->locks().totals(); }

    test::TempDirectory kept;
    const Lock a;
    const Lock b{.client = "beta"};
};

TEST_F(ServerLocksTest, OneHostKeepsAnotherOut) {
    EXPECT_EQ(lock(a), NLM4_GRANTED);
    EXPECT_EQ(lock(b), NLM4_DENIED);
    EXPECT_EQ(unlock(b), NLM4_GRANTED);  // it had none, and has taken nobody's
    EXPECT_EQ(lock(b), NLM4_DENIED);
    EXPECT_EQ(unlock(a), NLM4_GRANTED);
    EXPECT_EQ(lock(b), NLM4_GRANTED);
}

TEST_F(ServerLocksTest, ProcessesOfAHostKeepEachOtherOut) {
    Lock other = a;
    other.svid = 2;
    EXPECT_EQ(lock(a), NLM4_GRANTED);
    EXPECT_EQ(lock(other), NLM4_DENIED);
}

TEST_F(ServerLocksTest, WhatComesTwiceIsAnsweredTheSame) {
    EXPECT_EQ(lock(a), NLM4_GRANTED);
    EXPECT_EQ(lock(a), NLM4_GRANTED);
    EXPECT_EQ(totals().locks, 1U);
    Lock waiting = b;
    waiting.block = true;
    EXPECT_EQ(lock(waiting), NLM4_BLOCKED);
    EXPECT_EQ(lock(waiting), NLM4_BLOCKED);
    EXPECT_EQ(totals().waiting, 1U);
    EXPECT_EQ(cancel(waiting), NLM4_GRANTED);
    EXPECT_EQ(cancel(waiting), NLM4_GRANTED);
    EXPECT_EQ(totals().waiting, 0U);
    EXPECT_EQ(unlock(a), NLM4_GRANTED);
    EXPECT_EQ(unlock(a), NLM4_GRANTED);
    EXPECT_EQ(totals().locks, 0U);
}

TEST_F(ServerLocksTest, WhoAsksAgainGetsWhatItWaitedFor) {
    Lock waiting = b;
    waiting.block = true;
    EXPECT_EQ(lock(a), NLM4_GRANTED);
    EXPECT_EQ(lock(waiting), NLM4_BLOCKED);
    EXPECT_EQ(unlock(a), NLM4_GRANTED);  // the call that follows reaches nobody here
    EXPECT_EQ(lock(a), NLM4_DENIED);
    EXPECT_EQ(lock(waiting), NLM4_GRANTED);
    EXPECT_EQ(unlock(waiting), NLM4_GRANTED);
    EXPECT_EQ(totals().locks, 0U);
}

TEST_F(ServerLocksTest, WhoGivesUpWhatIsGrantedHoldsNothing) {
    Lock waiting = b;
    waiting.block = true;
    lock(a);
    lock(waiting);
    unlock(a);
    EXPECT_EQ(cancel(waiting), NLM4_GRANTED);
    EXPECT_EQ(totals().locks, 0U);
}

TEST_F(ServerLocksTest, ACircleIsRefused) {
    Lock first = a;
    first.length = 1;
    Lock second = b;
    second.offset = second.length = 1;
    EXPECT_EQ(lock(first), NLM4_GRANTED);
    EXPECT_EQ(lock(second), NLM4_GRANTED);
    Lock wait = second;
    wait.client = a.client;
    wait.block = true;
    EXPECT_EQ(lock(wait), NLM4_BLOCKED);
    wait = first;
    wait.client = b.client;
    wait.block = true;
    EXPECT_EQ(lock(wait), NLM4_DEADLCK);
}

TEST_F(ServerLocksTest, RangesBeyondWhatAFileCanHaveGoToTheEnd) {
    Lock wide = a;
    wide.offset = 10;
    wide.length = UINT64_MAX;
    EXPECT_EQ(lock(wide), NLM4_GRANTED);
    Lock other = b;
    other.length = 10;
    EXPECT_EQ(lock(other), NLM4_GRANTED);
    other.offset = INT64_MAX;
    EXPECT_EQ(lock(other), NLM4_DENIED);
}

TEST_F(ServerLocksTest, WhoHoldsItIsTold) {
    EXPECT_EQ(test_lock(b), opaque("cookie") + words({NLM4_GRANTED}));
    Lock part = a;
    part.offset = 4;
    part.length = 2;
    lock(part);
    EXPECT_EQ(test_lock(b), opaque("cookie") + words({NLM4_DENIED, 1, 1}) + opaque("1@alpha") +
                                word64(4) + word64(2));
    EXPECT_EQ(test_lock(a), opaque("cookie") + words({NLM4_GRANTED}));
    unlock(part);
    LockRequest mine{take(files->resolve("d/f")),
                     {LockOwner::Kind::Range, "", "x"},
                     LockType::Shared,
                     {},
                     77,
                     ""};
    files->locks().try_lock(mine);
    EXPECT_EQ(test_lock(b),
              opaque("cookie") + words({NLM4_DENIED, 0, 77}) + opaque("") + word64(0) + word64(0));
}

TEST_F(ServerLocksTest, WhoMayReadMayLockAndNobodyElse) {
    Lock secret = a;
    secret.path = "priv/secret";
    who = www_data;
    EXPECT_EQ(lock(a), NLM4_GRANTED);
    EXPECT_EQ(lock(secret), NLM4_FAILED);
    EXPECT_EQ(test_lock(secret), opaque("cookie") + words({NLM4_FAILED}));
    who = test::nobody();
    EXPECT_EQ(lock(a), NLM4_FAILED);
    EXPECT_EQ(unlock(a), NLM4_GRANTED);
    EXPECT_EQ(totals().locks, 0U);
}

TEST_F(ServerLocksTest, OnlyFilesAreLocked) {
    Lock directory_lock = a;
    directory_lock.path = "d";
    EXPECT_EQ(lock(directory_lock), NLM4_FAILED);
    const std::string arguments = lock_arguments(a);
    files->locks().release_client("");
    std::string stale = arguments;
    const std::size_t at = stale.find(handle("d/f"));
    stale[at + 5] = static_cast<char>(stale[at + 5] ^ 1);
    EXPECT_EQ(stat(nlm(NLMPROC4_LOCK, stale)), NLM4_STALE_FH);
}

TEST_F(ServerLocksTest, ALockEndsWithItsFile) {
    EXPECT_EQ(lock(a), NLM4_GRANTED);
    EXPECT_EQ(status_of(kRemove, opaque(handle("d")) + opaque("f")), NFS3_OK);
    EXPECT_TRUE(wait_until([&] { return totals().locks == 0; }));
}

TEST_F(ServerLocksTest, ARestartedHostHoldsNothing) {
    lock(a);
    lock({.client = "gamma", .path = "d/f", .exclusive = false});
    Lock waiting = b;
    waiting.block = true;
    lock(waiting);
    EXPECT_EQ(nsm(SM_NOTIFY, opaque("other") + words({5})), "");
    EXPECT_EQ(totals().locks, 1U);
    EXPECT_EQ(nsm(SM_NOTIFY, opaque("alpha") + words({3})), "");  // the state that it locked with
    EXPECT_EQ(totals().locks, 1U);
    EXPECT_EQ(nsm(SM_NOTIFY, opaque("beta.example.org") + words({5})), "");
    EXPECT_EQ(totals().waiting, 0U);
    EXPECT_EQ(nsm(SM_NOTIFY, opaque("alpha") + words({5})), "");
    EXPECT_EQ(totals().locks, 0U);
}

TEST_F(ServerLocksTest, FreeAllFreesAllOfOneHost) {
    lock(a);
    EXPECT_EQ(nlm(NLMPROC4_FREE_ALL, opaque("beta") + words({1})), "");
    EXPECT_EQ(totals().locks, 1U);
    EXPECT_EQ(nlm(NLMPROC4_FREE_ALL, opaque("alpha") + words({1})), "");
    EXPECT_EQ(totals().locks, 0U);
}

TEST_F(ServerLocksTest, AnotherUserOfTheSameHostCannotTouchThem) {
    lock(a);
    connect(1024 + 700);
    who = {true, 0, 0, {}};
    const Call call{++xid,     SM_PROGRAM,     SM_V1,
                    SM_NOTIFY, test::nobody(), opaque("alpha") + words({5})};
    client->ask(call);
    EXPECT_EQ(totals().locks, 1U);
}

TEST_F(ServerLocksTest, AfterARestartOnlyWhatWasHeldIsGivenAtFirst) {
    lock(a);
    start();
    EXPECT_EQ(totals().locks, 0U);
    EXPECT_EQ(lock(b), NLM4_DENIED_GRACE_PERIOD);
    EXPECT_EQ(test_lock(b), opaque("cookie") + words({NLM4_DENIED_GRACE_PERIOD}));
    Lock claimed = b;
    claimed.reclaim = true;
    EXPECT_EQ(lock(claimed), NLM4_DENIED_NOLOCKS);  // it held none
    claimed.client = a.client;
    EXPECT_EQ(lock(claimed), NLM4_GRANTED);
    EXPECT_EQ(lock(claimed), NLM4_GRANTED);
    EXPECT_EQ(unlock(claimed), NLM4_GRANTED);
}

TEST_F(ServerLocksTest, WithoutLocksBeforeThereIsNoGracePeriod) {
    lock(a);
    unlock(a);
    start();
    EXPECT_EQ(lock(b), NLM4_GRANTED);
    Lock late = a;
    late.reclaim = true;
    EXPECT_EQ(lock(late), NLM4_DENIED_GRACE_PERIOD);  // too late for it
}

TEST_F(ServerLocksTest, TheStateGrowsAndStaysOdd) {
    lock(a);
    const auto first = take(parse_lock_clients(take(read_small_file(kept.file("clients")))));
    start();
    const auto second = take(parse_lock_clients(take(read_small_file(kept.file("clients")))));
    EXPECT_EQ(first.state % 2, 1);
    EXPECT_EQ(second.state, first.state + 2);
    EXPECT_EQ(second.clients, first.clients);
    EXPECT_EQ(nsm(SM_UNMON_ALL, opaque("x") + words({1, 2, 3})),
              words({static_cast<std::uint32_t>(second.state)}));
    EXPECT_EQ(nsm(SM_STAT, opaque("x")),
              words({STAT_FAIL, static_cast<std::uint32_t>(second.state)}));
}

TEST_F(ServerLocksTest, UnmonitoredLocksAreNotKept) {
    EXPECT_EQ(stat(nlm(NLMPROC4_NM_LOCK, lock_arguments(a))), NLM4_GRANTED);
    EXPECT_EQ(lock(b), NLM4_DENIED);
    Lock reader = b;
    reader.path = "d/f";
    unlock(a);
    start();
    EXPECT_EQ(lock(reader), NLM4_GRANTED);
}

TEST_F(ServerLocksTest, OneAddressCannotTakeAllPlaces) {
    for (int i = 0; i < 64; ++i) {
        const Lock shared{.client = "host" + std::to_string(i), .exclusive = false};
        ASSERT_EQ(lock(shared), NLM4_GRANTED) << i;
    }
    EXPECT_EQ(lock({.client = "one-more", .exclusive = false}), NLM4_DENIED_NOLOCKS);
    EXPECT_EQ(lock({.client = "host5", .svid = 2, .exclusive = false}), NLM4_GRANTED);
}

TEST_F(ServerLocksTest, SharesAreRefused) {
    const std::string share =
        opaque("cookie") + opaque("alpha") + opaque(handle("d/f")) + opaque("o") + words({1, 1, 0});
    EXPECT_EQ(nlm(NLMPROC4_SHARE, share), opaque("cookie") + words({NLM4_FAILED, 0}));
    EXPECT_EQ(nlm(NLMPROC4_UNSHARE, share), opaque("cookie") + words({NLM4_GRANTED, 0}));
}

TEST_F(ServerLocksTest, MessagesDoTheSameAndSayNothing) {
    EXPECT_EQ(nlm(NLMPROC4_LOCK_MSG, lock_arguments(a)), "");
    EXPECT_TRUE(wait_until([&] { return totals().locks == 1; }));
    EXPECT_EQ(nlm(NLMPROC4_UNLOCK_MSG, opaque("cookie") + alock(a)), "");
    EXPECT_EQ(totals().locks, 0U);
    EXPECT_EQ(nlm(NLMPROC4_TEST_MSG, opaque("cookie") + words({1}) + alock(a)), "");
    EXPECT_EQ(nlm(NLMPROC4_GRANTED_RES, opaque("cookie") + words({NLM4_GRANTED})), "");
    EXPECT_EQ(stat(nlm(NLMPROC4_GRANTED, opaque("cookie") + words({1}) + alock(a))), NLM4_DENIED);
}

TEST_F(ServerLocksTest, HalfARequestIsGarbage) {
    const std::string arguments = lock_arguments(a);
    for (std::size_t size = 0; size < arguments.size(); size += 4) {
        Call call = make_call(NLMPROC4_LOCK, arguments.substr(0, size));
        call.program = NLM_PROGRAM;
        call.version = NLM_V4;
        EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, RPC2_GARBAGE_ARGS})) << size;
    }
    Call call = make_call(16, "");
    call.program = NLM_PROGRAM;
    call.version = NLM_V4;
    EXPECT_EQ(client->ask(call), words({call.xid, 1, 0, 0, 0, RPC2_PROC_UNAVAIL}));
    Lock named = a;
    named.client = "two words";
    EXPECT_EQ(lock(named), NLM4_FAILED);
}

TEST(LockClientsTest, AListIsReadAsItWasWritten) {
    LockClientList list;
    list.state = 77;
    for (const char* name : {"alpha", "beta.example.org"}) {
        const LockClient client{name, *IpAddress::parse("10.0.0.1"), *IpAddress::parse("::1"),
                                "uid1000"};
        list.clients.emplace(client.key(), client);
    }
    const auto parsed = parse_lock_clients(format_lock_clients(list));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->state, 77);
    EXPECT_EQ(parsed->clients, list.clients);
}

TEST(LockClientsTest, WhatIsNoListIsRefused) {
    const std::string title = "cfsgate-lock-clients 1\n";
    EXPECT_TRUE(parse_lock_clients(title + "state 5\n"));
    for (const char* rest : {"", "state x\n", "state 5\nclient 10.0.0.1\n",
                             "state 5\nclient 10.0.0 10.0.0.1 - a\n", "state 5\nother\n"}) {
        EXPECT_FALSE(parse_lock_clients(title + rest)) << rest;
    }
    EXPECT_FALSE(parse_lock_clients("state 5\n"));
    EXPECT_FALSE(is_plain_name("a b"));
    EXPECT_FALSE(is_plain_name("a\n"));
    EXPECT_FALSE(is_plain_name(""));
    EXPECT_FALSE(is_plain_name(std::string(256, 'a')));
    EXPECT_TRUE(is_plain_name("alpha.example.org"));
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
