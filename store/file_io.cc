// SPDX-License-Identifier: Apache-2.0
#include "store/file_io.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace cfsgate::store {

Result<UniqueFd> open_file(const std::string& path, int flags, unsigned mode) {
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
    if (!fd.valid()) return fail_posix(errno, path);
    return fd;
}

Result<FileId> file_id(int fd, const std::string& path) {
    struct stat info {};
    if (::fstat(fd, &info) != 0) return fail_posix(errno, path);
    return FileId{info.st_dev, info.st_ino};
}

Result<FileId> file_id(const std::string& path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return fail_posix(errno, path);
    return FileId{info.st_dev, info.st_ino};
}

Result<std::string> read_file(const std::string& path, std::uint64_t bytes_max) {
    const UniqueFd fd = CFSGATE_TRY(open_file(path, O_RDONLY));
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) return fail_posix(errno, path);
    std::string bytes(std::min(static_cast<std::uint64_t>(info.st_size), bytes_max), '\0');
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t count =
            ::pread(fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_posix(errno, path);
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    bytes.resize(done);
    return bytes;
}

Result<SparseBytes> read_sparse_file(const std::string& path) {
    constexpr std::size_t kBlockBytes = 64U << 10U;
    const UniqueFd fd = CFSGATE_TRY(open_file(path, O_RDONLY));
    const auto block = std::make_unique<std::array<char, kBlockBytes>>();
    SparseBytes found;
    while (true) {
        const ssize_t count =
            ::pread(fd.get(), block->data(), kBlockBytes, static_cast<off_t>(found.size));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_posix(errno, path);
        if (count == 0) return found;
        const std::string_view bytes(block->data(), static_cast<std::size_t>(count));
        if (!all_zero(bytes)) {
            found.bytes.resize(found.size, '\0');
            found.bytes.append(bytes);
        }
        found.size += bytes.size();
    }
}

bool all_zero(std::string_view bytes) {
    return bytes.empty() ||
           (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

Status write_all(int fd, std::string_view bytes, std::uint64_t offset, const std::string& path) {
    while (!bytes.empty()) {
        const ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_posix(errno, path);
        bytes.remove_prefix(static_cast<std::size_t>(count));
        offset += static_cast<std::uint64_t>(count);
    }
    return {};
}

Status sync_data(int fd, const std::string& path) {
    if (::fdatasync(fd) != 0) return fail_posix(errno, path + ": flush to the disk");
    return {};
}

Status sync_directory(const std::string& directory) {
    const UniqueFd fd = CFSGATE_TRY(open_file(directory, O_RDONLY | O_DIRECTORY));
    if (::fsync(fd.get()) != 0) return fail_posix(errno, directory + ": flush to the disk");
    return {};
}

Status replace_file(const std::string& directory, const std::string& name, std::string_view bytes) {
    const std::string path = directory + "/" + name;
    const std::string temporary = path + ".tmp";
    {
        const UniqueFd fd = CFSGATE_TRY(open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC));
        CFSGATE_TRY(write_all(fd.get(), bytes, 0, temporary));
        CFSGATE_TRY(sync_data(fd.get(), temporary));
    }
    if (std::rename(temporary.c_str(), path.c_str()) != 0) return fail_posix(errno, path);
    return sync_directory(directory);
}

Result<std::vector<std::string>> list_files(const std::string& directory, std::string_view prefix) {
    const std::unique_ptr<DIR, int (*)(DIR*)> handle(::opendir(directory.c_str()), ::closedir);
    if (!handle) return fail_posix(errno, directory);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(handle.get())) {
        const std::string_view name = entry->d_name;
        if (name.starts_with(prefix)) names.emplace_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

Status remove_file(const std::string& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_posix(errno, path);
    return {};
}

}  // namespace cfsgate::store
