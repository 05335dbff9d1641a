// SPDX-License-Identifier: Apache-2.0
#include "store/directory_lock.h"

#include <sys/stat.h>

#include <filesystem>
#include <future>

#include <gtest/gtest.h>

#include "tests/support/temp_directory.h"

namespace cfsgate::store {
namespace {

using std::chrono::seconds;

TEST(DirectoryLockTest, OneHolderAtATime) {
    const test::TempDirectory directory;
    {
        const auto first = DirectoryLock::acquire(directory.path(), seconds(0));
        ASSERT_TRUE(first);
        const auto second = DirectoryLock::acquire(directory.path(), seconds(0));
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().code, Errno::Busy);
        EXPECT_NE(second.error().detail.find(directory.file(".pmxcfs.lockfile")),
                  std::string::npos);
    }
    EXPECT_TRUE(DirectoryLock::acquire(directory.path(), seconds(0)));
    struct stat info {};
    ASSERT_EQ(::stat(directory.file(".pmxcfs.lockfile").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600U);
}

TEST(DirectoryLockTest, WaitsForTheHolder) {
    const test::TempDirectory directory;
    auto first = std::make_unique<Result<DirectoryLock>>(
        DirectoryLock::acquire(directory.path(), seconds(0)));
    auto second = std::async(std::launch::async, [&] {
        return DirectoryLock::acquire(directory.path(), seconds(30)).has_value();
    });
    first.reset();
    EXPECT_TRUE(second.get());
}

TEST(DirectoryLockTest, ReadersShareItAndMakeNothing) {
    const test::TempDirectory directory;
    const auto nobody = DirectoryLock::share(directory.path());
    ASSERT_TRUE(nobody);
    EXPECT_FALSE(nobody->has_value());
    EXPECT_FALSE(std::filesystem::exists(directory.file(".pmxcfs.lockfile")));
    {
        const auto owner = DirectoryLock::acquire(directory.path(), seconds(0));
        const auto refused = DirectoryLock::share(directory.path());
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, Errno::Busy);
    }
    const auto one = DirectoryLock::share(directory.path());
    const auto other = DirectoryLock::share(directory.path());
    EXPECT_TRUE(one && one->has_value() && other && other->has_value());
    EXPECT_FALSE(DirectoryLock::acquire(directory.path(), seconds(0)));
}

TEST(DirectoryLockTest, WithoutADirectory) {
    const auto lock = DirectoryLock::acquire("/nonexistent/directory", seconds(0));
    ASSERT_FALSE(lock);
    EXPECT_EQ(lock.error().code, Errno::NotFound);
}

}  // namespace
}  // namespace cfsgate::store
