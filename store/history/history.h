// SPDX-License-Identifier: Apache-2.0
// The past of a store, read from its files: the journal's records, and the tree at any of them. The
// same for a store that nobody uses and for one that a daemon is changing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "store/base/result.h"
#include "store/history/past_tree.h"
#include "store/history/purged.h"
#include "store/history/snapshots.h"
#include "store/model/operation.h"

namespace cfsgate::store {

/// One journal record, without what it wrote.
struct HistoryRecord {
    enum class Kind : std::uint8_t {
        Create,
        Write,
        MakeDirectory,
        Delete,
        Rename,
        SetMtime,
        Unlock,
        Takeover,  ///< another node's tree replaced the one here
    };
    Kind kind = Kind::Create;
    Sequence sequence;
    Version version;  ///< the tree's, after it
    Stamp stamp;      ///< of a takeover: node 0 and this node's clock
    std::string path;
    std::string target;                  ///< of a rename
    std::uint32_t offset = 0;            ///< of a write
    std::uint32_t bytes = 0;             ///< of a write
    bool truncate = false;               ///< of a write
    std::uint32_t mtime = 0;             ///< of a set mtime
    std::string from;                    ///< of a takeover: whose tree
    std::uint64_t removed = 0, put = 0;  ///< entries, of a takeover
    bool by_nfs = false;                 ///< its caller came to this node by NFS
};
std::string_view to_string(HistoryRecord::Kind kind);

struct HistoryQuery {
    /// The entry, all below it, and renames from or to there; "" is everything. Takeovers are always
    /// found, since they do not say paths.
    std::string path = {};
    std::uint32_t since = 0;  ///< by the stamps, in seconds since 1970
    std::uint32_t until = UINT32_MAX;
    bool oldest_first = false;
    /// Goes on there: with the records before it, or behind it where the oldest come first.
    std::optional<Sequence> from = {};
    std::size_t most = 100;
};

/// Where in the past: a version of the tree, an exact journal record, a snapshot by its name, or
/// a time. At a time the tree is as it was before the first record with a later stamp: clocks of
/// nodes differ, and what is wrong then is rather too old.
struct At {
    std::uint32_t time = 0;
};
using Position = std::variant<Version, Sequence, std::string, At>;

/// "17" is a version, "#17" a journal record, anything else a snapshot. Errors: Invalid.
Result<Position> parse_position(std::string_view text);

/// Threads: any. Files that are pruned while it reads are no error.
class History {
public:
    /// Errors: NotFound, Corrupt: there is no store.
    static Result<History> open(const std::string& directory);

    Result<std::vector<HistoryRecord>> find(const HistoryQuery& query) const;
    /// The journal record after which the tree was so. Errors: NotFound.
    Result<Sequence> locate(const Position& position) const;
    /// Errors: NotFound where the past does not reach back so far.
    Result<std::unique_ptr<PastTree>> tree_at(Sequence at) const;
    Result<std::vector<SnapshotFile>> snapshots() const {
        return list_snapshots(source_.directory);
    }
    /// What was purged.
    Result<Purged> purged() const { return read_purged(source_.directory); }

private:
    explicit History(PastSource source) : source_(std::move(source)) {}
    Result<std::vector<HistoryRecord>> try_find(const HistoryQuery& query) const;
    Result<Sequence> locate_version(Version version) const;
    Result<Sequence> locate_time(std::uint32_t time) const;
    Result<Sequence> locate_snapshot(const std::string& name) const;

    PastSource source_;
};

}  // namespace cfsgate::store
