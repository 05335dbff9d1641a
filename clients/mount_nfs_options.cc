// SPDX-License-Identifier: Apache-2.0
#include "clients/mount_nfs_options.h"

namespace cfsgate::clients {
namespace {

bool is_v6(const std::string& address) { return address.find(':') != std::string::npos; }

}  // namespace

std::string mount_source(const Arguments& arguments) {
    const std::string& address = arguments.server;
    return (is_v6(address) ? "[" + address + "]" : address) + ":" + arguments.export_path;
}

std::string mount_options(const Arguments& arguments) {
    const std::string port = std::to_string(arguments.port);
    const std::string protocol = is_v6(arguments.server) ? "tcp6" : "tcp";
    std::string options = "vers=3,proto=" + protocol + ",port=" + port +
                          ",mountvers=3,mountproto=" + protocol + ",mountport=" + port +
                          ",nolock,hard,timeo=600,retrans=2,retry=0,resvport,sec=sys,actimeo=0,"
                          "nosuid,nodev";
    if (arguments.read_only) options += ",ro";
    for (const std::string& extra : arguments.mount_options) options += "," + extra;
    return options;
}

std::vector<std::string> mount_command(const Arguments& arguments, const std::string& place) {
    return {"mount", "-t", "nfs", "-o", mount_options(arguments), mount_source(arguments), place};
}

}  // namespace cfsgate::clients
