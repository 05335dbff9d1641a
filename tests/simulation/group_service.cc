// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/group_service.h"

#include <algorithm>

#include "replication/core/message.h"

namespace cfsgate::simulation {

GroupService::GroupService(GroupKind kind, std::size_t count, test::Prng& prng,
                           std::set<Key>& partial)
    : kind_(kind), prng_(prng), partial_(partial), stations_(count) {}

// --- Processes ---

void GroupService::connect(std::size_t node, Member process, EventQueue& inbox) {
    Station& station = stations_[node];
    station.process = process;
    station.inbox = &inbox;
    station.asked = false;
    station.member = false;
}

void GroupService::disconnect(std::size_t node) {
    Station& station = stations_[node];
    if (station.inbox == nullptr) return;
    if (station.asked) {
        station.queue.push_back({Item::Kind::Leave, station.process, node, nullptr, {}});
    }
    station.inbox = nullptr;
    station.asked = false;
    station.member = false;
}

bool GroupService::join(std::size_t node) {
    Station& station = stations_[node];
    // The group has not seen yet that this process has left.
    const bool leaving =
        station.group.contains(station.process) ||
        std::any_of(station.queue.begin(), station.queue.end(), [&](const Item& item) {
            return item.kind != Item::Kind::Message && item.from == station.process;
        });
    const auto& order = rings_[*station.ring].order;
    const bool under_way =
        std::any_of(order.begin() + static_cast<std::ptrdiff_t>(station.received), order.end(),
                    [&](const Item& item) {
                        return item.kind != Item::Kind::Message && item.from == station.process;
                    });
    if (leaving || under_way) return false;
    station.asked = true;
    station.queue.push_back({Item::Kind::Join, station.process, node, nullptr, {}});
    return true;
}

void GroupService::multicast(std::size_t node, std::string bytes) {
    Station& station = stations_[node];
    Item item{Item::Kind::Message, station.process, node, nullptr, {}};
    if (kind_ == GroupKind::Configuration) {
        const auto decoded = replication::decode_message(bytes, 1);
        if (const auto* normal = std::get_if<replication::NormalMessage>(&*decoded)) {
            item.key = Key{station.process, normal->time};
        }
    }
    item.bytes = std::make_shared<const std::string>(std::move(bytes));
    station.queue.push_back(std::move(item));
}

// --- The order of a ring ---

bool GroupService::has_quorum(std::size_t node) const {
    const auto& ring = stations_[node].ring;
    return ring && is_quorate(rings_[*ring]);
}

bool GroupService::can_order(std::size_t node) const {
    return stations_[node].ring && !stations_[node].queue.empty();
}

void GroupService::order(std::size_t node) {
    Station& station = stations_[node];
    rings_[*station.ring].order.push_back(std::move(station.queue.front()));
    station.queue.pop_front();
}

bool GroupService::can_receive(std::size_t node) const {
    const Station& station = stations_[node];
    return station.ring && station.received < rings_[*station.ring].order.size();
}

void GroupService::receive(std::size_t node) {
    Station& station = stations_[node];
    const Ring& ring = rings_[*station.ring];
    const std::size_t at = station.received++;
    const auto is_message = [&](std::size_t place) {
        return place < ring.order.size() && ring.order[place].kind == Item::Kind::Message;
    };
    if (node == victim_ && is_message(at)) {
        if (sabotage_ == Sabotage::LostDelivery && prng_.one_in(20)) return;
        if (sabotage_ == Sabotage::SwappedDeliveries && is_message(at + 1) && prng_.one_in(4)) {
            deliver(node, ring.order[at + 1], {ring.number, at + 1});
            ++station.received;
        }
    }
    deliver(node, ring.order[at], {ring.number, at + 1});
}

void GroupService::push_view(Station& station, bool joined, Position at) {
    if (station.inbox == nullptr || !station.member) return;
    GroupEvent event{at, ViewEvent{{station.group.begin(), station.group.end()}, joined}};
    const bool early = sabotage_ == Sabotage::EarlyView && &station == &stations_[victim_] &&
                       !station.inbox->empty() &&
                       std::holds_alternative<MessageEvent>(station.inbox->back().what);
    station.inbox->insert(early ? std::prev(station.inbox->end()) : station.inbox->end(),
                          std::move(event));
}

void GroupService::deliver(std::size_t node, const Item& item, Position at) {
    Station& station = stations_[node];
    switch (item.kind) {
        case Item::Kind::Join:
            station.group.insert(item.from);
            if (station.inbox != nullptr && station.asked && item.from == station.process) {
                station.member = true;
            }
            return push_view(station, true, at);
        case Item::Kind::Leave:
            if (station.group.erase(item.from) > 0) push_view(station, false, at);
            return;
        case Item::Kind::Message:
            if (station.inbox == nullptr || !station.member) return;
            station.inbox->push_back({at, MessageEvent{item.from, item.bytes}});
            return;
    }
}

// --- New rings ---

void GroupService::regroup(const std::vector<std::vector<std::size_t>>& rings) {
    std::vector<Ring> fresh;
    for (const auto& members : rings) {
        fresh.push_back({had_quorum_.size(), members, {}});
        had_quorum_.push_back(is_quorate(fresh.back()));
    }
    const auto is_up = [&](std::size_t node) {
        return std::any_of(rings.begin(), rings.end(), [&](const auto& members) {
            return std::count(members.begin(), members.end(), node) > 0;
        });
    };
    for (const Ring& old : rings_) end_order(old, fresh);
    for (std::size_t node = 0; node < stations_.size(); ++node) {
        if (!is_up(node)) stations_[node] = Station();
    }
    rings_ = std::move(fresh);
    for (std::size_t i = 0; i < rings_.size(); ++i) {
        for (const std::size_t node : rings_[i].members) {
            stations_[node].ring = i;
            stations_[node].received = 0;
        }
    }
    for (const Ring& ring : rings_) show_new_ring(ring);
}

/// Those who stay together deliver the same of what is left: a beginning of the order that holds
/// at least what one of them has delivered, and behind it what they have sent themselves.
void GroupService::end_order(const Ring& old, const std::vector<Ring>& rings) {
    std::vector<std::size_t> missed(old.order.size(), 0);
    std::vector<bool> missed_by_quorate(old.order.size(), false);
    bool one_is_quorate = false;
    for (const Ring& ring : rings) {
        std::vector<std::size_t> together;
        for (const std::size_t node : old.members) {
            if (std::count(ring.members.begin(), ring.members.end(), node) > 0) {
                together.push_back(node);
            }
        }
        if (together.empty()) continue;
        one_is_quorate = one_is_quorate || is_quorate(ring);
        std::size_t upto = 0;
        for (const std::size_t node : together) upto = std::max(upto, stations_[node].received);
        if (prng_.one_in(2)) upto += prng_.below(old.order.size() - upto + 1);
        std::uint64_t number = old.number;
        for (std::size_t at = 0; at < old.order.size(); ++at) {
            const Item& item = old.order[at];
            const bool own = std::count(together.begin(), together.end(), item.node) > 0;
            if (at >= upto && !own) {
                // What follows has an order of its own.
                if (number == old.number) {
                    number = had_quorum_.size();
                    had_quorum_.push_back(had_quorum_[old.number]);
                }
                ++missed[at];
                if (is_quorate(ring)) missed_by_quorate[at] = true;
                continue;
            }
            for (const std::size_t node : together) {
                if (stations_[node].received <= at) deliver(node, item, {number, at + 1});
            }
        }
    }
    for (std::size_t at = 0; at < old.order.size(); ++at) {
        const bool partial = one_is_quorate ? missed_by_quorate[at] : missed[at] > 0;
        if (partial && old.order[at].key) partial_.insert(*old.order[at].key);
    }
}

/// Each node first sees who is gone, then who has come: all at once or one by one, in an order of
/// its own.
void GroupService::show_new_ring(const Ring& ring) {
    std::set<Member> all;
    for (const std::size_t node : ring.members) {
        for (const Member& member : stations_[node].group) {
            if (member.node == NodeId(static_cast<std::uint32_t>(node + 1))) all.insert(member);
        }
    }
    const bool one_by_one = prng_.one_in(2);
    for (const std::size_t node : ring.members) {
        Station& station = stations_[node];
        const Position at{ring.number, 0};
        if (std::erase_if(station.group, [&](const Member& m) { return !all.contains(m); }) > 0) {
            push_view(station, false, at);
        }
        std::vector<Member> joiners;
        std::set_difference(all.begin(), all.end(), station.group.begin(), station.group.end(),
                            std::back_inserter(joiners));
        while (!joiners.empty()) {
            if (!one_by_one) {
                station.group.insert(joiners.begin(), joiners.end());
                joiners.clear();
            } else {
                const std::size_t next = prng_.below(joiners.size());
                station.group.insert(joiners[next]);
                joiners.erase(joiners.begin() + static_cast<std::ptrdiff_t>(next));
            }
            push_view(station, true, at);
        }
    }
}

}  // namespace cfsgate::simulation
