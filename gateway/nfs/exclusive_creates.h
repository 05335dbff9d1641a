// SPDX-License-Identifier: Apache-2.0
// The verifiers of EXCLUSIVE creates (RFC 1813, 3.3.8): the same client that asks again, perhaps
// under another XID, made the file.
#pragma once

#include <deque>
#include <string>
#include <unordered_map>

#include "gateway/file_id.h"
#include "gateway/nfs/reply_cache.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway::nfs {

/// The last few thousand. Threads: any.
class ExclusiveCreates {
public:
    void add(FileId file, CreateVerifier verifier) CFSGATE_EXCLUDES(mutex_) {
        MutexLock lock(mutex_);
        if (!verifiers_.insert_or_assign(file, std::move(verifier)).second) return;
        order_.push_back(file);
        if (order_.size() <= kMost) return;
        verifiers_.erase(order_.front());
        order_.pop_front();
    }
    bool made_by(FileId file, const CreateVerifier& verifier) const CFSGATE_EXCLUDES(mutex_) {
        MutexLock lock(mutex_);
        const auto found = verifiers_.find(file);
        return found != verifiers_.end() && found->second == verifier;
    }
    /// Whether the file was made so and its attributes have not been set since: the SETATTR that
    /// follows belongs to the create, whose mode means nothing here.
    bool take_fresh(FileId file) CFSGATE_EXCLUDES(mutex_) {
        MutexLock lock(mutex_);
        const auto found = verifiers_.find(file);
        if (found == verifiers_.end() || found->second.empty()) return false;
        found->second.clear();
        return true;
    }

private:
    static constexpr std::size_t kMost = 4096;
    mutable Mutex mutex_;
    std::unordered_map<FileId, CreateVerifier> verifiers_ CFSGATE_GUARDED_BY(mutex_);
    std::deque<FileId> order_ CFSGATE_GUARDED_BY(mutex_);
};

}  // namespace cfsgate::gateway::nfs
