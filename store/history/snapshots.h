// SPDX-License-Identifier: Apache-2.0
// The snapshots of a state directory, and which of them stay.
//
//   snapshot.SEQUENCE               automatic; a start rebuilds the tree from the newest
//   lost.snapshot.SEQUENCE          a tree that another node's has replaced
//   named.NAME.snapshot.SEQUENCE    made by an administrator, or by the guard (NAME is guard-TIME)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/model/inode.h"

namespace cfsgate::store {

/// Snapshots under this prefix hold trees that lost to another member's.
inline constexpr const char* kLostTreePrefix = "lost.";
inline constexpr const char* kNamedSnapshotPrefix = "named.";
inline constexpr const char* kGuardNamePrefix = "guard-";

enum class SnapshotKind : std::uint8_t { Automatic, Lost, Named };
std::string_view to_string(SnapshotKind kind);

struct SnapshotFile {
    std::string file;  ///< in the state directory
    std::string name;  ///< as commands call it: NAME of a named one, else the file's name
    SnapshotKind kind = SnapshotKind::Automatic;
    Sequence journal;  ///< the last journal record that is in it
    std::uint64_t bytes = 0;
    std::int64_t written = 0;  ///< when, in seconds since 1970
};

/// All of them, oldest first. One that goes away meanwhile is left out.
Result<std::vector<SnapshotFile>> list_snapshots(const std::string& directory);

/// Letters, digits, '-' and '_', at most 64, and a letter among them: so it is no version.
bool is_snapshot_name(std::string_view name);
std::string named_snapshot_file(const std::string& name, Sequence journal);

/// What of the past is kept.
struct RetentionPolicy {
    std::uint64_t keep_bytes = 0;     ///< of journal
    std::int64_t oldest_time = 0;     ///< seconds since 1970
    std::uint64_t spacing_bytes = 0;  ///< of journal between two snapshots, at least
};

struct SegmentSpan {
    Sequence first;  ///< its first record
    std::uint64_t bytes = 0;
};

struct RetentionPlan {
    std::vector<std::string> drop;  ///< files
    Sequence prune_upto;            ///< segments that lie wholly up to there can go
};

/// The past begins with a tree that is whole: the empty one, or a snapshot. So it is cut off only
/// from one snapshot to the next, as long as what would be left is within neither limit: more than
/// `keep_bytes` of journal are behind the oldest snapshot, or the next one is old enough. The newest
/// two snapshots always stay. Between those, one that lies too near to its neighbours goes as well.
/// `automatic` and `segments`: oldest first. `from_empty`: record 1 was made on the empty tree.
RetentionPlan plan_retention(const std::vector<SnapshotFile>& automatic,
                             const std::vector<SegmentSpan>& segments, bool from_empty,
                             const RetentionPolicy& policy);

}  // namespace cfsgate::store
