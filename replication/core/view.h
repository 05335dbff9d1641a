// SPDX-License-Identifier: Apache-2.0
// Who is in the group. WIRE.md, "Members".
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <vector>

#include "store/base/ids.h"

namespace cfsgate::replication {

/// One process in the group. Ordered by node, then process id.
struct Member {
    NodeId node;
    std::uint32_t pid = 0;

    friend constexpr auto operator<=>(const Member&, const Member&) = default;
};

/// The agreed list of members, ascending.
class View {
public:
    View() = default;
    explicit View(std::vector<Member> members) : members_(std::move(members)) {
        std::sort(members_.begin(), members_.end());
    }

    const std::vector<Member>& members() const { return members_; }
    std::size_t size() const { return members_.size(); }
    bool contains(const Member& member) const {
        return std::binary_search(members_.begin(), members_.end(), member);
    }
    /// The smallest node id; 0 in an empty view.
    NodeId lowest() const { return members_.empty() ? NodeId() : members_.front().node; }

private:
    std::vector<Member> members_;
};

}  // namespace cfsgate::replication
