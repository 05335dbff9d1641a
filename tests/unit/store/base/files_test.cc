// SPDX-License-Identifier: Apache-2.0
#include "store/base/files.h"

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/temp_directory.h"

namespace cfsgate {
namespace {

TEST(Files, WritesContentAndMode) {
    const test::TempDirectory directory;
    const std::string file = directory.file("f");
    ASSERT_TRUE(write_file_atomically(file, "old", 0600, Flush::No));
    ASSERT_TRUE(write_file_atomically(file, "new text", 0644, Flush::Yes));

    EXPECT_EQ(read_small_file(file).value(), "new text");
    struct stat status {};
    ASSERT_EQ(::stat(file.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0644U);
}

TEST(Files, ReadersSeeTheOldContentOrTheNewOne) {
    const test::TempDirectory directory;
    const std::string file = directory.file("f");
    const std::string one(5000, '1');
    const std::string two(9000, '2');
    ASSERT_TRUE(write_file_atomically(file, one, 0644, Flush::No));
    std::atomic<bool> done{false};
    std::thread writer([&] {
        for (int i = 0; i < 200; ++i) {
            EXPECT_TRUE(write_file_atomically(file, i % 2 == 0 ? two : one, 0644, Flush::No));
        }
        done = true;
    });
    while (!done) {
        const auto content = read_small_file(file);
        EXPECT_TRUE(content && (*content == one || *content == two));
    }
    writer.join();
}

TEST(Files, AFailedWriteLeavesNothingBehindAndNamesThePath) {
    const test::TempDirectory directory;
    std::filesystem::create_directory(directory.file("d"));
    const auto refused = write_file_atomically(directory.file("d"), "x", 0644, Flush::No);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().detail.find(directory.file("d")), std::string::npos);

    const auto missing = write_file_atomically(directory.file("no/f"), "x", 0644, Flush::No);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, Errno::NotFound);
    const std::filesystem::directory_iterator left(directory.path());
    EXPECT_EQ(std::distance(begin(left), end(left)), 1);
}

TEST(Files, ReadsNoMoreThanAskedFor) {
    const test::TempDirectory directory;
    ASSERT_TRUE(write_file_atomically(directory.file("f"), "123456", 0644, Flush::No));
    EXPECT_EQ(read_small_file(directory.file("f"), 4).value(), "1234");
    EXPECT_EQ(read_small_file(directory.file("none")).error().code, Errno::NotFound);
}

}  // namespace
}  // namespace cfsgate
