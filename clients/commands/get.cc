// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "store/base/base64.h"

namespace cfsgate::clients {

int run_get(const Arguments& arguments) {
    int code = kOk;
    const std::string path = tree_path(arguments, arguments.operands[0]);
    const auto response = ask_and_report(arguments, {{"command", "get"}, {"path", path}}, code);
    if (!response || arguments.json) return code;
    const auto content = decode_base64(response->value("data", ""));
    if (!content) return report({kFailed, path + ": the answer does not decode"});
    const std::size_t written = std::fwrite(content->data(), 1, content->size(), stdout);
    if (written != content->size() || std::fflush(stdout) != 0) {
        return report({kFailed, "stdout: cannot be written"});
    }
    return code;
}

}  // namespace cfsgate::clients
