// SPDX-License-Identifier: Apache-2.0
#include "gateway/access.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/support/vectors.h"
#include "tests/unit/gateway/fake_sequencer.h"

namespace cfsgate::gateway {
namespace {

constexpr gid_t kGroup = 33;

class FixedGroups final : public GroupSource {
public:
    explicit FixedGroups(std::vector<gid_t> groups) : groups_(std::move(groups)) {}
    std::vector<gid_t> groups_of(const Caller&) const override { return groups_; }

private:
    std::vector<gid_t> groups_;
};

class AccessTest : public testing::Test {
protected:
    static Caller caller(uid_t uid, gid_t gid, const GroupSource* groups = nullptr) {
        return {uid, gid, 0, groups};
    }
    static Errno code_of(const Status& status) {
        return status ? Errno::TryAgain : status.error().code;
    }

    FakeSequencer sequencer;
    AccessRules rules{kGroup, sequencer};
};

TEST_F(AccessTest, PrivatePathsOfTheVector) {
    const auto vector = test::load_vectors("path-rules.json");
    for (const auto& row : vector["paths"]) {
        const auto path = row["path"].get<std::string>();
        if (path.empty() || path == "/") continue;
        const bool is_private = row["private"].get<bool>();
        sequencer.is_quorate = true;
        EXPECT_EQ(rules.mode(path, true), is_private ? 0700U : 0755U) << path;
        EXPECT_EQ(rules.mode(path, false), is_private ? 0600U : 0640U) << path;
        EXPECT_EQ(rules.may_search(caller(33, kGroup), path), !is_private) << path;
        EXPECT_TRUE(rules.may_search(caller(0, 0), path));
        sequencer.is_quorate = false;
        EXPECT_EQ(rules.mode(path, true), is_private ? 0500U : 0555U) << path;
        EXPECT_EQ(rules.mode(path, false), is_private ? 0400U : 0440U) << path;
    }
}

TEST_F(AccessTest, TheRootNeverChanges) {
    EXPECT_EQ(rules.mode("", true), 0755U);
    sequencer.is_quorate = false;
    EXPECT_EQ(rules.mode("", true), 0755U);
}

TEST_F(AccessTest, ActionScripts) {
    EXPECT_EQ(rules.mode("nodes/a/openvz/101.start", false), 0740U);
    EXPECT_EQ(rules.mode("vps.mount", false), 0740U);
    EXPECT_EQ(rules.mode("priv/vps.mount", false), 0700U);
    EXPECT_EQ(rules.mode("vps.mount", true), 0755U);
    EXPECT_EQ(rules.mode("0.mount", false), 0640U);
    sequencer.is_quorate = false;
    EXPECT_EQ(rules.mode("vps.mount", false), 0540U);
    EXPECT_EQ(rules.mode("priv/vps.mount", false), 0500U);
}

TEST_F(AccessTest, VirtualEntries) {
    for (const bool quorate : {true, false}) {
        sequencer.is_quorate = quorate;
        for (const VirtualName& row : kVirtualNames) {
            const std::uint32_t expected = row.entry == VirtualEntry::Debug ? 0640U
                                           : !row.is_link                   ? 0440U
                                           : quorate                        ? 0755U
                                                                            : 0555U;
            EXPECT_EQ(rules.mode(row.entry), expected) << row.name;
        }
    }
}

TEST_F(AccessTest, WhoTheBitsAreFor) {
    const FixedGroups member({5, kGroup});
    const FixedGroups stranger({5, 6});
    const auto grants = [&](const Caller& who, std::uint32_t mode, int mask) {
        return rules.grants(who, mode, mask);
    };
    EXPECT_TRUE(grants(caller(0, 0), 0, R_OK | W_OK | X_OK));
    for (const Caller& who :
         {caller(33, kGroup), caller(1000, kGroup), caller(1000, 1000, &member)}) {
        EXPECT_TRUE(grants(who, 0640, R_OK));
        EXPECT_FALSE(grants(who, 0640, W_OK));
        EXPECT_FALSE(grants(who, 0640, R_OK | W_OK));
        EXPECT_FALSE(grants(who, 0600, R_OK));
        EXPECT_TRUE(grants(who, 0755, R_OK | X_OK));
    }
    for (const Caller& who :
         {caller(1000, 1000), caller(33, 1000), caller(1000, 1000, &stranger)}) {
        EXPECT_FALSE(grants(who, 0640, R_OK));
        EXPECT_TRUE(grants(who, 0755, R_OK | X_OK));
        EXPECT_FALSE(grants(who, 0755, W_OK));
    }
}

TEST_F(AccessTest, OnlyRootWithQuorumChanges) {
    EXPECT_TRUE(rules.may_change(caller(0, 0)));
    EXPECT_EQ(code_of(rules.may_change(caller(33, kGroup))), Errno::NoAccess);
    sequencer.is_quorate = false;
    EXPECT_EQ(code_of(rules.may_change(caller(0, 0))), Errno::NoAccess);
}

TEST_F(AccessTest, ChmodAndChownAllowWhatIsSo) {
    sequencer.is_quorate = false;  // they work without quorum as well
    const Caller root = caller(0, 0);
    EXPECT_TRUE(rules.may_chmod(root, "user.cfg", 0640));
    EXPECT_TRUE(rules.may_chmod(root, "", 0640));
    EXPECT_TRUE(rules.may_chmod(root, "priv/x", 0600));
    EXPECT_TRUE(rules.may_chmod(root, "user.cfg", 0100640));
    for (const std::uint32_t mode : {0600U, 0644U, 0755U, 01640U, 04640U, 0U}) {
        EXPECT_EQ(code_of(rules.may_chmod(root, "user.cfg", mode)), Errno::NotPermitted) << mode;
    }
    EXPECT_EQ(code_of(rules.may_chmod(root, "priv", 0640)), Errno::NotPermitted);
    EXPECT_EQ(code_of(rules.may_chmod(caller(33, kGroup), "x", 0640)), Errno::NotPermitted);
    const auto same = static_cast<std::uint32_t>(-1);
    EXPECT_TRUE(rules.may_chown(root, 0, kGroup));
    EXPECT_TRUE(rules.may_chown(root, same, same));
    EXPECT_EQ(code_of(rules.may_chown(root, 1000, same)), Errno::NotPermitted);
    EXPECT_EQ(code_of(rules.may_chown(root, 0, 0)), Errno::NotPermitted);
    EXPECT_EQ(code_of(rules.may_chown(caller(33, kGroup), same, same)), Errno::NotPermitted);
}

}  // namespace
}  // namespace cfsgate::gateway
