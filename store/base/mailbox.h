// SPDX-License-Identifier: Apache-2.0
// What other threads have to say to an event loop.
#pragma once

#include <functional>
#include <vector>

#include "store/base/mutex.h"
#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace cfsgate {

/// Letters are run by the loop in the order in which they were posted. Whoever posts shares the
/// ownership, so a late one finds it after the loop has ended, too. Threads: any.
class Mailbox {
public:
    using Letter = std::function<void()>;

    static Result<std::shared_ptr<Mailbox>> make();

    void post(Letter letter) CFSGATE_EXCLUDES(mutex_);
    /// What has come in; the descriptor is quiet again.
    std::vector<Letter> take() CFSGATE_EXCLUDES(mutex_);
    /// No letter is kept from now on.
    void close() CFSGATE_EXCLUDES(mutex_);
    /// Readable when there is something to take.
    int descriptor() const { return event_.get(); }

private:
    explicit Mailbox(UniqueFd event) : event_(std::move(event)) {}

    UniqueFd event_;
    Mutex mutex_;
    std::vector<Letter> letters_ CFSGATE_GUARDED_BY(mutex_);
    bool closed_ CFSGATE_GUARDED_BY(mutex_) = false;
};

}  // namespace cfsgate
