// SPDX-License-Identifier: Apache-2.0
#include "store/change_counters.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/support/vectors.h"

namespace cfsgate::store {
namespace {

TEST(ChangeCountersTest, CountsExactPathsAlone) {
    ChangeCounters counters;
    for (std::size_t i = 0; i < kObservedPaths.size(); ++i) EXPECT_EQ(counters.get(i), 0U);
    counters.count_all();
    counters.count("user.cfg");
    counters.count("/user.cfg");
    counters.count("user.cfg/");
    counters.count("priv/user.cfg");
    counters.count("");
    for (std::size_t i = 0; i < kObservedPaths.size(); ++i) {
        EXPECT_EQ(counters.get(i), kObservedPaths[i] == "user.cfg" ? 2U : 1U) << kObservedPaths[i];
    }
}

TEST(ChangeCountersTest, ThePathsAreThoseOfTheVersionFileInItsOrder) {
    const std::string text =
        test::read_file(test::data_path("vectors/virtual-files/version-after-open.txt"));
    std::size_t at = text.find("\"vmlist\"");
    for (const std::string_view path : kObservedPaths) {
        const std::string line = "\n\"" + std::string(path) + "\": 1,";
        const std::size_t next = text.find(line, at);
        ASSERT_NE(next, std::string::npos) << path;
        EXPECT_EQ(text.find('\n', at), next) << path << " is not the next line";
        at = next + 1;
    }
    EXPECT_EQ(text.find('\n', at) + 1, text.find("\"kvstore\""));
}

}  // namespace
}  // namespace cfsgate::store
