// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "replication/sequencer.h"

namespace cfsgate::gateway {

/// Notes what is submitted, and answers nothing until it is told to.
class FakeSequencer final : public replication::Sequencer {
public:
    bool quorate() const override { return is_quorate; }
    void submit(replication::Submission submission, replication::Completion done) override {
        submissions.push_back(std::move(submission));
        completions.push_back(std::move(done));
    }
    void sync(Sequence, replication::SyncCompletion done) override {
        syncs.push_back(std::move(done));
    }
    void observe_changes(replication::ChangeObserver) override {}
    replication::SequencerStatus status() const override { return {}; }

    bool is_quorate = true;
    std::vector<replication::Submission> submissions;
    std::vector<replication::Completion> completions;
    std::vector<replication::SyncCompletion> syncs;
};

}  // namespace cfsgate::gateway
