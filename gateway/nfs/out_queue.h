// SPDX-License-Identifier: Apache-2.0
// Replies on their way to one client.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "gateway/nfs/adapter.h"
#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

/// Not for use by two threads at once.
class OutQueue {
public:
    /// Appends a reply as one record.
    void push(Reply reply);
    /// Sends what the socket takes. Errors: what the system says; the connection is then done for.
    /// Returns whether anything went out.
    Result<bool> send(int socket);

    bool empty() const { return bytes_ == 0; }
    std::size_t bytes() const { return bytes_; }

private:
    void append(std::string part);

    std::deque<std::string> parts_;
    std::size_t sent_ = 0;  ///< of the first part
    std::size_t bytes_ = 0;
};

}  // namespace cfsgate::gateway::nfs
