// SPDX-License-Identifier: Apache-2.0
#include "store/base/result.h"

#include <system_error>

namespace cfsgate {

tl::unexpected<Error> fail_posix(int posix_errno, const std::string& what) {
    return fail(from_posix(posix_errno),
                what + ": " + std::generic_category().message(posix_errno));
}

}  // namespace cfsgate
