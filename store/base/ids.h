// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace cfsgate {

/// An integer that cannot be mixed up with another integer. No arithmetic, no implicit conversion:
/// `.value()` is for codecs and log lines only.
template <class Tag, class Rep>
class Id {
public:
    constexpr Id() = default;
    constexpr explicit Id(Rep value) : value_(value) {}
    constexpr Rep value() const { return value_; }
    friend constexpr auto operator<=>(const Id&, const Id&) = default;

private:
    Rep value_{};
};

using NodeId = Id<struct NodeIdTag, std::uint32_t>;  ///< corosync node id; 0 in local mode
using InodeNumber = Id<struct InodeNumberTag, std::uint64_t>;  ///< 0 is the root directory
using Version = Id<struct VersionTag, std::uint64_t>;    ///< counts the applied changes of the tree
using Sequence = Id<struct SequenceTag, std::uint64_t>;  ///< journal record number, from 1

inline constexpr InodeNumber kRootInode{0};

}  // namespace cfsgate

template <class Tag, class Rep>
struct std::hash<cfsgate::Id<Tag, Rep>> {
    std::size_t operator()(const cfsgate::Id<Tag, Rep>& id) const noexcept {
        return std::hash<Rep>()(id.value());
    }
};
