// SPDX-License-Identifier: Apache-2.0
// What the trees of all nodes went through: the same changes on the same tree must give the same
// results and the same tree, wherever they are applied.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "replication/sequencer.h"
#include "tests/simulation/group_service.h"

namespace cfsgate::simulation {

/// A rule was broken. Ends the history.
class Broken : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

using Round = std::tuple<std::uint32_t, std::uint32_t, Member>;
inline Round round_of(const replication::Epoch& epoch) {
    return {epoch.counter, epoch.time, epoch.maker};
}

/// A tree, and the last change that made it.
struct Step {
    const Step* parent = nullptr;
    Key change;
    std::uint64_t version = 0;
    bool in_quorate_ring = false;  ///< when it was first applied
    std::optional<Round> round;    ///< the state sync after which it was first applied
    mutable std::optional<Digest> checksum;
    mutable std::map<Key, const Step*> next;
    mutable std::map<Key, std::string> results;

    /// Whether the tree went through `step`.
    bool contains(const Step* step) const;
};

class History {
public:
    explicit History(bool repeats_allowed) : repeats_allowed_(repeats_allowed) {}

    /// One change applied to the tree at `at`. Throws Broken where another node had another result.
    const Step* apply(const Step* at, const Key& change, const Result<replication::Outcome>& result,
                      bool in_quorate_ring, std::optional<Round> round);
    /// The tree at `at` has this checksum. Throws Broken where another node's had another one.
    const Step* arrive(const Step* at, const Digest& checksum);
    /// A tree that comes from nowhere.
    const Step* begin(const Digest& checksum, std::uint64_t version);

    /// In a state sync, this member's tree was `at`.
    void read(const Round& round, const Member& member, const Step* at) {
        rounds_[round][member] = at;
    }
    /// Null where that member's tree was not read.
    const Step* tree_of(const Round& round, const Member& member) const;

    /// Why a change that was acknowledged at `lost` is not in `final`.
    enum class Loss : std::uint8_t {
        None,       ///< it is there
        Apart,      ///< those who went on had never got it
        Overruled,  ///< a tree that was written apart, by those who did not go on, had won
        Undone,     ///< the tree of all is an older one, as it may be after power cuts
        Wrong,
    };
    Loss judge(const Step* lost, const Step* final, const std::set<Key>& partial) const;

private:
    const bool repeats_allowed_;
    std::vector<std::unique_ptr<Step>> steps_;
    std::map<Digest, const Step*> by_checksum_;
    std::map<Round, std::map<Member, const Step*>> rounds_;
};

}  // namespace cfsgate::simulation
