// SPDX-License-Identifier: Apache-2.0
#include "clients/read_input.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "store/base/unique_fd.h"
#include "store/model/limits.h"

namespace cfsgate::clients {
namespace {

Result<std::string> read_to_end(int fd, const std::string& name) {
    std::string content;
    std::array<char, 65536> piece{};
    while (content.size() <= limits::kFileBytesMax) {
        const ssize_t count = ::read(fd, piece.data(), piece.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_posix(errno, name);
        if (count == 0) return content;
        content.append(piece.data(), static_cast<std::size_t>(count));
    }
    return fail(Errno::FileTooBig, name + ": a file of the tree holds at most " +
                                       std::to_string(limits::kFileBytesMax) + " bytes");
}

}  // namespace

Result<std::string> read_input(const std::string& name) {
    if (name == "-") return read_to_end(STDIN_FILENO, "stdin");
    const UniqueFd file(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return fail_posix(errno, name);
    return read_to_end(file.get(), name);
}

}  // namespace cfsgate::clients
