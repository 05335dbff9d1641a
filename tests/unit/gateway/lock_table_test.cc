// SPDX-License-Identifier: Apache-2.0
#include "gateway/lock_table.h"

#include <algorithm>
#include <array>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/prng.h"

namespace cfsgate::gateway {
namespace {

using Kind = LockOwner::Kind;
using enum LockOutcome;
constexpr auto kShared = LockType::Shared;
constexpr auto kExclusive = LockType::Exclusive;
constexpr std::uint64_t kEnd = LockRange::kToTheEnd;

LockOwner owner(const char* name, Kind kind = Kind::Range, const char* client = "") {
    return {kind, client, name};
}

class LockTableTest : public ::testing::Test {
protected:
    static LockRequest request(const LockOwner& who, LockType type, LockRange range = {}) {
        return {FileId(7), who, type, range, 0, who.client};
    }
    LockOutcome try_lock(const LockOwner& who, LockType type, LockRange range = {}) {
        return table.try_lock(request(who, type, range));
    }
    LockTable::Attempt wait(const LockOwner& who, LockType type, LockRange range = {},
                            FileId file = FileId(7)) {
        LockRequest wanted = request(who, type, range);
        wanted.file = file;
        return table.lock(wanted, [this, name = who.bytes] { granted += name; });
    }
    void unlock(const LockOwner& who, LockRange range = {}) {
        EXPECT_EQ(table.unlock(FileId(7), who, range), Granted);
    }
    /// "S0-9 X10-": what an owner holds.
    std::string held(const LockOwner& who) const {
        std::string text;
        for (const LockHolder& holder : table.holders(FileId(7))) {
            if (holder.owner != who) continue;
            text += (text.empty() ? "" : " ");
            text += holder.type == kShared ? "S" : "X";
            text += std::to_string(holder.range.first) + "-";
            if (holder.range.last != kEnd) text += std::to_string(holder.range.last);
        }
        return text;
    }

    LockTable table;
    std::string granted;  ///< names, in the order in which they got their locks
    const LockOwner a = owner("a");
    const LockOwner b = owner("b");
    const LockOwner c = owner("c");
};

TEST_F(LockTableTest, SharedLocksGoTogetherAndExclusiveOnesAlone) {
    EXPECT_EQ(try_lock(a, kShared), Granted);
    EXPECT_EQ(try_lock(b, kShared), Granted);
    EXPECT_EQ(try_lock(c, kExclusive), Conflict);
    EXPECT_EQ(try_lock(a, kExclusive), Conflict);
    EXPECT_EQ(held(a), "S0-");  // a refused upgrade changes nothing
    unlock(b);
    EXPECT_EQ(try_lock(a, kExclusive), Granted);
    EXPECT_EQ(held(a), "X0-");
    EXPECT_EQ(try_lock(b, kShared), Conflict);
}

TEST_F(LockTableTest, NeighboursMeetAndOverlapsConflict) {
    EXPECT_EQ(try_lock(a, kExclusive, {10, 19}), Granted);
    EXPECT_EQ(try_lock(b, kExclusive, {0, 9}), Granted);
    EXPECT_EQ(try_lock(b, kExclusive, {20, kEnd}), Granted);
    EXPECT_EQ(try_lock(b, kShared, {19, 19}), Conflict);
    EXPECT_EQ(try_lock(b, kShared, {0, 10}), Conflict);
    EXPECT_EQ(try_lock(c, kShared, {kEnd - 1, kEnd - 1}), Conflict);
}

TEST_F(LockTableTest, APartOfAnOwnLockIsReplacedAndPartsThatMeetAreOne) {
    try_lock(a, kExclusive, {0, 99});
    try_lock(a, kShared, {40, 59});
    EXPECT_EQ(held(a), "X0-39 S40-59 X60-99");
    unlock(a, {10, 19});
    EXPECT_EQ(held(a), "X0-9 X20-39 S40-59 X60-99");
    try_lock(a, kExclusive, {5, 70});
    EXPECT_EQ(held(a), "X0-99");
    unlock(a, {0, 49});
    unlock(a, {90, kEnd});
    EXPECT_EQ(held(a), "X50-89");
    try_lock(a, kExclusive, {90, kEnd});
    EXPECT_EQ(held(a), "X50-");
    unlock(a, {kEnd, kEnd});
    EXPECT_EQ(held(a), "X50-" + std::to_string(kEnd - 1));
}

TEST_F(LockTableTest, ATestNamesTheFirstWhoIsInTheWay) {
    try_lock(a, kShared, {50, 59});
    try_lock(b, kExclusive, {20, 29});
    EXPECT_FALSE(table.test(request(c, kShared, {30, kEnd})));
    const auto holder = table.test(request(c, kExclusive));
    ASSERT_TRUE(holder);
    EXPECT_EQ(holder->owner, b);
    EXPECT_EQ(holder->range, (LockRange{20, 29}));
    EXPECT_EQ(holder->type, kExclusive);
    EXPECT_FALSE(table.test(request(a, kExclusive, {50, kEnd})));  // one's own
}

TEST_F(LockTableTest, WhoWaitsGetsTheLockInTurn) {
    try_lock(a, kExclusive);
    EXPECT_EQ(wait(b, kExclusive).outcome, Waiting);
    EXPECT_EQ(wait(c, kExclusive).outcome, Waiting);
    EXPECT_EQ(granted, "");
    unlock(a);
    EXPECT_EQ(granted, "b");
    unlock(b);
    EXPECT_EQ(granted, "bc");
    EXPECT_EQ(held(c), "X0-");
    EXPECT_EQ(table.totals().waiting, 0U);
}

TEST_F(LockTableTest, OneReleaseLetsAllSharedOnesIn) {
    try_lock(a, kExclusive);
    wait(b, kShared);
    wait(c, kShared);
    EXPECT_EQ(try_lock(a, kShared), Granted);  // weaker is enough
    EXPECT_EQ(granted, "bc");
}

TEST_F(LockTableTest, UnlockingAPartLetsInWhoWaitsForIt) {
    try_lock(a, kExclusive);
    wait(b, kExclusive, {10, 19});
    unlock(a, {10, 18});
    EXPECT_EQ(granted, "");
    unlock(a, {19, 19});
    EXPECT_EQ(granted, "b");
}

TEST_F(LockTableTest, WhoGivesUpWaitingGetsNothing) {
    try_lock(a, kExclusive);
    const auto waiting = wait(b, kExclusive);
    EXPECT_TRUE(table.cancel(waiting.wait));
    EXPECT_FALSE(table.cancel(waiting.wait));
    unlock(a);
    EXPECT_EQ(granted, "");
    EXPECT_EQ(table.totals().locks, 0U);
    try_lock(a, kExclusive);
    const auto other = wait(b, kExclusive);
    unlock(a);
    EXPECT_FALSE(table.cancel(other.wait));  // too late: it holds the lock
    EXPECT_EQ(granted, "b");
}

TEST_F(LockTableTest, ACallbackMayUseTheTable) {
    try_lock(a, kExclusive);
    table.lock(request(b, kExclusive), [this] { unlock(b); });
    wait(c, kExclusive);
    unlock(a);
    EXPECT_EQ(granted, "c");
}

TEST_F(LockTableTest, AClosedCircleIsRefused) {
    try_lock(a, kExclusive, {0, 0});
    try_lock(b, kExclusive, {1, 1});
    try_lock(c, kExclusive, {2, 2});
    EXPECT_EQ(wait(a, kExclusive, {1, 1}).outcome, Waiting);
    EXPECT_EQ(wait(b, kExclusive, {2, 2}).outcome, Waiting);
    EXPECT_EQ(wait(c, kExclusive, {0, 0}).outcome, Deadlock);
    unlock(c);
    EXPECT_EQ(granted, "b");
}

TEST_F(LockTableTest, ACircleOverTwoFilesIsFound) {
    try_lock(a, kExclusive);
    LockRequest other = request(b, kExclusive);
    other.file = FileId(8);
    EXPECT_EQ(table.try_lock(other), Granted);
    EXPECT_EQ(wait(a, kShared, {}, FileId(8)).outcome, Waiting);
    EXPECT_EQ(wait(b, kShared).outcome, Deadlock);
}

TEST_F(LockTableTest, TwoSharedOnesThatBothWantMoreAreADeadlock) {
    try_lock(a, kShared);
    try_lock(b, kShared);
    EXPECT_EQ(wait(a, kExclusive).outcome, Waiting);
    EXPECT_EQ(wait(b, kExclusive).outcome, Deadlock);
    unlock(b);
    EXPECT_EQ(granted, "a");
    EXPECT_EQ(held(a), "X0-");
}

TEST_F(LockTableTest, RangesAndWholeFilesIgnoreEachOtherButNotTheNetwork) {
    const LockOwner whole = owner("w", Kind::WholeFile);
    const LockOwner network = owner("n", Kind::Network, "host");
    EXPECT_EQ(try_lock(a, kExclusive), Granted);
    EXPECT_EQ(try_lock(whole, kExclusive), Granted);
    EXPECT_EQ(try_lock(network, kShared, {3, 4}), Conflict);
    unlock(a);
    EXPECT_EQ(try_lock(network, kShared, {3, 4}), Conflict);
    unlock(whole);
    EXPECT_EQ(try_lock(network, kExclusive, {3, 4}), Granted);
    EXPECT_EQ(try_lock(a, kShared), Conflict);
    EXPECT_EQ(try_lock(a, kShared, {5, kEnd}), Granted);
    EXPECT_EQ(try_lock(whole, kShared), Conflict);
}

TEST_F(LockTableTest, AWholeFileLockIsGivenUpBeforeItChanges) {
    const LockOwner v = owner("v", Kind::WholeFile);
    const LockOwner w = owner("w", Kind::WholeFile);
    try_lock(v, kShared);
    try_lock(w, kShared);
    EXPECT_EQ(try_lock(v, kExclusive), Conflict);
    EXPECT_EQ(held(v), "");
    EXPECT_EQ(try_lock(w, kExclusive), Granted);
    // Both want more. The second one gives up what it has, so nobody is in its way; no deadlock.
    try_lock(w, kShared);
    try_lock(v, kShared);
    EXPECT_EQ(wait(v, kExclusive).outcome, Waiting);
    EXPECT_EQ(wait(w, kExclusive).outcome, Granted);
    unlock(w);
    EXPECT_EQ(granted, "v");
}

TEST_F(LockTableTest, ReleasingAnOwnerLeavesTheOthers) {
    try_lock(a, kShared, {0, 9});
    try_lock(a, kShared, {20, 29});
    try_lock(b, kShared);
    wait(c, kExclusive, {0, 9});
    table.release(FileId(7), a);
    EXPECT_EQ(held(a), "");
    EXPECT_EQ(granted, "");
    table.release(FileId(7), b);
    EXPECT_EQ(granted, "c");
}

TEST_F(LockTableTest, ReleasingAClientEndsItsLocksAndItsWaiting) {
    const LockOwner one = owner("1", Kind::Network, "host");
    const LockOwner two = owner("2", Kind::Network, "host");
    const LockOwner other = owner("o", Kind::Network, "other");
    try_lock(one, kExclusive, {0, 9});
    try_lock(two, kExclusive, {10, 19});
    wait(two, kExclusive, {0, 9});
    wait(other, kExclusive);
    EXPECT_TRUE(table.has_client("host"));
    table.release_client("host");
    EXPECT_EQ(granted, "o");
    EXPECT_FALSE(table.has_client("host"));
    EXPECT_TRUE(table.has_client("other"));
}

TEST_F(LockTableTest, AFileThatIsGoneKeepsTheLocksOfOpenHandles) {
    const LockOwner network = owner("n", Kind::Network, "host");
    try_lock(network, kShared);
    try_lock(a, kShared);
    wait(b, kExclusive, {0, 0});
    table.release_network(FileId(7));
    EXPECT_EQ(held(network), "");
    EXPECT_EQ(held(a), "S0-");
    unlock(a);
    EXPECT_EQ(granted, "b");
}

TEST(LockLimitsTest, EachIsBoundedAndSoAreAll) {
    LockTable table({.locks = 5, .locks_of_one = 3, .waiting = 2, .waiting_of_one = 1});
    const auto lock = [&](const char* who, std::uint64_t at) {
        return table.try_lock({FileId(7), owner(who), kShared, {at, at}, 0, who});
    };
    EXPECT_EQ(lock("a", 0), Granted);
    EXPECT_EQ(lock("a", 2), Granted);
    EXPECT_EQ(lock("a", 4), Granted);
    EXPECT_EQ(lock("a", 6), NoRoom);
    EXPECT_EQ(lock("a", 5), Granted);  // one with its neighbour
    EXPECT_EQ(lock("b", 0), Granted);
    EXPECT_EQ(lock("b", 2), Granted);
    EXPECT_EQ(lock("b", 4), NoRoom);
    EXPECT_EQ(table.totals().locks, 5U);
    EXPECT_EQ(table.unlock(FileId(7), owner("a"), {}), Granted);
    EXPECT_EQ(lock("b", 4), Granted);

    EXPECT_EQ(table.try_lock({FileId(8), owner("a"), kExclusive, {}, 0, "a"}), Granted);
    EXPECT_EQ(table.unlock(FileId(8), owner("a"), {5, 9}), Granted);
    EXPECT_EQ(table.unlock(FileId(8), owner("a"), {15, 19}), NoRoom);  // it would become three
    const auto wait = [&](const char* who) {
        return table.lock({FileId(8), owner(who), kExclusive, {}, 0, who}, [] {}).outcome;
    };
    EXPECT_EQ(wait("b"), Waiting);
    EXPECT_EQ(wait("b"), NoRoom);
    EXPECT_EQ(wait("c"), Waiting);
    EXPECT_EQ(wait("d"), NoRoom);
}

// --- Against a model that knows no ranges: a cell for each byte ---

constexpr std::size_t kCells = 24;  // the last one stands for all bytes from there on
constexpr std::size_t kOwners = 6;

struct Model {
    enum Cell : char { None, S, X };
    std::array<std::array<Cell, kCells>, kOwners> cells{};
    struct Waiting {
        std::size_t who;
        LockType type;
        std::size_t first, last;
        LockTable::WaitId id;
    };
    std::vector<Waiting> waiting;

    static Kind kind(std::size_t who) { return static_cast<Kind>(who % 3); }
    static bool meet(std::size_t a, std::size_t b) {
        return a != b &&
               (kind(a) == kind(b) || kind(a) == Kind::Network || kind(b) == Kind::Network);
    }
    bool conflict(std::size_t who, LockType type, std::size_t first, std::size_t last) const {
        for (std::size_t other = 0; other < kOwners; ++other) {
            for (std::size_t i = first; meet(who, other) && i <= last; ++i) {
                if (cells[other][i] == X || (cells[other][i] == S && type == kExclusive))
                    return true;
            }
        }
        return false;
    }
    void fill(std::size_t who, Cell cell, std::size_t first, std::size_t last) {
        for (std::size_t i = first; i <= last; ++i) cells[who][i] = cell;
    }
    static Cell cell(LockType type) { return type == kShared ? S : X; }
    /// Ids of those who get their lock.
    std::vector<std::uint64_t> promote() {
        std::vector<std::uint64_t> out;
        for (std::size_t i = 0; i < waiting.size();) {
            const Waiting one = waiting[i];
            if (conflict(one.who, one.type, one.first, one.last)) {
                ++i;
                continue;
            }
            fill(one.who, cell(one.type), one.first, one.last);
            out.push_back(one.id.value());
            waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
            i = 0;
        }
        return out;
    }
    bool gives_up(std::size_t who, LockType type) {
        if (kind(who) != Kind::WholeFile || cells[who][0] == None || cells[who][0] == cell(type)) {
            return false;
        }
        fill(who, None, 0, kCells - 1);
        return true;
    }
};

LockOwner numbered(std::size_t who) {
    const Kind kind = Model::kind(who);
    return {kind, kind == Kind::Network ? "host" + std::to_string(who) : "", std::to_string(who)};
}

/// The table's locks as cells.
std::array<std::array<Model::Cell, kCells>, kOwners> cells_of(const LockTable& table) {
    std::array<std::array<Model::Cell, kCells>, kOwners> cells{};
    std::map<LockOwner, LockRange> last;
    for (const LockHolder& holder : table.holders(FileId(1))) {
        const std::size_t who = std::stoul(holder.owner.bytes);
        const std::size_t end = std::min<std::uint64_t>(holder.range.last, kCells - 1);
        for (std::size_t i = holder.range.first; i <= end; ++i) {
            EXPECT_EQ(cells[who][i], Model::None) << "two locks of one owner overlap";
            cells[who][i] = Model::cell(holder.type);
        }
    }
    return cells;
}

void run_against_model(std::uint64_t seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    test::Prng random(seed);
    LockTable table;
    Model model;
    std::vector<std::uint64_t> granted;
    std::uint64_t next_wait = 0;
    for (int step = 0; step < 400; ++step) {
        const std::size_t who = random.below(kOwners);
        const LockType type = random.one_in(2) ? kShared : kExclusive;
        const bool whole = Model::kind(who) == Kind::WholeFile;
        const std::size_t first = whole ? 0 : random.below(kCells);
        const std::size_t last = whole ? kCells - 1 : first + random.below(kCells - first);
        const LockRange range{first, last == kCells - 1 ? kEnd : last};
        const LockRequest request{FileId(1), numbered(who), type, range, 0, ""};
        granted.clear();
        std::vector<std::uint64_t> expected;
        switch (random.below(8)) {
            case 0:
            case 1:
            case 2: {
                const bool conflict =
                    (model.gives_up(who, type), model.conflict(who, type, first, last));
                if (!conflict) model.fill(who, Model::cell(type), first, last);
                expected = model.promote();
                ASSERT_EQ(table.try_lock(request), conflict ? Conflict : Granted);
                break;
            }
            case 3: {
                const std::uint64_t id = next_wait + 1;
                const auto made = table.lock(request, [&granted, id] { granted.push_back(id); });
                const bool conflict =
                    (model.gives_up(who, type), model.conflict(who, type, first, last));
                if (!conflict) model.fill(who, Model::cell(type), first, last);
                expected = model.promote();
                if (!conflict) {
                    ASSERT_EQ(made.outcome, Granted);
                } else if (made.outcome == Waiting) {
                    ASSERT_EQ(made.wait.value(), ++next_wait);
                    model.waiting.push_back({who, type, first, last, made.wait});
                } else {
                    ASSERT_EQ(made.outcome, Deadlock);
                }
                break;
            }
            case 4:
            case 5:
                model.fill(who, Model::None, first, last);
                expected = model.promote();
                ASSERT_EQ(table.unlock(FileId(1), numbered(who), range), Granted);
                break;
            case 6:
                model.fill(who, Model::None, 0, kCells - 1);
                expected = model.promote();
                table.release(FileId(1), numbered(who));
                break;
            default:
                if (model.waiting.empty()) break;
                const std::size_t at = random.below(model.waiting.size());
                ASSERT_TRUE(table.cancel(model.waiting[at].id));
                model.waiting.erase(model.waiting.begin() + static_cast<std::ptrdiff_t>(at));
        }
        ASSERT_EQ(granted, expected) << "step " << step;
        ASSERT_EQ(cells_of(table), model.cells) << "step " << step;
        ASSERT_EQ(table.totals().waiting, model.waiting.size());
        ASSERT_EQ(table.test(request).has_value(), model.conflict(who, type, first, last));
    }
    for (std::size_t who = 0; who < kOwners; ++who) table.release(FileId(1), numbered(who));
    while (table.totals().waiting > 0) {
        for (std::size_t who = 0; who < kOwners; ++who) table.release(FileId(1), numbered(who));
    }
    for (std::size_t who = 0; who < kOwners; ++who) table.release(FileId(1), numbered(who));
    EXPECT_EQ(table.totals().locks, 0U);
}

TEST(LockTableModelTest, RandomOperationsDoWhatTheModelDoes) {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        run_against_model(seed);
        if (::testing::Test::HasFatalFailure()) return;
    }
}

}  // namespace
}  // namespace cfsgate::gateway
