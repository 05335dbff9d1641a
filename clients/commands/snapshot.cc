// SPDX-License-Identifier: Apache-2.0
#include "clients/commands.h"
#include "clients/control_client.h"

namespace cfsgate::clients {

int run_snapshot(const Arguments& arguments) {
    int code = kOk;
    ask_and_report(arguments, {{"command", "snapshot"}}, code);
    return code;
}

}  // namespace cfsgate::clients
