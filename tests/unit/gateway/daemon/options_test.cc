// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/options.h"

#include <gtest/gtest.h>

#include "store/base/files.h"
#include "tests/support/temp_directory.h"

namespace cfsgate::gateway::daemon {
namespace {

class OptionsTest : public ::testing::Test {
protected:
    /// With a default configuration file that is not there, unless write_config() made it.
    std::variant<Options, EarlyExit> parse(std::vector<std::string> words,
                                           const std::string& program = "cfsgated") {
        words.insert(words.begin(), program);
        return parse_options(words, config);
    }
    Options accept(const std::vector<std::string>& words, const std::string& program = "cfsgated") {
        const auto parsed = parse(words, program);
        const auto* exit = std::get_if<EarlyExit>(&parsed);
        EXPECT_EQ(exit, nullptr) << (exit != nullptr ? exit->error : "");
        return exit == nullptr ? std::get<Options>(parsed) : Options{};
    }
    EarlyExit refuse(const std::vector<std::string>& words,
                     const std::string& program = "cfsgated") {
        const auto parsed = parse(words, program);
        const auto* exit = std::get_if<EarlyExit>(&parsed);
        EXPECT_NE(exit, nullptr);
        return exit != nullptr ? *exit : EarlyExit{-1, {}, {}};
    }
    void write_config(const std::string& text) {
        ASSERT_TRUE(write_file_atomically(config, text, 0600, Flush::No));
    }

    test::TempDirectory directory;
    std::string config = directory.file("cfsgate.conf");
};

TEST_F(OptionsTest, DefaultsAreThoseOfTheOriginal) {
    const Options options = accept({});
    EXPECT_EQ(options.identity, "cfsgated");
    EXPECT_FALSE(options.local || options.foreground || options.debug);
    EXPECT_EQ(options.mount_point, "/etc/pve");
    EXPECT_EQ(options.state_directory, "/var/lib/pve-cluster");
    EXPECT_EQ(options.run_directory, "/run/pve-cluster");
    EXPECT_EQ(options.pid_file, "/run/pve-cluster.pid");
    EXPECT_EQ(options.control, "/run/cfsgate/control");
    EXPECT_EQ(options.durability, store::Durability::Durable);
    EXPECT_EQ(options.chmod_policy, ChmodPolicy::Strict);
    EXPECT_EQ(options.history_days, 30U);
    EXPECT_EQ(options.history_mib, 256U);
    EXPECT_EQ(options.tree_bytes_max, 128UL << 20);
    EXPECT_EQ(options.entries_max, 256UL << 10);
    EXPECT_EQ(options.use, DatabaseChoice::Ask);
}

TEST_F(OptionsTest, LocksOfOtherHostsNeedToBeSwitchedOn) {
    EXPECT_FALSE(accept({}).nfs.rpcbind);
    EXPECT_EQ(accept({}).nfs.grace, std::chrono::seconds(45));
    const Options options = accept({"--nfs-rpcbind=on", "--nfs-grace=5", "--state=/s"});
    EXPECT_TRUE(options.nfs.rpcbind);
    EXPECT_EQ(options.nfs.grace, std::chrono::seconds(5));
    EXPECT_EQ(options.nfs.state_directory, "/s");
}

TEST_F(OptionsTest, ReadsEveryOption) {
    const Options options = accept({"-l",
                                    "-f",
                                    "--debug",
                                    "--mount",
                                    "/m/",
                                    "--state=/s",
                                    "--run",
                                    "/r",
                                    "--pid-file",
                                    "/p",
                                    "--control",
                                    "/c",
                                    "--node-name",
                                    "n1",
                                    "--durability",
                                    "relaxed",
                                    "--tree-bytes-max",
                                    "1000",
                                    "--entries-max",
                                    "10",
                                    "--history-days",
                                    "3",
                                    "--history-mib",
                                    "4",
                                    "--chmod",
                                    "lenient",
                                    "--deadline",
                                    "7",
                                    "--use",
                                    "config.db",
                                    "--corosync-conf",
                                    "/cc"});
    EXPECT_TRUE(options.local && options.foreground && options.debug);
    EXPECT_EQ(options.mount_point, "/m");
    EXPECT_EQ(options.state_directory, "/s");
    EXPECT_EQ(options.run_directory, "/r");
    EXPECT_EQ(options.pid_file, "/p");
    EXPECT_EQ(options.control, "/c");
    EXPECT_EQ(options.node_name, "n1");
    EXPECT_EQ(options.durability, store::Durability::Relaxed);
    EXPECT_EQ(options.chmod_policy, ChmodPolicy::Lenient);
    EXPECT_EQ(options.history_days, 3U);
    EXPECT_EQ(options.history_mib, 4U);
    EXPECT_EQ(options.tree_bytes_max, 1000U);
    EXPECT_EQ(options.entries_max, 10U);
    EXPECT_EQ(options.deadline, std::chrono::seconds(7));
    EXPECT_EQ(options.use, DatabaseChoice::ConfigDb);
    EXPECT_EQ(options.corosync_conf, "/cc");
}

TEST_F(OptionsTest, TakingAwayADeadMountIsForTheCommandLineAlone) {
    EXPECT_FALSE(accept({}).unmount_dead);
    EXPECT_TRUE(accept({"--unmount-dead"}).unmount_dead);
    write_config("unmount-dead = true\n");
    EXPECT_EQ(refuse({}).code, 1);
}

TEST_F(OptionsTest, SwitchesMayBeJoined) {
    const Options options = accept({"-lfd"});
    EXPECT_TRUE(options.local && options.foreground && options.debug);
}

TEST_F(OptionsTest, RelativePathsBecomeAbsolute) {
    EXPECT_TRUE(accept({"--state", "here"}).state_directory.starts_with('/'));
}

TEST_F(OptionsTest, HelpAndVersionEndWithZero) {
    for (const char* word : {"-h", "--help", "--version"}) {
        const EarlyExit exit = refuse({word});
        EXPECT_EQ(exit.code, 0) << word;
        EXPECT_FALSE(exit.output.empty()) << word;
        EXPECT_TRUE(exit.error.empty()) << word;
    }
}

TEST_F(OptionsTest, AWrongOptionEndsWithOne) {
    for (const char* word :
         {"--nonsense", "-x", "--loca", "--debug=yes", "--mount", "--mount=", "--durability=maybe",
          "--chmod=x", "--deadline=0", "--nfs-grace=-1", "--nfs-rpcbind=x", "--deadline=-1",
          "--deadline=5s", "--history-days=0", "--history-mib=0",
          "--entries-max=", "--tree-bytes-max=99999999999999", "--use=both"}) {
        const EarlyExit exit = refuse({word});
        EXPECT_EQ(exit.code, 1) << word;
        EXPECT_FALSE(exit.error.empty()) << word;
    }
}

TEST_F(OptionsTest, LeftOverArgumentsEndWith255) {
    EXPECT_EQ(refuse({"something"}).code, 255);
    EXPECT_EQ(refuse({"-f", "--", "-l"}).code, 255);
    EXPECT_NE(refuse({"something"}).error.find("'something'"), std::string::npos);
}

TEST_F(OptionsTest, ByTheNamePmxcfsOnlyTheOriginalsOptionsExist) {
    const std::string program = "/usr/bin/pmxcfs";
    const Options options = accept({"-d", "-f", "-l"}, program);
    EXPECT_EQ(options.identity, "pmxcfs");
    EXPECT_TRUE(options.local && options.foreground && options.debug);
    EXPECT_EQ(options.mount_point, "/etc/pve");
    EXPECT_EQ(accept({}, program).state_directory, "/var/lib/pve-cluster");

    for (const char* word : {"--mount=/m", "--state=/s", "--config=/c", "--version", "--use=store",
                             "--unmount-dead"}) {
        EXPECT_EQ(refuse({word}, program).code, 1) << word;
    }
    for (const char* word : {"-h", "--help", "-?", "--help-all"}) {
        EXPECT_EQ(refuse({word}, program).code, 0) << word;
    }
    EXPECT_EQ(refuse({"word"}, program).code, 255);
}

TEST_F(OptionsTest, TheConfigurationFileSetsWhatTheCommandLineLeavesOpen) {
    write_config("# comment\nmount = /from/file\ndurability=relaxed\ndebug = yes\nlocal = true\n");
    const Options options = accept({"--mount", "/from/line"});
    EXPECT_EQ(options.mount_point, "/from/line");
    EXPECT_EQ(options.durability, store::Durability::Relaxed);
    EXPECT_TRUE(options.debug);
    EXPECT_TRUE(options.local);
    EXPECT_FALSE(options.foreground);
    EXPECT_EQ(accept({}, "pmxcfs").durability, store::Durability::Relaxed);
}

TEST_F(OptionsTest, AnUnknownKeyIsNamedWithItsFile) {
    write_config("mount = /m\ndurabilty = relaxed\n");
    const EarlyExit exit = refuse({});
    EXPECT_EQ(exit.code, 1);
    EXPECT_NE(exit.error.find(config), std::string::npos);
    EXPECT_NE(exit.error.find("'durabilty'"), std::string::npos);
}

TEST_F(OptionsTest, WhatBelongsToTheCommandLineAloneIsNoKey) {
    for (const char* line : {"use = store", "foreground = yes", "config = /x", "help = yes"}) {
        write_config(line);
        EXPECT_EQ(refuse({}).code, 1) << line;
    }
}

TEST_F(OptionsTest, ABrokenConfigurationFileIsNamed) {
    for (const char* text : {"no equals sign\n", "debug = perhaps\n", "deadline = x\n"}) {
        write_config(text);
        EXPECT_EQ(refuse({}).code, 1) << text;
    }
    write_config("no equals sign\n");
    EXPECT_NE(refuse({}).error.find(config), std::string::npos);
}

TEST_F(OptionsTest, ANamedConfigurationFileMustExist) {
    const EarlyExit exit = refuse({"--config", directory.file("none")});
    EXPECT_EQ(exit.code, 1);
    EXPECT_NE(exit.error.find(directory.file("none")), std::string::npos);
}

}  // namespace
}  // namespace cfsgate::gateway::daemon
