// SPDX-License-Identifier: Apache-2.0
// `--ack=rotation`: a change is answered when a message that was sent after its delivery here has
// come back in order.
//
// Delivery is agreed, not safe: a change may come back to its sender and to nobody else, where the
// sender is cut off in that moment. A message that the sender can only send when the token has been
// everywhere since does not come back then. One such message, the marker, serves all who wait.
//
// No I/O and no clock; the owner sends the marker. Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "store/base/ids.h"
#include "store/base/result.h"

namespace cfsgate::replication {

class RotationGate {
public:
    using Answer = std::function<void(Status)>;

    /// A change with this journal record is applied here. Answered with TimedOut at once where
    /// another tree has come over it.
    void add(Sequence record, Answer answer);

    /// Somebody waits, and no marker is under way for him: the owner sends one.
    bool wants_marker() const { return !marker_is_out_ && !waiting_.empty(); }
    /// All who wait now will be answered by it.
    void marker_sent();
    /// Errors: it was not sent, or nobody knows; the answer is then TimedOut.
    void marker_back(const Status& back);

    /// This node has taken over another tree: the records up to this one may count no more.
    void overwritten(Sequence upto);
    /// Answers everybody with TimedOut.
    void release(const std::string& reason);

    bool empty() const { return waiting_.empty() && riding_.empty(); }
    std::size_t size() const { return waiting_.size() + riding_.size(); }
    std::uint64_t markers_back() const { return markers_back_; }

private:
    std::vector<Answer> waiting_;
    std::vector<Answer> riding_;  ///< answered by the marker that is out
    bool marker_is_out_ = false;
    Sequence overwritten_;
    std::uint64_t markers_back_ = 0;
};

}  // namespace cfsgate::replication
