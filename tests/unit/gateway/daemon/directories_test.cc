// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/directories.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "store/base/files.h"
#include "tests/support/temp_directory.h"

namespace cfsgate::gateway::daemon {
namespace {

mode_t mode_of(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777U;
}

TEST(PidFile, HoldsThePidAndALineFeed) {
    const test::TempDirectory directory;
    const std::string file = directory.file("daemon.pid");
    ASSERT_TRUE(write_pid_file(file));
    EXPECT_EQ(read_small_file(file).value(), std::to_string(::getpid()) + "\n");
    EXPECT_EQ(mode_of(file), 0644U);
}

TEST(PidFile, ReplacesAnOldOneAndLeavesNoTemporaryFile) {
    const test::TempDirectory directory;
    const std::string file = directory.file("daemon.pid");
    ASSERT_TRUE(write_file_atomically(file, "old and longer than a pid", 0600, Flush::No));
    ASSERT_TRUE(write_pid_file(file));
    EXPECT_EQ(read_small_file(file).value(), std::to_string(::getpid()) + "\n");
    const std::filesystem::directory_iterator left(directory.path());
    EXPECT_EQ(std::distance(begin(left), end(left)), 1);
}

TEST(PidFile, AMissingDirectoryIsAnErrorThatNamesThePath) {
    const auto refused = write_pid_file("/nonexistent/daemon.pid");
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().detail.find("/nonexistent/daemon.pid"), std::string::npos);
}

TEST(RestartFlag, IsEmptyReadOnlyAndGoesAway) {
    const test::TempDirectory directory;
    const std::string file = directory.file("cfs-restart-flag");
    ASSERT_TRUE(raise_restart_flag(directory.path(), ::getegid()));
    EXPECT_EQ(mode_of(file), 0440U);
    EXPECT_EQ(std::filesystem::file_size(file), 0U);
    clear_restart_flag(directory.path());
    EXPECT_FALSE(std::filesystem::exists(file));
    clear_restart_flag(directory.path());
}

TEST(Directories, AreCreatedWithWhatIsAboveThem) {
    const test::TempDirectory directory;
    const std::string path = directory.file("a/b");
    ASSERT_TRUE(make_directory(path, 0750));
    EXPECT_EQ(mode_of(path), 0750U);
    EXPECT_TRUE(make_directory(path, 0700));
    EXPECT_EQ(mode_of(path), 0750U) << "an existing directory keeps its mode";

    ASSERT_TRUE(write_file_atomically(directory.file("f"), "", 0600, Flush::No));
    EXPECT_FALSE(make_directory(directory.file("f"), 0750));
}

}  // namespace
}  // namespace cfsgate::gateway::daemon
