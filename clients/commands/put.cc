// SPDX-License-Identifier: Apache-2.0
#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/read_input.h"
#include "store/base/base64.h"

namespace cfsgate::clients {

int run_put(const Arguments& arguments) {
    const auto content = read_input("-");
    if (!content) return report({kFailed, content.error().detail});
    int code = kOk;
    const std::string path = tree_path(arguments, arguments.operands[0]);
    ask_and_report(arguments,
                   {{"command", "put"}, {"path", path}, {"data", encode_base64(*content)}}, code);
    return code;
}

}  // namespace cfsgate::clients
