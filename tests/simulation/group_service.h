// SPDX-License-Identifier: Apache-2.0
// What corosync's process groups promise, and no more: one order of messages and view changes in
// each ring, own messages come back. When rings change, what was on its way reaches all of its
// sender's new ring, and of others' only a beginning of the order.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "replication/core/group_machine.h"
#include "tests/simulation/sabotage.h"
#include "tests/support/prng.h"

namespace cfsgate::simulation {

using replication::GroupKind;
using replication::Member;

/// One change: its sender and the time of its stamp. Here no member stamps two with one time.
using Key = std::pair<Member, std::uint32_t>;

/// A place in a ring's order.
using Position = std::pair<std::uint64_t, std::uint64_t>;

struct ViewEvent {
    std::vector<Member> members;
    bool joined = false;
};
struct MessageEvent {
    Member from;
    std::shared_ptr<const std::string> bytes;
};
struct GroupEvent {
    Position at;
    std::variant<ViewEvent, MessageEvent> what;
};
using EventQueue = std::deque<GroupEvent>;

/// One group on all nodes, 0 … count - 1; node i has the id i + 1.
class GroupService {
public:
    /// Borrows both.
    GroupService(GroupKind kind, std::size_t count, test::Prng& prng, std::set<Key>& partial);

    void sabotage(Sabotage what, std::size_t victim) {
        sabotage_ = what;
        victim_ = victim;
    }

    // --- For processes ---

    /// Borrows the inbox until disconnect() or until the node is in no ring any more.
    void connect(std::size_t node, Member process, EventQueue& inbox);
    bool connected(std::size_t node) const { return stations_[node].inbox != nullptr; }
    void disconnect(std::size_t node);
    /// False: try again.
    bool join(std::size_t node);
    void multicast(std::size_t node, std::string bytes);

    // --- For the scheduler ---

    bool can_order(std::size_t node) const;
    /// The next thing that this node wants to say gets its place in the order.
    void order(std::size_t node);
    bool can_receive(std::size_t node) const;
    /// The next thing of the order reaches this node.
    void receive(std::size_t node);
    /// New rings, of nodes; nodes in none of them are down.
    void regroup(const std::vector<std::vector<std::size_t>>& rings);

    std::optional<std::size_t> ring_of(std::size_t node) const { return stations_[node].ring; }
    const std::vector<std::size_t>& members_of(std::size_t ring) const {
        return rings_[ring].members;
    }
    bool has_quorum(std::size_t node) const;
    /// Whether the ring with that number has, or had.
    bool had_quorum(std::uint64_t ring) const { return had_quorum_[ring]; }

private:
    struct Item {
        enum class Kind : std::uint8_t { Join, Leave, Message };
        Kind kind = Kind::Message;
        Member from;
        std::size_t node = 0;
        std::shared_ptr<const std::string> bytes;
        std::optional<Key> key;
    };
    struct Ring {
        std::uint64_t number = 0;
        std::vector<std::size_t> members;
        std::vector<Item> order;
    };
    struct Station {
        std::optional<std::size_t> ring;
        std::deque<Item> queue;  ///< accepted, without a place in the order
        std::size_t received = 0;
        std::set<Member> group;  ///< as this node knows it
        Member process;
        EventQueue* inbox = nullptr;
        bool asked = false;   ///< to join
        bool member = false;  ///< the join has come back
    };

    bool is_quorate(const Ring& ring) const { return ring.members.size() * 2 > stations_.size(); }
    void deliver(std::size_t node, const Item& item, Position at);
    void push_view(Station& station, bool joined, Position at);
    void end_order(const Ring& old, const std::vector<Ring>& rings);
    void show_new_ring(const Ring& ring);

    const GroupKind kind_;
    test::Prng& prng_;
    std::set<Key>& partial_;  ///< not all who went on have these
    std::vector<Station> stations_;
    std::vector<Ring> rings_;
    std::vector<bool> had_quorum_{false};  ///< by number; there is no ring 0
    Sabotage sabotage_ = Sabotage::None;
    std::size_t victim_ = 0;
};

}  // namespace cfsgate::simulation
