// SPDX-License-Identifier: Apache-2.0
#include "store/lock_leases.h"

#include <gtest/gtest.h>

#include "store/model/digest.h"

namespace cfsgate::store {
namespace {

class LockLeasesTest : public testing::Test {
protected:
    std::uint32_t now = 1000;
    LockLeases leases{[this] { return now; }};
    const Digest one = Sha256::of("one");
    const Digest two = Sha256::of("two");
};

TEST_F(LockLeasesTest, MoreThan120SecondsExpire) {
    leases.start("l", one);
    now += 120;
    EXPECT_FALSE(leases.expired("l", one));
    now += 1;
    EXPECT_TRUE(leases.expired("l", one));
    EXPECT_TRUE(leases.expired("l", one));
}

TEST_F(LockLeasesTest, TheFirstQuestionStartsTheTime) {
    EXPECT_FALSE(leases.expired("l", one));
    now += 121;
    EXPECT_TRUE(leases.expired("l", one));
}

TEST_F(LockLeasesTest, AnotherStateOfTheLockStartsAnew) {
    leases.start("l", one);
    now += 500;
    EXPECT_FALSE(leases.expired("l", two));
    EXPECT_FALSE(leases.expired("l", one));
    now += 121;
    EXPECT_TRUE(leases.expired("l", one));
    leases.start("l", one);
    EXPECT_FALSE(leases.expired("l", one));
}

TEST_F(LockLeasesTest, LocksAreApart) {
    leases.start("l", one);
    now += 100;
    leases.start("m", one);
    now += 100;
    EXPECT_TRUE(leases.expired("l", one));
    EXPECT_FALSE(leases.expired("m", one));
    leases.remove("l");
    leases.remove("unknown");
    EXPECT_FALSE(leases.expired("l", one));
    now += 200;
    leases.rebuild({});
    EXPECT_FALSE(leases.expired("m", one));
}

TEST_F(LockLeasesTest, AClockThatIsSetBackExpiresNothing) {
    leases.start("l", one);
    now -= 500;
    EXPECT_FALSE(leases.expired("l", one));
}

}  // namespace
}  // namespace cfsgate::store
