// SPDX-License-Identifier: Apache-2.0
#include "replication/rotation_gate.h"

#include <utility>

namespace cfsgate::replication {
namespace {

constexpr const char* kUnknown =
    "; the change is applied here, and nobody knows whether the others have it";

void answer_all(std::vector<RotationGate::Answer> answers, const Status& status) {
    for (const auto& answer : answers) answer(status);
}

}  // namespace

void RotationGate::add(Sequence record, Answer answer) {
    if (record <= overwritten_) {
        return answer(fail(Errno::TimedOut,
                           std::string("the tree of another member was taken over") + kUnknown));
    }
    waiting_.push_back(std::move(answer));
}

void RotationGate::marker_sent() {
    marker_is_out_ = true;
    riding_ = std::exchange(waiting_, {});
}

void RotationGate::marker_back(const Status& back) {
    marker_is_out_ = false;
    auto riders = std::exchange(riding_, {});
    if (back) {
        ++markers_back_;
        return answer_all(std::move(riders), {});
    }
    answer_all(std::move(riders), fail(Errno::TimedOut, back.error().detail + kUnknown));
}

void RotationGate::overwritten(Sequence upto) {
    overwritten_ = upto;
    release("the tree of another member was taken over");
}

void RotationGate::release(const std::string& reason) {
    const Status status = fail(Errno::TimedOut, reason + kUnknown);
    answer_all(std::exchange(riding_, {}), status);
    answer_all(std::exchange(waiting_, {}), status);
}

}  // namespace cfsgate::replication
