// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "replication/sequencer.h"
#include "tests/support/store_directory.h"

namespace cfsgate::replication {
namespace {

using test::content_of;
using test::exists_in;
using test::inode_of;
using test::take;

class LocalSequencerTest : public testing::Test {
protected:
    LocalSequencerTest() { open(store::Durability::Relaxed); }

    void open(store::Durability durability, std::uint64_t map_bytes = 64 << 20) {
        sequencer.reset();
        store.reset();
        directory.options.durability = durability;
        directory.options.map_bytes = map_bytes;
        store = directory.open();
        sequencer = make_local_sequencer(*store, [this] { return directory.now; });
    }
    Result<Outcome> submit(Submission submission) {
        std::promise<Result<Outcome>> answer;
        auto future = answer.get_future();
        sequencer->submit(std::move(submission),
                          [&](Result<Outcome> outcome) { answer.set_value(std::move(outcome)); });
        return future.get();
    }
    static Submission of(Operation operation) {
        Submission submission;
        submission.operation = std::move(operation);
        return submission;
    }
    InodeNumber make(Operation operation) { return take(submit(of(std::move(operation)))).inode; }
    static Errno code_of(const Result<Outcome>& outcome) {
        return outcome ? Errno::TryAgain : outcome.error().code;
    }

    test::StoreDirectory directory;
    std::unique_ptr<store::Store> store;
    std::unique_ptr<Sequencer> sequencer;
};

TEST_F(LocalSequencerTest, AnswersWithWhatHappened) {
    EXPECT_TRUE(sequencer->quorate());
    const Outcome created = take(submit(of(CreateFile{"f"})));
    EXPECT_EQ(created.inode, InodeNumber(2));
    EXPECT_EQ(created.version, Version(2));
    EXPECT_EQ(created.sequence, Sequence(1));
    const Outcome written = take(submit(of(WriteFile{"f", "data", 0, false})));
    EXPECT_EQ(written.bytes, 4U);
    EXPECT_EQ(written.inode, InodeNumber(2));
    EXPECT_EQ(written.sequence, Sequence(2));
    EXPECT_EQ(inode_of(*store, "f").writer, NodeId(0));
    EXPECT_EQ(inode_of(*store, "f").mtime, directory.now);
    EXPECT_EQ(code_of(submit(of(CreateFile{"f"}))), Errno::Exists);
    EXPECT_EQ(sequencer->status().submitted, 3U);
    EXPECT_EQ(sequencer->status().completed, 3U);
}

TEST_F(LocalSequencerTest, AMovedEntryIsFollowed) {
    make(MakeDirectory{"d"});
    const InodeNumber file = make(CreateFile{"f"});
    Submission write = of(WriteFile{"f", "mine", 0, false});
    write.entry = file;
    make(Rename{"f", "d/g"});
    make(CreateFile{"f"});  // somebody else's
    EXPECT_EQ(take(submit(write)).inode, file);
    EXPECT_EQ(content_of(*store, "d/g"), "mine");
    EXPECT_EQ(content_of(*store, "f"), "");
}

TEST_F(LocalSequencerTest, AnEntryThatIsGoneIsStale) {
    const InodeNumber file = make(CreateFile{"f"});
    Submission write = of(WriteFile{"f", "mine", 0, false});
    write.entry = file;
    make(Delete{"f"});
    EXPECT_EQ(code_of(submit(write)), Errno::StaleHandle);
    make(CreateFile{"f"});
    EXPECT_EQ(code_of(submit(write)), Errno::StaleHandle);
    EXPECT_EQ(content_of(*store, "f"), "");
}

TEST_F(LocalSequencerTest, AMovedParentIsFollowed) {
    const InodeNumber directory_inode = make(MakeDirectory{"d"});
    Submission create = of(CreateFile{"d/f"});
    create.parent = directory_inode;
    make(Rename{"d", "e"});
    make(MakeDirectory{"d"});
    take(submit(create));
    EXPECT_TRUE(exists_in(*store, "e/f"));
    EXPECT_FALSE(exists_in(*store, "d/f"));
}

TEST_F(LocalSequencerTest, AParentThatIsGoneIsNotFound) {
    const InodeNumber old = make(MakeDirectory{"d"});
    make(Delete{"d"});
    make(MakeDirectory{"d"});
    make(CreateFile{"x"});
    Submission create = of(CreateFile{"d/f"});
    create.parent = old;
    EXPECT_EQ(code_of(submit(create)), Errno::NotFound);
    Submission rename = of(Rename{"x", "d/y"});
    rename.parent = kRootInode;
    rename.target_parent = old;
    EXPECT_EQ(code_of(submit(rename)), Errno::NotFound);
    EXPECT_TRUE(exists_in(*store, "x"));
}

TEST_F(LocalSequencerTest, BothParentsOfARenameAreFollowed) {
    const InodeNumber from = make(MakeDirectory{"from"});
    const InodeNumber to = make(MakeDirectory{"to"});
    Submission rename = of(Rename{"from/x", "to/y"});
    rename.parent = from;
    rename.target_parent = to;
    make(Rename{"from", "from2"});
    make(Rename{"to", "to2"});
    make(CreateFile{"from2/x"});
    take(submit(rename));
    EXPECT_TRUE(exists_in(*store, "to2/y"));
}

TEST_F(LocalSequencerTest, TheCheckSeesTheTreeOfItsTurn) {
    make(MakeDirectory{"d"});
    Submission create = of(CreateFile{"d/f"});
    create.parent = InodeNumber(2);
    make(Rename{"d", "e"});
    bool asked = false;
    create.check = [&](const store::ReadView& now, const Operation& operation) -> Status {
        asked = true;
        EXPECT_TRUE(now.resolve("e"));
        EXPECT_EQ(std::get<CreateFile>(operation).path, "e/f");
        return fail(Errno::NoSpace, "as the test wants it");
    };
    EXPECT_EQ(code_of(submit(create)), Errno::NoSpace);
    EXPECT_TRUE(asked);
    EXPECT_FALSE(exists_in(*store, "e/f"));
}

/// Holds the batch leader, so that what follows gathers in one batch.
class Gate {
public:
    Submission submission() {
        Submission first;
        first.operation = CreateFile{"gate"};
        first.check = [this](const store::ReadView&, const Operation&) -> Status {
            entered_.set_value();
            open_.get_future().wait();
            return {};
        };
        return first;
    }
    void wait() { entered_.get_future().wait(); }
    void open() { open_.set_value(); }

private:
    std::promise<void> entered_;
    std::promise<void> open_;
};

TEST_F(LocalSequencerTest, OneBatchForWhatGathersAndFailuresHurtNobody) {
    make(CreateFile{"there"});
    Gate gate;
    std::thread leader([&] { take(submit(gate.submission())); });
    gate.wait();
    std::vector<Result<Outcome>> answers(5, Result<Outcome>(fail(Errno::TryAgain)));
    std::atomic<int> left{5};
    const auto add = [&](std::size_t i, Submission submission) {
        sequencer->submit(std::move(submission), [&, i](Result<Outcome> outcome) {
            answers[i] = std::move(outcome);
            --left;
        });
    };
    add(0, of(MakeDirectory{"d"}));
    add(1, of(CreateFile{"there"}));
    Submission seen = of(CreateFile{"d/f"});
    seen.check = [](const store::ReadView& now, const Operation&) -> Status {
        EXPECT_TRUE(now.resolve("d")) << "the batch's own tree";
        return {};
    };
    add(2, seen);
    Submission gone = of(WriteFile{"x", "", 0, false});
    gone.entry = InodeNumber(99);
    add(3, gone);
    add(4, of(CreateFile{"last"}));
    const std::uint64_t batches = sequencer->status().batches;
    EXPECT_FALSE(exists_in(*store, "d"));
    gate.open();
    leader.join();
    ASSERT_EQ(left, 0);
    EXPECT_EQ(sequencer->status().batches, batches + 1);
    EXPECT_TRUE(answers[0]);
    EXPECT_EQ(code_of(answers[1]), Errno::Exists);
    EXPECT_TRUE(answers[2]);
    EXPECT_EQ(code_of(answers[3]), Errno::StaleHandle);
    EXPECT_TRUE(answers[4]);
    EXPECT_TRUE(exists_in(*store, "last"));
}

TEST_F(LocalSequencerTest, OneThatCannotBeStoredHurtsNobody) {
    open(store::Durability::Relaxed, 1 << 20);
    make(CreateFile{"big"});
    Gate gate;
    std::thread leader([&] { take(submit(gate.submission())); });
    gate.wait();
    std::vector<Errno> codes(3, Errno::TimedOut);
    const auto add = [&](std::size_t i, Operation operation) {
        sequencer->submit(of(std::move(operation)),
                          [&, i](Result<Outcome> outcome) { codes[i] = code_of(outcome); });
    };
    add(0, CreateFile{"before"});
    add(1, WriteFile{"big", std::string(1 << 20, 'x'), 0, false});
    add(2, CreateFile{"after"});
    gate.open();
    leader.join();
    EXPECT_EQ(codes, (std::vector<Errno>{Errno::TryAgain, Errno::NoSpace, Errno::TryAgain}));
    EXPECT_TRUE(exists_in(*store, "before"));
    EXPECT_TRUE(exists_in(*store, "after"));
    EXPECT_EQ(content_of(*store, "big"), "");
    EXPECT_FALSE(store->failure());
}

TEST_F(LocalSequencerTest, AppendsOfManyThreadsAreAllThere) {
    const InodeNumber file = make(CreateFile{"log"});
    constexpr int kThreads = 8;
    constexpr int kLines = 40;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < kLines; ++i) {
                Submission append = of(WriteFile{
                    "log", "t" + std::to_string(t) + " " + std::to_string(i) + "\n", 0, false});
                append.entry = file;
                append.append = true;
                append.need = Need::Applied;
                take(submit(append));
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    std::istringstream lines(content_of(*store, "log"));
    std::vector<int> next(kThreads, 0);
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
        const auto thread = static_cast<std::size_t>(line[1] - '0');
        EXPECT_EQ(line.substr(3), std::to_string(next.at(thread)++)) << "out of order";
    }
    EXPECT_EQ(count, kThreads * kLines);
}

TEST_F(LocalSequencerTest, AnsweredMeansDurable) {
    open(store::Durability::Durable);
    std::atomic<int> answered{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 25; ++i) {
                Submission create = of(CreateFile{std::to_string(t) + "-" + std::to_string(i)});
                create.need = i % 2 == 0 ? Need::Durable : Need::Applied;
                sequencer->submit(create, [&, durable = i % 2 == 0](Result<Outcome> outcome) {
                    const Sequence sequence = take(std::move(outcome)).sequence;
                    if (durable) {
                        EXPECT_GE(store->journal_status().synced, sequence);
                    }
                    ++answered;
                });
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    std::promise<Status> synced;
    sequencer->sync(store->journal_status().appended,
                    [&](Status status) { synced.set_value(std::move(status)); });
    take(synced.get_future().get());
    EXPECT_EQ(answered, 200);
    EXPECT_EQ(store->journal_status().synced, Sequence(200));
    EXPECT_EQ(take(store->read())->usage().entries, 201U);
    EXPECT_EQ(sequencer->status().completed, 200U);
    // All of it comes back from the journal alone.
    sequencer.reset();
    store.reset();
    EXPECT_EQ(directory.findings(), "");
    directory.pretend_power_cut();
    EXPECT_EQ(take(directory.open()->read())->usage().entries, 201U);
}

TEST_F(LocalSequencerTest, AFlushBeginsWithoutBeingAskedFor) {
    open(store::Durability::Durable);
    for (const Need need : {Need::Applied, Need::Flushing}) {
        Submission create = of(CreateFile{std::to_string(static_cast<int>(need))});
        create.need = need;
        Sequence answered;
        sequencer->submit(create, [&](Result<Outcome> outcome) {
            answered = take(std::move(outcome)).sequence;
            EXPECT_LT(store->journal_status().synced, answered) << "the answer waited";
        });
        // Alone, the caller's thread has done all there is to do.
        EXPECT_EQ(store->journal_status().synced >= answered, need == Need::Flushing);
    }
    EXPECT_EQ(sequencer->status().flushes, 1U);
    EXPECT_EQ(sequencer->status().oldest_waiting_ms, 0U);
}

TEST_F(LocalSequencerTest, CompletionsMaySubmitAgain) {
    for (const Need need : {Need::Applied, Need::Flushing, Need::Durable}) {
        open(store::Durability::Durable);
        const std::string name = std::to_string(static_cast<int>(need)) + "-";
        std::promise<void> done;
        std::function<void(int)> step = [&](int i) {
            if (i == 20) return done.set_value();
            Submission create = of(CreateFile{name + std::to_string(i)});
            create.need = need;
            sequencer->submit(create, [&, i](Result<Outcome> outcome) {
                take(std::move(outcome));
                step(i + 1);
            });
        };
        step(0);
        done.get_future().wait();
        EXPECT_TRUE(exists_in(*store, name + "19"));
    }
}

TEST_F(LocalSequencerTest, ObserversHearBeforeTheCaller) {
    std::vector<store::Change> seen;
    sequencer->observe_changes([&](const std::vector<store::Change>& changes) {
        seen.insert(seen.end(), changes.begin(), changes.end());
        EXPECT_TRUE(exists_in(*store, "f")) << "told before it was published";
    });
    sequencer->submit(of(CreateFile{"f"}), [&](Result<Outcome>) { EXPECT_EQ(seen.size(), 1U); });
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0].kind, store::Change::Kind::Created);
    submit(of(CreateFile{"f"})).has_value();
    EXPECT_EQ(seen.size(), 1U) << "a refused change is none";
}

}  // namespace
}  // namespace cfsgate::replication
