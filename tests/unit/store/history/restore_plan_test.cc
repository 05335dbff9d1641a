// SPDX-License-Identifier: Apache-2.0
#include "store/history/restore_plan.h"

#include "tests/support/prng.h"
#include "tests/unit/store/history/history_fixture.h"

namespace cfsgate::store {
namespace {

using test::take;

class RestorePlanTest : public HistoryTest {
protected:
    RestorePlan plan(const std::string& path, const Position& position,
                     std::function<bool(const Inode&)> is_purged = {}) const {
        const auto past = history();
        const auto tree = take(past.tree_at(take(past.locate(position))));
        return take(
            plan_restore(*take(store->read()), *take(tree->read()), {path, std::move(is_purged)}));
    }
    Errno refused(const std::string& path, const Position& position) const {
        const auto past = history();
        const auto tree = take(past.tree_at(take(past.locate(position))));
        return plan_restore(*take(store->read()), *take(tree->read()), {path, {}}).error().code;
    }
    /// Each operation must work, as it does on its way through the sequencer.
    std::vector<std::string> perform(const RestorePlan& plan) {
        std::vector<std::string> done;
        for (const Operation& operation : plan.operations) {
            const auto text = describe(operation);
            const Applied applied = test::apply_alone(*store, operation);
            EXPECT_TRUE(applied.ok)
                << text.what << " " << text.path << ": " << to_string(applied.error);
            done.push_back(text.what + " " + text.path +
                           (text.detail.empty() ? "" : " " + text.detail));
        }
        return done;
    }
    std::vector<std::string> restore(const std::string& path, const Position& position) {
        return perform(plan(path, position));
    }
};

using Lines = std::vector<std::string>;

TEST_F(RestorePlanTest, ADeletedFileIsMadeAgainWithItsTime) {
    put("d", "", 1);
    apply(Delete{"d"});
    apply(MakeDirectory{"d"}, 5);
    put("d/f", "content", 10);
    const Sequence then = last();
    apply(Delete{"d/f"}, 20);
    apply(Delete{"d"}, 20);
    EXPECT_EQ(restore("d/f", then),
              (Lines{"mkdir d", "mtime d 5", "create d/f", "write d/f 7 bytes", "mtime d/f 10"}));
    EXPECT_EQ(now(), at(then));
    EXPECT_EQ(restore("d/f", then), Lines{}) << "nothing is left to do";
}

TEST_F(RestorePlanTest, AnOverwrittenFileIsOneWrite) {
    put("f", "old", 10);
    const Sequence then = last();
    put("f", "new", 20);
    EXPECT_EQ(restore("f", then), (Lines{"write f 3 bytes", "mtime f 10"}));
    EXPECT_EQ(now(), at(then));
}

TEST_F(RestorePlanTest, ADirectoryComesBackAsAWhole) {
    for (const char* path : {"d", "d/a", "d/a/b", "other"}) apply(MakeDirectory{path}, 10);
    put("d/a/b/f", "deep", 11);
    put("d/g", "", 12);
    const Sequence then = last();
    for (const char* path : {"d/a/b/f", "d/a/b", "d/a", "d/g"}) apply(Delete{path}, 50);
    put("d/new", "was not there", 60);
    put("other/f", "stays", 60);
    const auto before = now();
    restore("d", then);
    Listing expected = at(then);
    expected["other/f"] = before.at("other/f");
    EXPECT_EQ(now(), expected);
}

TEST_F(RestorePlanTest, AFileThatMovedIsRenamedBackAndAFileThatBecameADirectoryGoesBack) {
    apply(MakeDirectory{"nodes"}, 1);
    for (const char* path : {"nodes/a", "nodes/b", "nodes/a/qemu-server", "nodes/b/qemu-server"}) {
        apply(MakeDirectory{path}, 1);
    }
    put("nodes/a/qemu-server/100.conf", "guest", 5);
    put("kind", "file", 6);
    const Sequence then = last();
    apply(Rename{"nodes/a/qemu-server/100.conf", "nodes/b/qemu-server/100.conf"}, 9);
    apply(Delete{"kind"}, 9);
    apply(MakeDirectory{"kind"}, 9);
    put("kind/inner", "x", 9);
    const Inode guest = test::inode_of(*store, "nodes/b/qemu-server/100.conf");
    const auto done = restore("", then);
    EXPECT_EQ(done.front(), "rename nodes/b/qemu-server/100.conf to nodes/a/qemu-server/100.conf");
    EXPECT_EQ(now(), at(then));
    EXPECT_EQ(test::inode_of(*store, "nodes/a/qemu-server/100.conf").number, guest.number);
}

TEST_F(RestorePlanTest, WhatWasNotThereAndWhatIsInTheWay) {
    put("early", "x");
    const Sequence then = last();
    apply(MakeDirectory{"d"});
    put("d/f", "x");
    const Sequence later = last();
    EXPECT_EQ(refused("d/f", then), Errno::NotFound);
    apply(Delete{"d/f"});
    apply(Delete{"d"});
    put("d", "a file");
    EXPECT_EQ(refused("d/f", later), Errno::NotDirectory);
}

TEST_F(RestorePlanTest, LocksAndTheClusterStayAsTheyAre) {
    put("corosync.conf", "two nodes");
    const Sequence then = last();
    apply(MakeDirectory{"priv"}, 3);
    apply(MakeDirectory{"priv/lock"}, 3);
    apply(MakeDirectory{"priv/lock/vm-100"}, 3);
    put("priv/secret", "x");
    put("corosync.conf", "three nodes");
    const RestorePlan all = plan("", then);
    ASSERT_EQ(all.left.size(), 1U);
    EXPECT_EQ(all.left[0].path, "corosync.conf");
    EXPECT_EQ(perform(all), (Lines{"delete priv/secret"}));
    EXPECT_TRUE(test::exists_in(*store, "priv/lock/vm-100"));
    restore("corosync.conf", then);
    EXPECT_EQ(test::content_of(*store, "corosync.conf"), "two nodes");
    EXPECT_EQ(refused("priv/lock/vm-100", last()), Errno::Invalid);
}

TEST_F(RestorePlanTest, WhatWasPurgedStaysAsItIs) {
    apply(MakeDirectory{"d"}, 3);
    put("d/secret", "old", 5);
    put("d/f", "old", 5);
    const InodeNumber secret = test::inode_of(*store, "d/secret").number;
    const Sequence then = last();
    put("d/f", "new", 6);
    apply(Rename{"d/secret", "d/elsewhere"}, 7);
    const auto is_purged = [&](const Inode& inode) { return inode.number == secret; };
    const RestorePlan some = plan("d", then, is_purged);
    ASSERT_EQ(some.left.size(), 1U);
    EXPECT_EQ(some.left[0].path, "d/secret");
    EXPECT_EQ(perform(some), (Lines{"write d/f 3 bytes", "mtime d/f 5"}));
    EXPECT_EQ(test::content_of(*store, "d/elsewhere"), "old");
}

/// Any two trees: the way from one to the other.
TEST_F(RestorePlanTest, FromAnywhereToAnywhere) {
    test::Prng prng(11);
    const auto path = [&] {
        std::string made(1, static_cast<char>('a' + prng.below(4)));
        while (prng.one_in(2) && made.size() < 6) {
            made += std::string("/") + static_cast<char>('a' + prng.below(4));
        }
        return made;
    };
    std::vector<Sequence> states;
    for (std::uint32_t i = 0; i < 600; ++i) {
        const Stamp stamp{NodeId(1), 1000 + i};
        switch (prng.below(5)) {
            case 0: test::apply_alone(*store, MakeDirectory{path()}, stamp); break;
            case 1: test::apply_alone(*store, CreateFile{path()}, stamp); break;
            case 2:
                test::apply_alone(
                    *store, WriteFile{path(), std::string(prng.below(5), 'x'), 0, true}, stamp);
                break;
            case 3: test::apply_alone(*store, Rename{path(), path()}, stamp); break;
            default: test::apply_alone(*store, Delete{path()}, stamp); break;
        }
        if (prng.one_in(8)) states.push_back(last());
    }
    ASSERT_GT(states.size(), 30U);
    for (int i = 0; i < 60 && !HasFailure(); ++i) {
        const Sequence then = prng.pick(states);
        SCOPED_TRACE(then.value());
        restore("", then);
        EXPECT_EQ(now(), at(then));
    }
}

}  // namespace
}  // namespace cfsgate::store
