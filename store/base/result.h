// SPDX-License-Identifier: Apache-2.0
// A value or an error. Nothing else includes tl/expected, so that std::expected can replace it.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "store/base/errno.h"

namespace cfsgate {

struct Error {
    Errno code;
    std::string detail;  ///< For whoever reads the log; callers branch on `code` alone.
};

/// A value or an Error. tl::expected carries the names of C++23's std::expected; what it lacks is
/// [[nodiscard]], so a dropped error would pass in silence.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
public:
    using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

inline tl::unexpected<Error> fail(Errno code, std::string detail = {}) {
    return tl::unexpected<Error>(Error{code, std::move(detail)});
}

/// Fails with the code for `posix_errno` and the system's text for it behind `what`.
tl::unexpected<Error> fail_posix(int posix_errno, const std::string& what);

namespace detail {
template <class T>
T&& take(Result<T>& result) {
    return std::move(*result);
}
inline void take(Result<void>&) {}
}  // namespace detail

/// `auto inode = CFSGATE_TRY(lookup(path));` hands the Error to the caller, or goes on. The number
/// in the variable's name keeps one TRY inside another from shadowing it.
#define CFSGATE_TRY(expression) CFSGATE_TRY_COUNTED(expression, __COUNTER__)
#define CFSGATE_TRY_COUNTED(expression, count) CFSGATE_TRY_NAMED(expression, count)
#define CFSGATE_TRY_NAMED(expression, count)                               \
    __extension__({                                                        \
        auto cfsgate_try_##count = (expression);                           \
        if (!cfsgate_try_##count) {                                        \
            return tl::unexpected(std::move(cfsgate_try_##count).error()); \
        }                                                                  \
        ::cfsgate::detail::take(cfsgate_try_##count);                      \
    })

}  // namespace cfsgate
