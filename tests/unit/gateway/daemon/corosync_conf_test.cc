// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/corosync_conf.h"

#include <sys/stat.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "store/base/files.h"
#include "tests/support/temp_directory.h"

namespace cfsgate::gateway::daemon {
namespace {

TEST(ConfigVersionOf, IsTheFirstMatchWhereverItStands) {
    EXPECT_EQ(config_version_of("totem {\n  config_version: 4\n}\n"), 4U);
    EXPECT_EQ(config_version_of("# config_version: 7\nconfig_version: 4\n"), 7U);
    EXPECT_EQ(config_version_of("config_version: 2\nconfig_version: 9\n"), 2U);
    EXPECT_EQ(config_version_of("my_config_version:3"), 3U);
    EXPECT_EQ(config_version_of("config_version \t:\n 5x"), 5U);
}

TEST(ConfigVersionOf, PassesOverWhatIsNoMatch) {
    EXPECT_EQ(config_version_of("config_version config_version: x config_version: 6"), 6U);
    EXPECT_EQ(config_version_of("config_version = 1"), std::nullopt);
}

TEST(ConfigVersionOf, IsNothingWhereThereIsNoneOrZero) {
    EXPECT_EQ(config_version_of(""), std::nullopt);
    EXPECT_EQ(config_version_of("totem {\n}\n"), std::nullopt);
    EXPECT_EQ(config_version_of("config_version:"), std::nullopt);
    EXPECT_EQ(config_version_of("config_version: 0\n"), std::nullopt);
    EXPECT_EQ(config_version_of("config_version: 0\nconfig_version: 3\n"), std::nullopt);
}

class UpdateCorosyncConfTest : public ::testing::Test {
protected:
    ConfUpdate update(const std::string& text) const {
        const auto done = update_corosync_conf(text, path(), null_logger());
        if (!done) ADD_FAILURE() << done.error().detail;
        return done.value_or(ConfUpdate::Nothing);
    }
    std::string path() const { return directory.file("corosync.conf"); }
    std::string content() const { return read_small_file(path()).value_or("missing"); }
    void have(const std::string& text) const {
        ASSERT_TRUE(write_file_atomically(path(), text, 0644, Flush::No));
    }

    test::TempDirectory directory;
};

TEST_F(UpdateCorosyncConfTest, AMissingFileIsWritten) {
    EXPECT_EQ(update("config_version: 2\n"), ConfUpdate::Written);
    EXPECT_EQ(content(), "config_version: 2\n");
    struct stat found {};
    ASSERT_EQ(::stat(path().c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0644U);
}

TEST_F(UpdateCorosyncConfTest, AFileWithoutAVersionIsWrittenOver) {
    have("nothing of note\n");
    EXPECT_EQ(update("config_version: 1\n"), ConfUpdate::Written);
    EXPECT_EQ(content(), "config_version: 1\n");
}

TEST_F(UpdateCorosyncConfTest, TheSameBytesAreLeftAlone) {
    have("config_version: 2\n");
    EXPECT_EQ(update("config_version: 2\n"), ConfUpdate::Same);
}

TEST_F(UpdateCorosyncConfTest, AnOlderTextIsRefused) {
    have("config_version: 3\n");
    EXPECT_EQ(update("config_version: 2\n"), ConfUpdate::FileNewer);
    EXPECT_EQ(content(), "config_version: 3\n");
}

TEST_F(UpdateCorosyncConfTest, ANewerTextAndOneOfTheSameVersionReplaceTheFile) {
    have("config_version: 3\n");
    EXPECT_EQ(update("config_version: 4\n"), ConfUpdate::Replaced);
    EXPECT_EQ(update("config_version: 4\n# other bytes\n"), ConfUpdate::Replaced);
    EXPECT_EQ(content(), "config_version: 4\n# other bytes\n");
}

TEST_F(UpdateCorosyncConfTest, ATextWithoutAVersionDoesNothing) {
    have("config_version: 3\n");
    EXPECT_EQ(update(""), ConfUpdate::Nothing);
    EXPECT_EQ(update("totem {\n}\n"), ConfUpdate::Nothing);
    EXPECT_EQ(update("config_version: 0\n"), ConfUpdate::Nothing);
    EXPECT_EQ(content(), "config_version: 3\n");
}

TEST_F(UpdateCorosyncConfTest, NothingIsLeftBesideTheFile) {
    EXPECT_EQ(update("config_version: 2\n"), ConfUpdate::Written);
    const std::filesystem::directory_iterator entries(directory.path());
    EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST_F(UpdateCorosyncConfTest, SaysWhatTheSystemSays) {
    const auto done =
        update_corosync_conf("config_version: 2\n", directory.file("none/f"), null_logger());
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Errno::NotFound);
}

TEST(ClusterNameTest, IsTheFirstThatIsNoComment) {
    EXPECT_EQ(cluster_name_of("# cluster_name: no\ntotem {\n  cluster_name: lab \n}\n"), "lab");
    EXPECT_EQ(cluster_name_of("\tcluster_name:x"), "x");
    EXPECT_EQ(cluster_name_of("cluster_name:\n cluster_name:  \n"), std::nullopt);
    EXPECT_EQ(cluster_name_of(""), std::nullopt);
}

}  // namespace
}  // namespace cfsgate::gateway::daemon
