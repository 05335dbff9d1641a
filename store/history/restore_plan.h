// SPDX-License-Identifier: Apache-2.0
// The operations that make a part of the tree what it once was.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/model/operation.h"
#include "store/store.h"

namespace cfsgate::store {

struct RestorePlan {
    std::vector<Operation> operations;  ///< each possible after those before it
    struct Left {
        std::string path;
        std::string why;
    };
    std::vector<Left> left;  ///< entries that stay as they are now
};

struct RestoreRequest {
    std::string path;  ///< "" is the whole tree
    /// Whether the past does not know an entry's content any more.
    std::function<bool(const Inode&)> is_purged;
};

/// Afterwards the subtree has the entries, contents and times of `then`; versions and inodes go on.
/// A file that has only moved inside it is renamed. What is there now and was not then is removed.
/// Locks (below priv/lock) stay as they are, and in a restore of the whole tree corosync.conf too.
/// Errors: NotFound where the path was not there; NotDirectory where a file is now above it.
Result<RestorePlan> plan_restore(const ReadView& now, const ReadView& then,
                                 const RestoreRequest& request);

/// For lists: "write", "etc/x", what else there is to say.
struct OperationText {
    std::string what;
    std::string path;
    std::string detail;
};
OperationText describe(const Operation& operation);

}  // namespace cfsgate::store
