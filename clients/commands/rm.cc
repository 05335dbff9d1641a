// SPDX-License-Identifier: Apache-2.0
#include "clients/commands.h"
#include "clients/control_client.h"

namespace cfsgate::clients {

int run_rm(const Arguments& arguments) {
    int code = kOk;
    const std::string path = tree_path(arguments, arguments.operands[0]);
    ask_and_report(arguments, {{"command", "rm"}, {"path", path}}, code);
    return code;
}

}  // namespace cfsgate::clients
