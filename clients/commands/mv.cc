// SPDX-License-Identifier: Apache-2.0
#include "clients/commands.h"
#include "clients/control_client.h"

namespace cfsgate::clients {

int run_mv(const Arguments& arguments) {
    int code = kOk;
    const std::string from = tree_path(arguments, arguments.operands[0]);
    const std::string to = tree_path(arguments, arguments.operands[1]);
    ask_and_report(arguments, {{"command", "mv"}, {"path", from}, {"target", to}}, code);
    return code;
}

}  // namespace cfsgate::clients
