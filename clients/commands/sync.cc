// SPDX-License-Identifier: Apache-2.0
#include "clients/commands.h"
#include "clients/control_client.h"

namespace cfsgate::clients {

/// The path is looked up afterwards: another node may just have made it.
int run_sync(const Arguments& arguments) {
    int code = kOk;
    if (!ask_and_report(arguments, {{"command", "sync"}}, code) || arguments.operands.empty()) {
        return code;
    }
    const std::string path = tree_path(arguments, arguments.operands[0]);
    const Answer found = ask(arguments.control, {{"command", "ls"}, {"path", path}});
    return found.response ? kOk : report(found.error);
}

}  // namespace cfsgate::clients
