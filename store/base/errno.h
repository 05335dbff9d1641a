// SPDX-License-Identifier: Apache-2.0
// The error codes that cross layers. Each adapter maps them to its own protocol, totally.
#pragma once

#include <string_view>

namespace cfsgate {

/// Why an operation failed. The names follow the field's words; the POSIX code is beside each.
enum class Errno {
    NotPermitted,    ///< EPERM
    NotFound,        ///< ENOENT
    Interrupted,     ///< EINTR: the caller stopped waiting; the outcome is unknown
    InputOutput,     ///< EIO
    NoAccess,        ///< EACCES, also: this node has no quorum
    Busy,            ///< EBUSY
    Exists,          ///< EEXIST
    NotDirectory,    ///< ENOTDIR
    IsDirectory,     ///< EISDIR
    Invalid,         ///< EINVAL
    FileTooBig,      ///< EFBIG
    NoSpace,         ///< ENOSPC
    ReadOnly,        ///< EROFS: the store is in an error state
    NameTooLong,     ///< ENAMETOOLONG
    NotImplemented,  ///< ENOSYS
    NotEmpty,        ///< ENOTEMPTY
    NotSupported,    ///< EOPNOTSUPP
    StaleHandle,     ///< ESTALE
    TimedOut,        ///< ETIMEDOUT: no answer before the deadline; the outcome is unknown
    Corrupt,         ///< EUCLEAN: stored bytes that break an invariant
    BadMessage,      ///< EBADMSG: bytes from outside that do not decode
    TryAgain,        ///< EAGAIN
};

/// The POSIX errno value, positive.
int to_posix(Errno code);

/// The Errno for a POSIX errno value; InputOutput for one that has no name here.
Errno from_posix(int posix_errno);

/// The enumerator's name, for logs.
std::string_view to_string(Errno code);

}  // namespace cfsgate
