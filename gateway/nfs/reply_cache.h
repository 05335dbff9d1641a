// SPDX-License-Identifier: Apache-2.0
// The duplicate-request cache: a client that missed a reply repeats its request, and must get the
// first answer, not a second execution.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "gateway/file_id.h"
#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

/// Names a request so that its repeat is known, and so that no other client's request has the same
/// name: who sent it (address, proven owner, reserved port, credential), XID, program, version,
/// procedure and a checksum of the arguments.
using RequestKey = std::string;

struct ReplyCacheLimits {
    std::size_t replies = 4096;
    std::chrono::seconds age{600};
};

/// Not for use by two threads at once.
class ReplyCache {
public:
    using Time = std::chrono::steady_clock::time_point;
    explicit ReplyCache(ReplyCacheLimits limits = {}) : limits_(limits) {}

    enum class Found : std::uint8_t {
        New,         ///< it is in progress from now on
        InProgress,  ///< drop it: the first one will be answered
        Done,        ///< here is its reply
    };
    struct Begun {
        Found found = Found::New;
        const std::string* reply = nullptr;  ///< borrowed until the next call
    };
    Begun begin(const RequestKey& key, Time now);
    /// A request that was begun and is not executed after all.
    void forget(const RequestKey& key);
    /// The reply of a request that is in progress, or of one from before a restart.
    void finish(const RequestKey& key, std::string reply, Time now);

    std::size_t size() const { return entries_.size(); }

private:
    void drop_old(Time now);

    struct Entry {
        bool done = false;
        std::string reply;
        std::uint64_t serial = 0;
    };
    struct Done {
        RequestKey key;
        std::uint64_t serial = 0;
        Time when;
    };
    ReplyCacheLimits limits_;
    std::unordered_map<RequestKey, Entry> entries_;
    std::deque<Done> done_;  ///< oldest first
    std::uint64_t serials_ = 0;
};

using CreateVerifier = std::string;  ///< 8 bytes, of the client's choice

/// What the journal keeps with a change: the reply, and the verifier of an EXCLUSIVE create.
struct ReplyNote {
    RequestKey key;
    std::string reply;
    CreateVerifier verifier;  ///< empty: none
    FileId file;              ///< that it belongs to
};
std::string encode_reply_note(const ReplyNote& note);
/// Errors: BadMessage.
Result<ReplyNote> decode_reply_note(std::string_view bytes);

}  // namespace cfsgate::gateway::nfs
