// SPDX-License-Identifier: Apache-2.0
#include "store/file_sum.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "store/base/crc32c.h"
#include "store/file_io.h"

namespace cfsgate::store {
namespace {

constexpr std::uint64_t kPieceBytes = 16ULL << 20;
constexpr std::size_t kBufferBytes = 256 << 10;

/// 0, or the error of the system.
int sum_piece(int fd, std::uint64_t from, std::uint64_t to, std::uint32_t& sum) {
    std::vector<char> buffer(kBufferBytes);
    Crc32c crc;
    while (from < to) {
        const std::size_t want = std::min<std::uint64_t>(buffer.size(), to - from);
        const ssize_t count = ::pread(fd, buffer.data(), want, static_cast<off_t>(from));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno;
        if (count == 0) break;  // it has become shorter: the sum says so
        crc.add({buffer.data(), static_cast<std::size_t>(count)});
        from += static_cast<std::uint64_t>(count);
    }
    sum = crc.value();
    return 0;
}

}  // namespace

Result<FileSum> sum_file(const std::string& path) {
    const UniqueFd fd = CFSGATE_TRY(open_file(path, O_RDONLY));
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) return fail_posix(errno, path);
    FileSum sum;
    sum.bytes = static_cast<std::uint64_t>(info.st_size);
    sum.pieces.resize((sum.bytes + kPieceBytes - 1) / kPieceBytes);
    std::atomic<std::size_t> next{0};
    std::atomic<int> error{0};
    const auto work = [&] {
        for (std::size_t i = next++; i < sum.pieces.size() && error == 0; i = next++) {
            const std::uint64_t from = i * kPieceBytes;
            const std::uint64_t to = std::min(from + kPieceBytes, sum.bytes);
            if (const int code = sum_piece(fd.get(), from, to, sum.pieces[i])) error = code;
        }
    };
    std::thread helper;
    if (sum.pieces.size() > 1) helper = std::thread(work);
    work();
    if (helper.joinable()) helper.join();
    if (const int code = error) return fail_posix(code, path);
    return sum;
}

}  // namespace cfsgate::store
