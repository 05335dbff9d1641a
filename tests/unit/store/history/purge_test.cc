// SPDX-License-Identifier: Apache-2.0
#include "store/history/purge.h"

#include <sys/wait.h>
#include <unistd.h>

#include "store/journal.h"
#include "tests/support/prng.h"
#include "tests/unit/store/history/history_fixture.h"

namespace cfsgate::store {
namespace {

using test::take;

using Names = std::vector<std::string>;

constexpr const char* kSecret = "Tr0ub4dor&3-is-the-secret";

class PurgeTest : public HistoryTest {
protected:
    std::string large_secret() const {
        std::string text;
        while (text.size() < 200000) text += kSecret;
        return text;
    }
    /// Nothing is left of it, and the present is what it was, over every kind of start.
    void expect_purged(const std::string& path) {
        const Listing before = now();
        const std::string checksum = test::checksum_of(*store);
        take(store->purge_history(path));
        EXPECT_EQ(holders(kSecret), Names{});
        for (const bool power_cut : {false, true}) {
            restart(power_cut);
            EXPECT_EQ(now(), before);
            EXPECT_EQ(test::checksum_of(*store), checksum);
            EXPECT_EQ(holders(kSecret), Names{});
        }
        // Without its snapshots it comes from the journal alone.
        store.reset();
        for (const auto& name : directory.files("snapshot.")) {
            std::filesystem::remove(directory.file(name));
        }
        directory.pretend_power_cut();
        store = directory.open();
        EXPECT_EQ(test::checksum_of(*store), checksum);
        put("after", "x");
    }
};

TEST_F(PurgeTest, ADeletedFilesContentIsGoneAndItsFactsStay) {
    apply(MakeDirectory{"priv"});
    put("priv/key", kSecret);
    put("priv/large", large_secret());
    put("other", "stays");
    take(store->create_snapshot("with-it"));
    take(store->write_snapshot());
    apply(Delete{"priv/key"});
    apply(Delete{"priv/large"});
    const Sequence end = last();
    ASSERT_NE(holders(kSecret), Names{});
    const auto records = take(history().find({}));
    expect_purged("priv");
    const auto after =
        take(history().find({.until = 1700000000, .from = Sequence(end.value() + 1)}));
    ASSERT_EQ(after.size(), records.size());
    for (std::size_t i = 0; i < records.size(); ++i) {
        EXPECT_EQ(after[i].path, records[i].path);
        EXPECT_EQ(after[i].bytes, records[i].bytes);
        EXPECT_EQ(after[i].version, records[i].version);
    }
    const auto past = history();
    const auto tree = take(past.tree_at(take(past.locate(std::string("with-it")))));
    const auto view = take(tree->read());
    const Inode key = take(view->inode(take(view->resolve("priv/key"))));
    EXPECT_EQ(key.size, std::string(kSecret).size());
    EXPECT_EQ(take(view->content(key)), std::string(key.size, '\0'));
    EXPECT_TRUE(take(past.purged()).has(key.number, tree->at()));
    EXPECT_FALSE(take(past.purged()).has(take(view->resolve("other")), tree->at()));
}

TEST_F(PurgeTest, TheFileIsStillThereWithItsPresentContent) {
    put("f", std::string(kSecret) + " and more");
    put("f", "what is there now");
    take(store->write_snapshot());
    expect_purged("f");
    EXPECT_EQ(test::content_of(*store, "f"), "what is there now");
}

/// Parts of the present content come from a write whose other parts must go.
TEST_F(PurgeTest, APieceOfAnOldWriteThatIsStillThereStays) {
    put("f", std::string("keep ") + kSecret + " keep");
    apply(WriteFile{"f", std::string(std::string(kSecret).size(), '-'), 5, false});
    const std::string content = test::content_of(*store, "f");
    expect_purged("f");
    EXPECT_EQ(test::content_of(*store, "f"), content);
}

TEST_F(PurgeTest, ItIsFollowedThroughRenames) {
    put("f.tmp", kSecret);
    apply(Rename{"f.tmp", "f"});
    apply(Rename{"f", "elsewhere"});
    apply(WriteFile{"elsewhere", std::string("2") + kSecret, 0, true});
    apply(Delete{"elsewhere"});
    expect_purged("f");
}

TEST_F(PurgeTest, TakeoversAndLostTrees) {
    put("f", kSecret);
    test::StoreDirectory other;
    other.options.boot_id = system_boot_id;
    const auto leader = other.open();
    const auto take_over = [&] {
        Takeover takeover;
        takeover.index = take(leader->encoded_index());
        takeover.from = "node 2";
        std::set<InodeNumber> theirs;
        take(take(leader->read())
                 ->for_each([&](const Inode& inode, std::string_view content) -> Status {
                     takeover.entries.push_back({inode, std::string(content)});
                     theirs.insert(inode.number);
                     return {};
                 }));
        take(take(store->read())->for_each([&](const Inode& inode, std::string_view) -> Status {
            if (!theirs.contains(inode.number)) takeover.removed.push_back(inode.number);
            return {};
        }));
        return take(store->take_over(takeover));
    };
    for (int i = 0; i < 8; ++i) {
        test::apply_alone(*leader, CreateFile{"theirs" + std::to_string(i)}, {NodeId(2), 2000});
    }
    test::apply_alone(*leader, CreateFile{"f"}, {NodeId(2), 2000});
    test::apply_alone(*leader, WriteFile{"f", std::string("2") + kSecret, 0, true});
    take_over();
    test::apply_alone(*leader, WriteFile{"f", "harmless", 0, true});
    take_over();
    ASSERT_FALSE(directory.files("lost.").empty());
    ASSERT_NE(holders(kSecret), Names{});
    expect_purged("f");
    EXPECT_EQ(test::content_of(*store, "f"), "harmless");
}

TEST_F(PurgeTest, OthersKeepTheirPast) {
    put("f", kSecret);
    put("g", "one");
    const Sequence then = last();
    put("g", "two");
    apply(Delete{"f"});
    take(store->purge_history("f"));
    const Listing old = at(then);
    EXPECT_EQ(old.at("g"), "file one 1700000000");
    EXPECT_EQ(store->purge_history("").error().code, Errno::Invalid);
    EXPECT_EQ(store->purge_history("/").error().code, Errno::Invalid);
    EXPECT_EQ(take(store->purge_history("never-was")).records, 0U);
}

TEST_F(PurgeTest, WhatCannotBeReadIsNamed) {
    put("f", kSecret);
    take(store->create_snapshot("damaged"));
    const std::string file = directory.files("named.").at(0);
    std::string bytes = test::read_file(directory.file(file));
    bytes.back() ^= 1;
    test::write_file(directory.file(file), bytes);
    test::write_file(directory.file("damaged.tree.mdb"), kSecret);
    apply(Delete{"f"});
    const PurgeReport report = take(store->purge_history("f"));
    EXPECT_EQ(report.unreadable, (std::vector<std::string>{file, "damaged.tree.mdb"}));
}

TEST_F(PurgeTest, TheStoreWorksMeanwhile) {
    put("f", large_secret());
    apply(Delete{"f"});
    std::atomic<bool> ended{false};
    std::thread purge([&] {
        take(store->purge_history("f"));
        ended = true;
    });
    int made = 0;
    for (; !ended && made < 100000; ++made) {
        ASSERT_TRUE(test::apply_alone(*store, CreateFile{"n" + std::to_string(made)}).ok);
    }
    purge.join();
    EXPECT_EQ(holders(kSecret), Names{});
    const std::string checksum = test::checksum_of(*store);
    restart(true);
    EXPECT_EQ(test::checksum_of(*store), checksum);
}

/// The process ends at any moment of a purge; the store is good, and a second purge does the rest.
TEST_F(PurgeTest, AnEndInTheMiddle) {
    begin_anew(8192, 1 << 20, 1 << 20);
    put("f", large_secret());
    for (int i = 0; i < 20; ++i) {
        put("f", kSecret + std::string(2000, 'x'));
        put("g", std::string(1000, 'y'));
        if (i % 5 == 0) take(store->create_snapshot("s" + std::to_string(i)));
    }
    apply(Delete{"f"});
    const std::string checksum = test::checksum_of(*store);
    store.reset();
    test::Prng prng(3);
    int killed = 0;
    for (int round = 0; round < 25; ++round) {
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            const auto mine = directory.open();
            static_cast<void>(mine->purge_history("f"));
            ::_exit(0);
        }
        ::usleep(static_cast<useconds_t>(prng.below(30000)));
        ::kill(child, SIGKILL);
        int status = 0;
        ::waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) ++killed;
        EXPECT_EQ(directory.findings(), "");
        if (round % 3 == 0) directory.pretend_power_cut();
        store = directory.open();
        ASSERT_EQ(test::checksum_of(*store), checksum);
        store.reset();
    }
    EXPECT_GT(killed, 0);
    store = directory.open();
    take(store->purge_history("f"));
    EXPECT_EQ(holders(kSecret), Names{});
}

}  // namespace
}  // namespace cfsgate::store
