// SPDX-License-Identifier: Apache-2.0
#include "replication/rotation_gate.h"

#include <string>

#include <gtest/gtest.h>

namespace cfsgate::replication {
namespace {

class RotationGateTest : public ::testing::Test {
protected:
    void add(std::uint64_t record, char name) {
        gate.add(Sequence(record), [this, name](const Status& status) {
            answers += name;
            if (!status) {
                EXPECT_EQ(status.error().code, Errno::TimedOut);
                answers += '!';
            }
        });
    }

    RotationGate gate;
    std::string answers;
};

TEST_F(RotationGateTest, NobodyIsAnsweredBeforeTheMarkerIsBack) {
    EXPECT_FALSE(gate.wants_marker());
    add(1, 'a');
    EXPECT_TRUE(gate.wants_marker());
    gate.marker_sent();
    EXPECT_FALSE(gate.wants_marker());
    EXPECT_EQ(answers, "");
    gate.marker_back({});
    EXPECT_EQ(answers, "a");
    EXPECT_TRUE(gate.empty());
    EXPECT_FALSE(gate.wants_marker());
}

TEST_F(RotationGateTest, WhoComesLaterNeedsALaterMarker) {
    add(1, 'a');
    add(2, 'b');
    gate.marker_sent();
    add(3, 'c');
    EXPECT_FALSE(gate.wants_marker()) << "one at a time";
    gate.marker_back({});
    EXPECT_EQ(answers, "ab");
    EXPECT_TRUE(gate.wants_marker());
    gate.marker_sent();
    gate.marker_back({});
    EXPECT_EQ(answers, "abc");
}

TEST_F(RotationGateTest, AMarkerThatIsLostLeavesTheOutcomeUnknown) {
    add(1, 'a');
    gate.marker_sent();
    add(2, 'b');
    gate.marker_back(fail(Errno::Busy, "not sent"));
    EXPECT_EQ(answers, "a!");
    EXPECT_TRUE(gate.wants_marker());
}

TEST_F(RotationGateTest, AnotherTreeComesOverWhatWasApplied) {
    add(1, 'a');
    gate.marker_sent();
    add(2, 'b');
    gate.overwritten(Sequence(5));
    EXPECT_EQ(answers, "a!b!");
    add(5, 'c');  // was applied before, and says so late
    EXPECT_EQ(answers, "a!b!c!");
    add(6, 'd');
    EXPECT_EQ(answers, "a!b!c!");
    gate.marker_back({});  // sent before the takeover: it answers nobody
    EXPECT_EQ(answers, "a!b!c!");
    EXPECT_TRUE(gate.wants_marker());
}

TEST_F(RotationGateTest, TheEndAnswersEverybody) {
    add(1, 'a');
    gate.marker_sent();
    add(2, 'b');
    gate.release("the end");
    EXPECT_EQ(answers, "a!b!");
    EXPECT_TRUE(gate.empty());
}

}  // namespace
}  // namespace cfsgate::replication
