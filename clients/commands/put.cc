// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <array>
#include <cerrno>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "store/base/base64.h"
#include "store/model/limits.h"

namespace cfsgate::clients {
namespace {

/// Stdin to its end, and no further than a file may be long.
Result<std::string> read_stdin() {
    std::string content;
    std::array<char, 65536> piece{};
    while (content.size() <= limits::kFileBytesMax) {
        const ssize_t count = ::read(STDIN_FILENO, piece.data(), piece.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_posix(errno, "stdin");
        if (count == 0) return content;
        content.append(piece.data(), static_cast<std::size_t>(count));
    }
    return fail(Errno::FileTooBig, "stdin: a file of the tree holds at most " +
                                       std::to_string(limits::kFileBytesMax) + " bytes");
}

}  // namespace

int run_put(const Arguments& arguments) {
    const auto content = read_stdin();
    if (!content) return report({kFailed, content.error().detail});
    int code = kOk;
    const std::string path = tree_path(arguments, arguments.operands[0]);
    ask_and_report(arguments,
                   {{"command", "put"}, {"path", path}, {"data", encode_base64(*content)}}, code);
    return code;
}

}  // namespace cfsgate::clients
