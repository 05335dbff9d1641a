// SPDX-License-Identifier: Apache-2.0
// The limits of the tree. Those under "façade" are enforced before an operation is submitted and
// never at delivery, since peers do not enforce them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cfsgate::limits {

inline constexpr std::uint64_t kFileBytesMax = 1024UL * 1024UL;  ///< also at delivery (EFBIG)
inline constexpr std::uint64_t kTreeBytesMax = 128UL * 1024UL * 1024UL;  ///< façade
inline constexpr std::uint64_t kEntriesMax = 256UL * 1024UL;             ///< façade, root counted
inline constexpr std::size_t kNameBytesMax = 255;                        ///< façade
inline constexpr std::size_t kNameBytesStoredMax = 1024;                 ///< what peers may send
inline constexpr std::size_t kPathBytesMax = 4096;                       ///< façade
inline constexpr std::uint32_t kBlockBytes = 4096;  ///< unit of statfs and of st_blocks
inline constexpr std::uint32_t kLockSeconds = 120;  ///< a lock lease, strictly more expires

}  // namespace cfsgate::limits
