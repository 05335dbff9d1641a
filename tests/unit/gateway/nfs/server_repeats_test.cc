// SPDX-License-Identifier: Apache-2.0
// Requests that come twice, and answers that come late.
#include <map>

#include "tests/unit/gateway/nfs/server_fixture.h"

namespace cfsgate::gateway::nfs {
namespace {

class ServerRepeatsTest : public ServerTest {
protected:
    Call remove_call() { return make_call(kRemove, where(handle("d"), "f")); }
    Call write_call(const std::string& data = "w") {
        return make_call(kWrite, opaque(handle("d/f")) + word64(0) +
                                     words({static_cast<std::uint32_t>(data.size()), 2}) +
                                     opaque(data));
    }
    /// The status in a whole reply that is accepted.
    static nfsstat3 status_in(const std::string& reply) {
        std::string_view at = reply;
        at.remove_prefix(24);
        return static_cast<nfsstat3>(test::take_word(at));
    }
    nfsstat3 ask_status(const Call& call) { return status_in(client->ask(call)); }
    std::uint64_t replayed() const { return server->counters().repeats_replayed.load(); }
};

TEST_F(ServerRepeatsTest, ARepeatGetsTheFirstAnswerAndIsNotDone) {
    const std::vector<Call> calls{
        make_call(kCreate, where(handle("d"), "new") + words({1}) + encode(Wanted{})),
        make_call(kMkdir, where(handle("d"), "dir") + encode(Wanted{})),
        write_call(),
        make_call(kSetattr, opaque(handle("d/f")) + encode(Wanted{.mtime = 7}) + words({0})),
        make_call(kRename, where(handle("d"), "f") + where(handle("d"), "g")),
        make_call(kRemove, where(handle("d"), "g")),
        make_call(kRmdir, where(handle("d"), "dir"))};
    for (const Call& call : calls) {
        const std::uint64_t version = tree_version();
        const std::string first = client->ask(call);
        EXPECT_EQ(status_in(first), NFS3_OK) << call.procedure;
        EXPECT_EQ(tree_version(), version + 1) << call.procedure;
        EXPECT_EQ(client->ask(call), first) << call.procedure;
        EXPECT_EQ(client->ask(call), first) << call.procedure;
        EXPECT_EQ(tree_version(), version + 1) << call.procedure;
    }
    EXPECT_EQ(replayed(), 2 * calls.size());
    // Also much later than the others.
    for (const Call& call : calls) EXPECT_EQ(ask_status(call), NFS3_OK) << call.procedure;
}

TEST_F(ServerRepeatsTest, ARefusalIsRepeatedToo) {
    const Call absent = make_call(kRemove, where(handle("d"), "later"));
    const std::string first = client->ask(absent);
    EXPECT_EQ(status_in(first), NFS3ERR_NOENT);
    make_file("d/later", "x");
    EXPECT_EQ(client->ask(absent), first);
    EXPECT_TRUE(exists("d/later"));
}

TEST_F(ServerRepeatsTest, AfterAReconnectFromTheSamePort) {
    const Call call = remove_call();
    const std::string first = client->ask(call);
    const std::uint16_t port = client->port();
    connect(port);
    ASSERT_EQ(client->port(), port);
    EXPECT_EQ(client->ask(call), first);
    EXPECT_EQ(replayed(), 1U);
}

TEST_F(ServerRepeatsTest, AfterAStart) {
    const std::vector<Call> calls{
        make_call(kCreate, where(handle("d"), "new") + words({2}) + "verifier"), write_call(),
        make_call(kRename, where(handle("d"), "f") + where(handle("d/e"), "g"))};
    std::vector<std::string> replies;
    for (const Call& call : calls) {
        replies.push_back(client->ask(call));
        EXPECT_EQ(status_in(replies.back()), NFS3_OK);
    }
    const std::uint64_t version = tree_version();
    const std::uint16_t port = client->port();
    for (const bool store_too : {false, true}) {
        store_too ? start() : start_server();
        connect(port);
        ASSERT_EQ(client->port(), port);
        for (std::size_t i = 0; i < calls.size(); ++i) {
            EXPECT_EQ(client->ask(calls[i]), replies[i]) << calls[i].procedure;
        }
        EXPECT_EQ(replayed(), calls.size());
        EXPECT_EQ(tree_version(), version);
    }
}

TEST_F(ServerRepeatsTest, RepliesOfTenMinutesAgoAreForgotten) {
    const Call call = remove_call();
    EXPECT_EQ(ask_status(call), NFS3_OK);
    const std::uint16_t port = client->port();
    directory.now += 599;
    start();
    connect(port);
    EXPECT_EQ(ask_status(call), NFS3_OK);
    directory.now += 2;
    start();
    connect(port);
    EXPECT_EQ(ask_status(call), NFS3ERR_NOENT);
}

TEST_F(ServerRepeatsTest, AnotherRequestIsDone) {
    const Call first = remove_call();
    EXPECT_EQ(ask_status(first), NFS3_OK);
    const auto expect_done = [&](const Call& call, nfsstat3 status) {
        EXPECT_EQ(ask_status(call), status);
        EXPECT_EQ(replayed(), 0U);
    };
    Call other_xid = first;
    other_xid.xid += 1000;
    expect_done(other_xid, NFS3ERR_NOENT);
    Call other_procedure = first;
    other_procedure.procedure = kRmdir;
    expect_done(other_procedure, NFS3ERR_NOENT);
    Call other_arguments = first;
    other_arguments.arguments = where(handle("d"), "g");
    expect_done(other_arguments, NFS3ERR_NOENT);
    for (const Credential& other : {Credential{true, 0, 1, {}}, Credential{true, 0, 0, {0}}}) {
        Call other_caller = first;
        other_caller.as = other;
        expect_done(other_caller, NFS3ERR_NOENT);
    }
    Call user_call = first;
    user_call.as = user;
    expect_done(user_call, NFS3ERR_NOENT);
    connect(static_cast<std::uint16_t>(client->port() + 1));
    expect_done(first, NFS3ERR_NOENT);
}

TEST_F(ServerRepeatsTest, WhatOnlyReadsIsDoneAgain) {
    const Call read = make_call(kGetattr, opaque(handle("d/f")));
    const std::string first = client->ask(read);
    make_entry(Delete{"d/f"});
    EXPECT_NE(client->ask(read), first);
    EXPECT_EQ(replayed(), 0U);
}

// --- Several at a time ---

TEST_F(ServerRepeatsTest, ChangesInAPipelineAreAllAnswered) {
    std::vector<Call> calls;
    std::string stream;
    for (int i = 0; i < 100; ++i) {
        calls.push_back(make_call(kCreate, where(handle("d"), "new" + std::to_string(i)) +
                                               words({1}) + encode(Wanted{})));
        stream += test::as_record(test::encode_call(calls.back()));
    }
    client->send_bytes(stream);
    std::map<std::uint32_t, nfsstat3> answers;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        const std::string reply = client->receive().value();
        std::string_view at = reply;
        answers[test::take_word(at)] = status_in(reply);
    }
    for (const Call& call : calls) {
        ASSERT_EQ(answers.count(call.xid), 1U);
        EXPECT_EQ(answers[call.xid], NFS3_OK);
    }
}

TEST_F(ServerRepeatsTest, AReadOvertakesAChange) {
    sequencer->hold();
    const Call change = remove_call();
    const Call read = make_call(kGetattr, opaque(handle("d/f")));
    client->send(change);
    EXPECT_EQ(ask_status(read), NFS3_OK);
    sequencer->release();
    const std::string late = client->receive().value();
    EXPECT_TRUE(late.starts_with(words({change.xid})));
    EXPECT_EQ(status_in(late), NFS3_OK);
}

// --- No answer ---

TEST_F(ServerRepeatsTest, ARepeatOfWhatIsInWorkIsDropped) {
    sequencer->hold();
    const Call call = remove_call();
    client->send(call);
    client->send(call);
    ASSERT_TRUE(wait_until([&] { return server->counters().repeats_dropped.load() == 1; }));
    const std::uint16_t port = client->port();
    connect(port);
    ASSERT_EQ(client->port(), port);
    client->send(call);
    ASSERT_TRUE(wait_until([&] { return server->counters().repeats_dropped.load() == 2; }));
    ASSERT_TRUE(wait_until([&] { return sequencer->held() == 1; }));
    sequencer->release();
    ASSERT_TRUE(wait_until([&] { return !exists("d/f"); }));
    // Whoever asked has gone; the answer is kept for the repeat.
    EXPECT_TRUE(wait_until([&] {
        client->send(call);
        const auto reply = client->receive(std::chrono::milliseconds(200));
        return reply && status_in(*reply) == NFS3_OK;
    }));
    EXPECT_EQ(sequencer->held(), 0U);
}

TEST_F(ServerRepeatsTest, AfterTheDeadlineTryAgainLaterWhereThatDoesNoHarm) {
    server_options.deadline = std::chrono::milliseconds(50);
    start_server();
    sequencer->hold();
    make_file("d/g", "g");
    const Call write = write_call();
    const Call unchecked =
        make_call(kCreate, where(handle("d"), "u") + words({0}) + encode(Wanted{}));
    const Call exclusive = make_call(kCreate, where(handle("d"), "x") + words({2}) + "verifier");
    const Call setattr =
        make_call(kSetattr, opaque(handle("d/g")) + encode(Wanted{.mtime = 7}) + words({0}));
    const Call commit = make_call(kCommit, opaque(handle("d/f")) + word64(0) + words({0}));
    const fattr3 d = attributes("d/g");
    const std::vector<Call> harmful{
        remove_call(),
        make_call(kRmdir, where(handle("d"), "e")),
        make_call(kMkdir, where(handle("d"), "new") + encode(Wanted{})),
        make_call(kRename, where(handle("d"), "g") + where(handle("d"), "h")),
        make_call(kCreate, where(handle("d"), "v") + words({1}) + encode(Wanted{})),
        make_call(kSetattr, opaque(handle("d/g")) + encode(Wanted{.size = 0}) +
                                words({1, d.ctime.seconds, d.ctime.nseconds}))};
    for (const Call& call : harmful) client->send(call);
    const std::vector<Call> harmless{write, unchecked, exclusive, setattr, commit};
    for (const Call& call : harmless) client->send(call);
    std::map<std::uint32_t, nfsstat3> answers;
    for (std::size_t i = 0; i < harmless.size(); ++i) {
        const std::string reply = client->receive().value();
        std::string_view at = reply;
        answers[test::take_word(at)] = status_in(reply);
    }
    for (const Call& call : harmless)
        EXPECT_EQ(answers[call.xid], NFS3ERR_JUKEBOX) << call.procedure;
    EXPECT_EQ(server->counters().late.load(), harmless.size());
    // Of the others nothing is heard, however often they ask, until it is known.
    for (const Call& call : harmful) client->send(call);
    EXPECT_FALSE(client->receive(std::chrono::milliseconds(1500)));
    EXPECT_EQ(server->counters().repeats_dropped.load(), harmful.size());
    sequencer->release();
    for (std::size_t i = 0; i < harmful.size(); ++i) {
        const std::string reply = client->receive().value();
        std::string_view at = reply;
        const std::uint32_t answered = test::take_word(at);
        EXPECT_EQ(answers.count(answered), 0U);
        answers[answered] = status_in(reply);
    }
    for (const Call& call : harmful) EXPECT_EQ(answers.count(call.xid), 1U) << call.procedure;
    EXPECT_FALSE(client->receive(std::chrono::milliseconds(100)));  // no second answers
    // The outcome is kept for the repeat.
    EXPECT_EQ(ask_status(harmful[0]), NFS3_OK);
    EXPECT_FALSE(exists("d/f"));
}

TEST_F(ServerRepeatsTest, AServerThatStopsLeavesTheOutcomeToTheNext) {
    sequencer->hold();
    const Call call = remove_call();
    const std::uint16_t port = client->port();
    client->send(call);
    ASSERT_TRUE(wait_until([&] { return sequencer->held() == 1; }));
    server->stop();
    sequencer->release();
    ASSERT_TRUE(wait_until([&] { return !exists("d/f"); }));
    start_server();
    connect(port);
    ASSERT_EQ(client->port(), port);
    EXPECT_EQ(ask_status(call), NFS3_OK);
    EXPECT_EQ(replayed(), 1U);
}

// --- Limits ---

TEST_F(ServerRepeatsTest, BeyondItsCallsInWorkAClientIsNotReadButOthersAre) {
    server_options.limits.calls_in_work = 4;
    start_server();
    sequencer->hold();
    for (int i = 0; i < 10; ++i) {
        client->send(
            make_call(kMkdir, where(handle("d"), "n" + std::to_string(i)) + encode(Wanted{})));
    }
    ASSERT_TRUE(wait_until([&] { return sequencer->held() == 4; }));
    const auto own = std::move(client);
    connect();
    EXPECT_EQ(status_of(kGetattr, opaque(handle("d"))), NFS3_OK);
    EXPECT_EQ(sequencer->held(), 4U);
    sequencer->release();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(status_in(own->receive().value()), NFS3_OK);
}

TEST_F(ServerRepeatsTest, ReconnectingDoesNotHelpBeyondAllCallsInWork) {
    server_options.limits.all_calls_in_work = 3;
    start_server();
    sequencer->hold();
    const auto mkdir = [&](int i) {
        return make_call(kMkdir, where(handle("d"), "n" + std::to_string(i)) + encode(Wanted{}));
    };
    for (int i = 0; i < 3; ++i) {
        client->send(mkdir(i));
        ASSERT_TRUE(
            wait_until([&] { return sequencer->held() == static_cast<std::size_t>(i) + 1; }));
        connect();
    }
    // Not begun, so also what must not be done twice may be tried again; as a new request, since
    // this one was never executed.
    const Call fourth = mkdir(3);
    EXPECT_EQ(ask_status(fourth), NFS3ERR_JUKEBOX);
    EXPECT_EQ(sequencer->held(), 3U);
    sequencer->release();
    EXPECT_TRUE(wait_until([&] { return ask_status(fourth) == NFS3_OK; }));
    EXPECT_TRUE(exists("d/n3"));
}

TEST_F(ServerRepeatsTest, AClientThatDoesNotReadDelaysNobodyAndIsClosed) {
    server_options.limits.reply_time = std::chrono::seconds(1);
    start_server();
    make_file("large", std::string(1U << 20, 'x'));
    const std::string read = opaque(handle("large")) + word64(0) + words({1U << 20});
    for (int i = 0; i < 40; ++i) client->send(make_call(kRead, read));
    const auto own = std::move(client);
    connect();
    EXPECT_EQ(status_of(kGetattr, opaque(handle("d"))), NFS3_OK);
    EXPECT_TRUE(wait_until([&] { return server->counters().dropped.load() == 1; }));
    EXPECT_EQ(status_of(kGetattr, opaque(handle("d"))), NFS3_OK);
}

TEST_F(ServerRepeatsTest, HalfARecordDoesNotLastForEver) {
    server_options.limits.record_time = std::chrono::seconds(1);
    server_options.limits.idle_time = std::chrono::seconds(3600);
    start_server();
    client->send_bytes(words({0x80000000U | 100}) + "half");
    const auto own = std::move(client);
    connect();
    EXPECT_TRUE(own->is_closed());
    EXPECT_EQ(server->counters().dropped.load(), 1U);
    EXPECT_EQ(status_of(kGetattr, opaque(handle("d"))), NFS3_OK);
}

TEST_F(ServerRepeatsTest, AConnectionWithoutRequestsIsClosed) {
    server_options.limits.idle_time = std::chrono::seconds(1);
    start_server();
    EXPECT_TRUE(client->is_closed());
}

TEST_F(ServerRepeatsTest, SomeConnectionsAreKeptForRoot) {
    server_options.limits.connections = 3;
    server_options.limits.connections_kept_for_root = 3;
    start_server();  // one of root's
    std::vector<std::unique_ptr<NfsClient>> more;
    for (int i = 0; i < 2; ++i) more.push_back(std::make_unique<NfsClient>(address()));
    EXPECT_EQ(status_of(kGetattr, opaque(handle("d"))), NFS3_OK);
    ASSERT_TRUE(wait_until([&] { return server->counters().connections.load() == 3; }));
    NfsClient refused(address());
    EXPECT_TRUE(refused.is_closed());
    EXPECT_EQ(server->counters().refused.load(), 1U);
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
