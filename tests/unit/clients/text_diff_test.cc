// SPDX-License-Identifier: Apache-2.0
#include "clients/text_diff.h"

#include <sstream>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/prng.h"

namespace cfsgate::clients {
namespace {

std::string diff(std::string_view before, std::string_view after) {
    return unified_diff(before, after, "one", "two");
}

TEST(TextDiffTest, AsDiffShowsIt) {
    EXPECT_EQ(diff("a\n", "a\n"), "");
    EXPECT_EQ(diff("", "a\n"), "--- one\n+++ two\n@@ -0,0 +1 @@\n+a\n");
    EXPECT_EQ(diff("a\n", ""), "--- one\n+++ two\n@@ -1 +0,0 @@\n-a\n");
    EXPECT_EQ(diff("a\nb\nc\n", "a\nB\nc\n"),
              "--- one\n+++ two\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
    EXPECT_EQ(diff("a", "a\n"),
              "--- one\n+++ two\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n");
    EXPECT_EQ(diff(std::string_view("a\0", 2), "b"), "Binary files one and two differ\n");
}

TEST(TextDiffTest, ChangesFarApartAreHunksOfTheirOwn) {
    std::string before;
    std::string after;
    for (int i = 1; i <= 30; ++i) {
        const std::string line = std::to_string(i) + "\n";
        before += line;
        after += i == 5 ? "five\n" : i == 25 ? "" : line;
    }
    EXPECT_EQ(diff(before, after),
              "--- one\n+++ two\n"
              "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
              "@@ -22,7 +22,6 @@\n 22\n 23\n 24\n-25\n 26\n 27\n 28\n");
}

/// What the diff says, done to the first text, gives the second.
std::string patched(const std::string& before, const std::string& diff) {
    std::istringstream lines(before);
    std::istringstream edits(diff);
    std::string line;
    std::string edit;
    std::string after;
    std::size_t at = 0;
    while (std::getline(edits, edit)) {
        if (edit.starts_with("---") || edit.starts_with("+++")) continue;
        if (edit.starts_with("@@")) {
            std::size_t first = std::stoul(edit.substr(4));
            if (edit.substr(4, edit.find(' ', 4) - 4).ends_with(",0")) ++first;
            for (; at + 1 < first && std::getline(lines, line); ++at) after += line + "\n";
            continue;
        }
        if (edit[0] != '+') {
            EXPECT_TRUE(std::getline(lines, line));
            EXPECT_EQ(line, edit.substr(1));
            ++at;
        }
        if (edit[0] != '-') after += edit.substr(1) + "\n";
    }
    while (std::getline(lines, line)) after += line + "\n";
    return after;
}

TEST(TextDiffTest, RandomTexts) {
    test::Prng prng(4);
    for (int round = 0; round < 500; ++round) {
        const auto text = [&] {
            std::string made;
            for (std::size_t i = prng.below(40); i > 0; --i) {
                made += std::string(1, static_cast<char>('a' + prng.below(4))) + "\n";
            }
            return made;
        };
        const std::string before = text();
        const std::string after = text();
        EXPECT_EQ(patched(before, diff(before, after)), after) << before << "---\n" << after;
    }
}

TEST(TextDiffTest, TextsThatHaveNothingInCommon) {
    std::string before;
    std::string after;
    for (int i = 0; i < 5000; ++i) {
        before += "a" + std::to_string(i) + "\n";
        after += "b" + std::to_string(i) + "\n";
    }
    EXPECT_EQ(patched(before, diff(before, after)), after);
}

}  // namespace
}  // namespace cfsgate::clients
