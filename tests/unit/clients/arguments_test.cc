// SPDX-License-Identifier: Apache-2.0
#include "clients/arguments.h"

#include <fstream>

#include <gtest/gtest.h>

#include "clients/exit_code.h"
#include "tests/support/temp_directory.h"

namespace cfsgate::clients {
namespace {

class ArgumentsTest : public ::testing::Test {
protected:
    /// With a configuration file of this text.
    std::variant<Arguments, EarlyExit> parse(OptionSet options, std::vector<std::string> words,
                                             const std::string& text = "") const {
        const std::string file = directory.file("cfsgate.conf");
        std::ofstream(file) << text;
        words.insert(words.begin(), {"--config", file});
        return parse_arguments({"x", "[PATH]", "", 0, 1, options}, words);
    }
    Arguments parsed(OptionSet options, const std::vector<std::string>& words,
                     const std::string& text = "") const {
        const auto result = parse(options, words, text);
        if (const auto* exit = std::get_if<EarlyExit>(&result)) ADD_FAILURE() << exit->error;
        return std::holds_alternative<Arguments>(result) ? std::get<Arguments>(result)
                                                         : Arguments{};
    }
    int refused(OptionSet options, const std::vector<std::string>& words) const {
        const auto result = parse(options, words);
        return std::holds_alternative<EarlyExit>(result) ? std::get<EarlyExit>(result).code : kOk;
    }

    test::TempDirectory directory;
};

TEST_F(ArgumentsTest, ThePortIsTheConfiguredOneUnlessNamed) {
    EXPECT_EQ(parsed(OptionSet::Nfs, {}).port, 2049);
    EXPECT_EQ(parsed(OptionSet::Nfs, {}, "nfs-port = 3049\n").port, 3049);
    EXPECT_EQ(parsed(OptionSet::MountNfs, {"--port", "4049"}, "nfs-port = 3049\n").port, 4049);
}

TEST_F(ArgumentsTest, RulesForRemoteHostsAreNotForCommands) {
    const std::string text =
        "nfs-port = 3049\n[export]\nallow = 192.0.2.0/24 rw\nallow = 2001:db8::/32 squash=all\n";
    EXPECT_EQ(parsed(OptionSet::Nfs, {}, text).port, 3049);
    EXPECT_EQ(parsed(OptionSet::Daemon, {}, text).state, default_paths::kState);
}

TEST_F(ArgumentsTest, NumbersHaveTheirRange) {
    for (const char* port : {"0", "-1", "65536", "nfs", ""}) {
        EXPECT_EQ(refused(OptionSet::Nfs, {"--port", port}), kUsage) << port;
    }
    EXPECT_EQ(refused(OptionSet::Nfs, {"--timeout", "0"}), kUsage);
    EXPECT_EQ(refused(OptionSet::Nfs, {"--timeout", "3601"}), kUsage);
    EXPECT_EQ(parsed(OptionSet::Nfs, {"--timeout", "3600"}).timeout_seconds, 3600);
}

TEST_F(ArgumentsTest, EachSetHasItsOwnOptions) {
    EXPECT_TRUE(parsed(OptionSet::NfsList, {"-l", "--json", "path"}).long_listing);
    EXPECT_TRUE(parsed(OptionSet::NfsPut, {"--in-place"}).in_place);
    EXPECT_EQ(parsed(OptionSet::MountNfs, {"-o", "a", "-o", "b,c"}).mount_options,
              (std::vector<std::string>{"a", "b,c"}));
    EXPECT_EQ(parsed(OptionSet::MountNfs, {"--address", "::1"}).server, "::1");
    EXPECT_EQ(refused(OptionSet::Nfs, {"--json"}), kUsage);
    EXPECT_EQ(refused(OptionSet::Daemon, {"--checksum"}), kUsage);
    EXPECT_EQ(refused(OptionSet::Daemon, {"--server", "x"}), kUsage);
}

TEST_F(ArgumentsTest, TopHasAnIntervalAndACount) {
    EXPECT_EQ(parsed(OptionSet::Top, {}).interval_seconds, 1);
    EXPECT_EQ(parsed(OptionSet::Top, {}).count, 0);
    const Arguments arguments = parsed(OptionSet::Top, {"--interval", "5", "-n", "3"});
    EXPECT_EQ(arguments.interval_seconds, 5);
    EXPECT_EQ(arguments.count, 3);
    EXPECT_EQ(refused(OptionSet::Top, {"--interval", "0"}), kUsage);
    EXPECT_EQ(refused(OptionSet::Top, {"-n", "0"}), kUsage);
}

TEST_F(ArgumentsTest, HistoryHasPlacesInThePast) {
    EXPECT_EQ(parsed(OptionSet::Log, {}).count, 100);
    const Arguments log = parsed(OptionSet::Log, {"-n", "5", "--since", "1h", "--until", "13:45",
                                                  "--reverse", "--json", "path"});
    EXPECT_EQ(log.count, 5);
    EXPECT_EQ(log.since, "1h");
    EXPECT_EQ(log.until, "13:45");
    EXPECT_TRUE(log.reverse && log.json);
    const Arguments restore = parsed(OptionSet::Restore, {"--all", "--at", "1h", "--dry-run"});
    EXPECT_TRUE(restore.all && restore.dry_run);
    EXPECT_EQ(restore.at, "1h");
    EXPECT_EQ(parsed(OptionSet::Restore, {"--all", "--version", "#5"}).version, "#5");
    EXPECT_TRUE(parsed(OptionSet::Purge, {"--all-nodes", "path"}).all_nodes);
    EXPECT_EQ(refused(OptionSet::Purge, {"--all"}), kUsage);
    EXPECT_EQ(refused(OptionSet::Log, {"-n", "0"}), kUsage);
    EXPECT_EQ(refused(OptionSet::Log, {"--all"}), kUsage);
    EXPECT_EQ(refused(OptionSet::Daemon, {"--dry-run"}), kUsage);
}

TEST_F(ArgumentsTest, BackupsAndRecovery) {
    const Arguments backup = parsed(OptionSet::Backup, {"--force", "--check", "file"});
    EXPECT_TRUE(backup.force && backup.check_only);
    EXPECT_EQ(parsed(OptionSet::Backup, {}, "node-name = n1\n").node_name, "n1");
    EXPECT_EQ(parsed(OptionSet::Backup, {"--node-name", "n2"}, "node-name = n1\n").node_name, "n2");
    // What recover moves is asked for by name.
    EXPECT_EQ(parsed(OptionSet::Recover, {}, "node-name = n1\n").node_name, "");
    EXPECT_TRUE(parsed(OptionSet::Recover, {"--replace", "--node-name=n2"}).replace);
    EXPECT_TRUE(parsed(OptionSet::Repair, {"--dry-run"}).dry_run);
    EXPECT_EQ(refused(OptionSet::Repair, {"--force"}), kUsage);
}

TEST_F(ArgumentsTest, WhetherAStateDirectoryWasNamed) {
    EXPECT_FALSE(parsed(OptionSet::Daemon, {}).state_given);
    EXPECT_TRUE(parsed(OptionSet::Daemon, {"--state", "/s"}).state_given);
    EXPECT_TRUE(parsed(OptionSet::Daemon, {}, "state = /s\n").state_given);
}

TEST_F(ArgumentsTest, CorosyncConfIsTheConfiguredOneUnlessNamed) {
    EXPECT_EQ(parsed(OptionSet::Doctor, {}, "corosync-conf = /x\n").corosync_conf, "/x");
    EXPECT_EQ(
        parsed(OptionSet::Doctor, {"--corosync-conf", "/y"}, "corosync-conf = /x\n").corosync_conf,
        "/y");
    EXPECT_EQ(parsed(OptionSet::Daemon, {}).corosync_conf, default_paths::kCorosyncConf);
}

}  // namespace
}  // namespace cfsgate::clients
