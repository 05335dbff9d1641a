// SPDX-License-Identifier: Apache-2.0
#include "clients/mount_nfs_options.h"

#include <gtest/gtest.h>

namespace cfsgate::clients {
namespace {

TEST(MountNfsOptions, NameThePortForBothProtocols) {
    Arguments arguments;
    arguments.port = 12049;
    EXPECT_EQ(mount_source(arguments), "127.0.0.1:/etc/pve");
    const std::string options = mount_options(arguments);
    EXPECT_NE(options.find(",port=12049,"), std::string::npos);
    EXPECT_NE(options.find(",mountport=12049,"), std::string::npos);
    EXPECT_NE(options.find(",nolock,hard,"), std::string::npos);
    EXPECT_EQ(options.find(",ro"), std::string::npos);
}

TEST(MountNfsOptions, SpeakToAnAddressOfVersion6) {
    Arguments arguments;
    arguments.server = "::1";
    EXPECT_EQ(mount_source(arguments), "[::1]:/etc/pve");
    EXPECT_NE(mount_options(arguments).find("proto=tcp6"), std::string::npos);
    EXPECT_NE(mount_options(arguments).find("mountproto=tcp6"), std::string::npos);
}

TEST(MountNfsOptions, LetTheUsersOwnComeLast) {
    Arguments arguments;
    arguments.read_only = true;
    arguments.mount_options = {"actimeo=3", "noexec,soft"};
    EXPECT_TRUE(mount_options(arguments).ends_with(",nodev,ro,actimeo=3,noexec,soft"));
    const auto command = mount_command(arguments, "/srv/pve");
    EXPECT_EQ(command.front(), "mount");
    EXPECT_EQ(command.back(), "/srv/pve");
}

}  // namespace
}  // namespace cfsgate::clients
