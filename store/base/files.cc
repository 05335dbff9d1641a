// SPDX-License-Identifier: Apache-2.0
#include "store/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "store/base/unique_fd.h"

namespace cfsgate {
namespace {

Status write_all(int fd, std::string_view content, const std::string& path) {
    while (!content.empty()) {
        const ssize_t written = ::write(fd, content.data(), content.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail_posix(errno, path + ": write");
        content.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

Status fill(int fd, std::string_view content, mode_t mode, Flush flush, const std::string& path) {
    CFSGATE_TRY(write_all(fd, content, path));
    if (::fchmod(fd, mode) != 0) return fail_posix(errno, path + ": chmod");
    if (flush == Flush::Yes && ::fsync(fd) != 0) return fail_posix(errno, path + ": fsync");
    return {};
}

Status flush_directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    std::string directory = ".";
    if (slash == 0)
        directory = "/";
    else if (slash != std::string::npos)
        directory = path.substr(0, slash);
    const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) return fail_posix(errno, directory + ": open");
    if (::fsync(fd.get()) != 0) return fail_posix(errno, directory + ": fsync");
    return {};
}

}  // namespace

Status write_file_atomically(const std::string& path, std::string_view content, mode_t mode,
                             Flush flush) {
    std::string temporary = path + ".XXXXXX";
    const UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!fd.valid()) return fail_posix(errno, temporary + ": create");
    Status filled = fill(fd.get(), content, mode, flush, temporary);
    if (filled && ::rename(temporary.c_str(), path.c_str()) != 0) {
        filled = fail_posix(errno, path + ": rename");
    }
    if (!filled) {
        ::unlink(temporary.c_str());
        return filled;
    }
    return flush == Flush::Yes ? flush_directory_of(path) : Status{};
}

Result<std::string> read_small_file(const std::string& path, std::size_t bytes_max) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return fail_posix(errno, path + ": open");
    std::string content;
    char buffer[4096];
    while (content.size() < bytes_max) {
        const ssize_t count = ::read(fd.get(), buffer, sizeof(buffer));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_posix(errno, path + ": read");
        if (count == 0) break;
        content.append(buffer, static_cast<std::size_t>(count));
    }
    if (content.size() > bytes_max) content.resize(bytes_max);
    return content;
}

}  // namespace cfsgate
