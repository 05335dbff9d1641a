// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/history.h"

#include "store/model/digest.h"

namespace cfsgate::simulation {
namespace {

std::string describe(const Result<replication::Outcome>& result) {
    if (!result) return std::string(to_string(result.error().code));
    return std::to_string(result->bytes) + " bytes, inode " +
           std::to_string(result->inode.value()) + ", version " +
           std::to_string(result->version.value());
}

std::string describe(const Key& change) {
    return "the change of node " + std::to_string(change.first.node.value()) + " at " +
           std::to_string(change.second);
}

}  // namespace

bool Step::contains(const Step* step) const {
    const Step* at = this;
    while (at != nullptr && at != step) at = at->parent;
    return at == step;
}

const Step* History::apply(const Step* at, const Key& change,
                           const Result<replication::Outcome>& result, bool in_quorate_ring,
                           std::optional<Round> round) {
    const std::string text = describe(result);
    const auto [known, first] = at->results.emplace(change, text);
    if (known->second != text) {
        throw Broken(describe(change) + " gave \"" + known->second + "\" on one node and \"" +
                     text + "\" on another, with the same tree before");
    }
    if (!result || result->version.value() == 0 || result->version.value() == at->version) {
        return at;
    }
    const auto [next, fresh] = at->next.emplace(change, nullptr);
    if (!fresh) return next->second;
    for (const Step* before = at; before != nullptr; before = before->parent) {
        if (before->change == change && !repeats_allowed_)
            throw Broken(describe(change) + " was applied twice");
    }
    steps_.push_back(std::make_unique<Step>());
    Step& step = *steps_.back();
    step.parent = at;
    step.change = change;
    step.version = result->version.value();
    step.in_quorate_ring = in_quorate_ring;
    step.round = round;
    next->second = &step;
    return &step;
}

const Step* History::arrive(const Step* at, const Digest& checksum) {
    if (at->checksum) {
        if (*at->checksum == checksum) return at;
        throw Broken("the same changes gave different trees: version " +
                     std::to_string(at->version) + ", checksums " + to_hex(*at->checksum) +
                     " and " + to_hex(checksum));
    }
    const auto [known, first] = by_checksum_.emplace(checksum, at);
    if (!first) return known->second;  // another way to the same tree
    at->checksum = checksum;
    return at;
}

const Step* History::begin(const Digest& checksum, std::uint64_t version) {
    steps_.push_back(std::make_unique<Step>());
    steps_.back()->version = version;
    return arrive(steps_.back().get(), checksum);
}

const Step* History::tree_of(const Round& round, const Member& member) const {
    const auto states = rounds_.find(round);
    if (states == rounds_.end()) return nullptr;
    const auto found = states->second.find(member);
    return found == states->second.end() ? nullptr : found->second;
}

History::Loss History::judge(const Step* lost, const Step* final,
                             const std::set<Key>& partial) const {
    if (final->contains(lost)) return Loss::None;
    // The last common tree, and the first change of each side after it.
    const Step* first_lost = lost;
    while (first_lost->parent != nullptr && !final->contains(first_lost->parent)) {
        first_lost = first_lost->parent;
    }
    if (first_lost->parent == final) return Loss::Undone;
    const Step* first_won = final;
    while (first_won->parent != nullptr && first_won->parent != first_lost->parent) {
        first_won = first_won->parent;
    }
    const auto apart = [&](const Step* step) {
        return !step->in_quorate_ring || partial.contains(step->change);
    };
    if (apart(first_lost)) return Loss::Apart;
    if (apart(first_won)) return Loss::Overruled;
    if (!first_won->round) return Loss::Apart;
    const auto states = rounds_.find(*first_won->round);
    if (states == rounds_.end()) return Loss::Wrong;
    for (const auto& [member, tree] : states->second) {
        if (tree->contains(first_lost)) return Loss::Wrong;
    }
    return Loss::Apart;
}

}  // namespace cfsgate::simulation
