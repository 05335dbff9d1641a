// SPDX-License-Identifier: Apache-2.0
#include "replication/corosync/corosync_error.h"

namespace cfsgate::replication {
namespace {

Errno to_errno(cs_error_t answer) {
    switch (answer) {
        // Interrupted is the answer to a large message during which the members changed: dropped as
        // a whole, and to be sent again as a whole.
        case CS_ERR_INTERRUPT:
        case CS_ERR_TRY_AGAIN:
        case CS_ERR_BUSY:
        case CS_ERR_TIMEOUT:
        case CS_ERR_QUEUE_FULL:
        case CS_ERR_NO_RESOURCES: return Errno::TryAgain;
        case CS_ERR_INVALID_PARAM:
        case CS_ERR_BAD_FLAGS: return Errno::Invalid;
        case CS_ERR_NO_MEMORY:
        case CS_ERR_NO_SPACE: return Errno::NoSpace;
        case CS_ERR_ACCESS:
        case CS_ERR_SECURITY: return Errno::NoAccess;
        case CS_ERR_NOT_EXIST:
        case CS_ERR_NAME_NOT_FOUND: return Errno::NotFound;
        case CS_ERR_NAME_TOO_LONG: return Errno::NameTooLong;
        case CS_ERR_EXIST: return Errno::Exists;
        case CS_ERR_NOT_SUPPORTED: return Errno::NotSupported;
        case CS_ERR_TOO_BIG: return Errno::FileTooBig;
        case CS_OK:
        case CS_ERR_LIBRARY:
        case CS_ERR_VERSION:
        case CS_ERR_INIT:
        case CS_ERR_BAD_HANDLE:
        case CS_ERR_BAD_OPERATION:
        case CS_ERR_FAILED_OPERATION:
        case CS_ERR_MESSAGE_ERROR:
        case CS_ERR_QUEUE_NOT_AVAILABLE:
        case CS_ERR_NO_SECTIONS:
        case CS_ERR_CONTEXT_NOT_FOUND:
        case CS_ERR_TOO_MANY_GROUPS: return Errno::InputOutput;
    }
    return Errno::InputOutput;  // of a later corosync
}

}  // namespace

Status check_corosync(cs_error_t answer, const char* call) {
    if (answer == CS_OK) return {};
    return fail(to_errno(answer), std::string(call) + ": " + cs_strerror(answer));
}

}  // namespace cfsgate::replication
