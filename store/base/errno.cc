// SPDX-License-Identifier: Apache-2.0
#include "store/base/errno.h"

#include <array>
#include <cerrno>

namespace cfsgate {
namespace {

struct Row {
    Errno code;
    int posix;
    std::string_view name;
};

constexpr std::array kRows{
    Row{Errno::NotPermitted, EPERM, "NotPermitted"},
    Row{Errno::NotFound, ENOENT, "NotFound"},
    Row{Errno::Interrupted, EINTR, "Interrupted"},
    Row{Errno::InputOutput, EIO, "InputOutput"},
    Row{Errno::NoAccess, EACCES, "NoAccess"},
    Row{Errno::Busy, EBUSY, "Busy"},
    Row{Errno::Exists, EEXIST, "Exists"},
    Row{Errno::NotDirectory, ENOTDIR, "NotDirectory"},
    Row{Errno::IsDirectory, EISDIR, "IsDirectory"},
    Row{Errno::Invalid, EINVAL, "Invalid"},
    Row{Errno::FileTooBig, EFBIG, "FileTooBig"},
    Row{Errno::NoSpace, ENOSPC, "NoSpace"},
    Row{Errno::ReadOnly, EROFS, "ReadOnly"},
    Row{Errno::NameTooLong, ENAMETOOLONG, "NameTooLong"},
    Row{Errno::NotImplemented, ENOSYS, "NotImplemented"},
    Row{Errno::NotEmpty, ENOTEMPTY, "NotEmpty"},
    Row{Errno::NotSupported, EOPNOTSUPP, "NotSupported"},
    Row{Errno::StaleHandle, ESTALE, "StaleHandle"},
    Row{Errno::TimedOut, ETIMEDOUT, "TimedOut"},
    Row{Errno::Corrupt, EUCLEAN, "Corrupt"},
    Row{Errno::BadMessage, EBADMSG, "BadMessage"},
    Row{Errno::TryAgain, EAGAIN, "TryAgain"},
};

constexpr bool rows_follow_the_enumeration() {
    for (std::size_t i = 0; i < kRows.size(); ++i) {
        if (static_cast<std::size_t>(kRows[i].code) != i) return false;
    }
    return kRows.back().code == Errno::TryAgain;
}
static_assert(rows_follow_the_enumeration());

}  // namespace

int to_posix(Errno code) { return kRows[static_cast<std::size_t>(code)].posix; }

Errno from_posix(int posix_errno) {
    for (const Row& row : kRows) {
        if (row.posix == posix_errno) return row.code;
    }
    return Errno::InputOutput;
}

std::string_view to_string(Errno code) { return kRows[static_cast<std::size_t>(code)].name; }

}  // namespace cfsgate
