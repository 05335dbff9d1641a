// SPDX-License-Identifier: Apache-2.0
#include "store/history/history.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "store/journal.h"
#include "store/journal_record.h"
#include "store/model/path.h"
#include "store/snapshot.h"
#include "store/state_file.h"

namespace cfsgate::store {
namespace {

constexpr int kTries = 3;

struct Describe {
    HistoryRecord& to;

    void as(HistoryRecord::Kind kind, const std::string& path) const {
        to.kind = kind;
        to.path = path;
    }
    void operator()(const CreateFile& op) const { as(HistoryRecord::Kind::Create, op.path); }
    void operator()(const WriteFile& op) const {
        as(HistoryRecord::Kind::Write, op.path);
        to.offset = op.offset;
        to.bytes = static_cast<std::uint32_t>(op.data.size());
        to.truncate = op.truncate;
    }
    void operator()(const MakeDirectory& op) const {
        as(HistoryRecord::Kind::MakeDirectory, op.path);
    }
    void operator()(const Delete& op) const { as(HistoryRecord::Kind::Delete, op.path); }
    void operator()(const Rename& op) const {
        as(HistoryRecord::Kind::Rename, op.path);
        to.target = op.target;
    }
    void operator()(const SetMtime& op) const {
        as(HistoryRecord::Kind::SetMtime, op.path);
        to.mtime = op.mtime;
    }
    void operator()(const Unlock& op) const { as(HistoryRecord::Kind::Unlock, op.path); }
};

Result<HistoryRecord> describe(Sequence sequence, std::string_view payload) {
    HistoryRecord found;
    found.sequence = sequence;
    if (is_takeover_record(payload)) {
        const TakeoverRecord record = CFSGATE_TRY(decode_takeover_record(payload));
        found.kind = HistoryRecord::Kind::Takeover;
        found.version = record.head.version;
        found.stamp.time = record.time;
        found.from = record.from;
        found.removed = record.removed.size();
        found.put = record.entries.size();
        return found;
    }
    const JournalRecord record = CFSGATE_TRY(decode_journal_record(payload));
    found.version = record.version;
    found.stamp = record.stamp;
    found.by_nfs = !record.note.empty();
    std::visit(Describe{found}, record.operation);
    return found;
}

bool is_at_or_below(const std::vector<std::string_view>& path, std::string_view of) {
    const auto components = path_components(of);
    return components.size() >= path.size() &&
           std::equal(path.begin(), path.end(), components.begin());
}

class Filter {
public:
    explicit Filter(const HistoryQuery& query)
        : query_(query), path_(path_components(query.path)) {}

    bool passes(const HistoryRecord& record) const {
        if (record.stamp.time < query_.since || record.stamp.time > query_.until) return false;
        if (query_.from && query_.oldest_first && record.sequence <= *query_.from) return false;
        if (query_.from && !query_.oldest_first && record.sequence >= *query_.from) return false;
        if (record.kind == HistoryRecord::Kind::Takeover) return true;
        return is_at_or_below(path_, record.path) ||
               (record.kind == HistoryRecord::Kind::Rename && is_at_or_below(path_, record.target));
    }
    /// Nothing of the segment can pass.
    bool skips(const Journal::SegmentRange& segment) const {
        if (!query_.from) return false;
        if (query_.oldest_first) return segment.end.value() <= query_.from->value() + 1;
        return segment.first >= *query_.from;
    }

private:
    const HistoryQuery& query_;
    std::vector<std::string_view> path_;
};

Result<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
        return fail(Errno::Invalid, "'" + std::string(text) + "' is no number");
    }
    return number;
}

/// Again, where a file has gone away meanwhile.
template <class F>
auto persistently(const F& function) -> decltype(function()) {
    auto result = function();
    for (int tries = 1; !result && result.error().code == Errno::NotFound && tries < kTries;
         ++tries) {
        result = function();
    }
    return result;
}

}  // namespace

std::string_view to_string(HistoryRecord::Kind kind) {
    switch (kind) {
        case HistoryRecord::Kind::Create: return "create";
        case HistoryRecord::Kind::Write: return "write";
        case HistoryRecord::Kind::MakeDirectory: return "mkdir";
        case HistoryRecord::Kind::Delete: return "delete";
        case HistoryRecord::Kind::Rename: return "rename";
        case HistoryRecord::Kind::SetMtime: return "mtime";
        case HistoryRecord::Kind::Unlock: return "unlock";
        case HistoryRecord::Kind::Takeover: return "takeover";
    }
    return "unknown";
}

Result<Position> parse_position(std::string_view text) {
    if (text.starts_with('#')) {
        return Position(Sequence(CFSGATE_TRY(parse_number(text.substr(1)))));
    }
    const bool is_number =
        std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (text.empty() || !is_number) {
        if (text.empty()) return fail(Errno::Invalid, "a position is missing behind '@'");
        return Position(std::string(text));
    }
    return Position(Version(CFSGATE_TRY(parse_number(text))));
}

Result<History> History::open(const std::string& directory) {
    const StateFile state = CFSGATE_TRY(read_state_file(directory));
    return History(PastSource{directory, state.ids, state.from_empty});
}

Result<std::vector<HistoryRecord>> History::find(const HistoryQuery& query) const {
    return persistently([&] { return try_find(query); });
}

Result<std::vector<HistoryRecord>> History::try_find(const HistoryQuery& query) const {
    auto segments = CFSGATE_TRY(Journal::segment_ranges(source_.directory));
    if (!query.oldest_first) std::reverse(segments.begin(), segments.end());
    const Filter filter(query);
    std::vector<HistoryRecord> found;
    for (const Journal::SegmentRange& segment : segments) {
        if (found.size() >= query.most) break;
        if (filter.skips(segment)) continue;
        std::vector<HistoryRecord> here;
        CFSGATE_TRY(Journal::scan_segment(
            source_.directory, segment.number, source_.ids.store,
            [&](Sequence sequence, std::string_view payload) -> Status {
                if (sequence >= segment.end) return {};
                HistoryRecord record = CFSGATE_TRY(describe(sequence, payload));
                if (filter.passes(record)) here.push_back(std::move(record));
                return {};
            }));
        if (!query.oldest_first) std::reverse(here.begin(), here.end());
        std::move(here.begin(), here.end(), std::back_inserter(found));
    }
    if (found.size() > query.most) found.resize(query.most);
    return found;
}

Result<Sequence> History::locate(const Position& position) const {
    return persistently([&]() -> Result<Sequence> {
        if (const auto* version = std::get_if<Version>(&position)) return locate_version(*version);
        if (const auto* sequence = std::get_if<Sequence>(&position)) return *sequence;
        if (const auto* name = std::get_if<std::string>(&position)) return locate_snapshot(*name);
        return locate_time(std::get<At>(position).time);
    });
}

/// The newest record that gave it: after a takeover a version can come again.
Result<Sequence> History::locate_version(Version version) const {
    auto segments = CFSGATE_TRY(Journal::segment_ranges(source_.directory));
    std::reverse(segments.begin(), segments.end());
    std::optional<Sequence> found;
    for (const Journal::SegmentRange& segment : segments) {
        CFSGATE_TRY(Journal::scan_segment(
            source_.directory, segment.number, source_.ids.store,
            [&](Sequence sequence, std::string_view payload) -> Status {
                if (sequence >= segment.end) return {};
                if (CFSGATE_TRY(decode_record_head(payload)).version == version) found = sequence;
                return {};
            }));
        if (found) return *found;
    }
    for (const SnapshotFile& snapshot : CFSGATE_TRY(snapshots())) {
        const auto header = read_snapshot_header(source_.directory + "/" + snapshot.file);
        if (header && header->head.version == version) return header->journal;
    }
    if (version == TreeHead().version && source_.from_empty) return Sequence(0);
    return fail(Errno::NotFound, "this node's history has no version " +
                                     std::to_string(version.value()) +
                                     "; cfsgate log and cfsgate snapshot list show what it has");
}

Result<Sequence> History::locate_snapshot(const std::string& name) const {
    for (const SnapshotFile& snapshot : CFSGATE_TRY(snapshots())) {
        if (snapshot.name == name) return snapshot.journal;
    }
    return fail(Errno::NotFound,
                "'" + name + "': no snapshot has this name; see cfsgate snapshot list");
}

Result<Sequence> History::locate_time(std::uint32_t time) const {
    const auto segments = CFSGATE_TRY(Journal::segment_ranges(source_.directory));
    std::optional<Sequence> last;
    std::optional<Sequence> later;
    for (const Journal::SegmentRange& segment : segments) {
        if (!last) last = Sequence(segment.first.value() - 1);
        CFSGATE_TRY(
            Journal::scan_segment(source_.directory, segment.number, source_.ids.store,
                                  [&](Sequence sequence, std::string_view payload) -> Status {
                                      if (sequence >= segment.end || later) return {};
                                      if (CFSGATE_TRY(decode_record_head(payload)).time > time) {
                                          later = sequence;
                                      } else {
                                          last = sequence;
                                      }
                                      return {};
                                  }));
        if (later) break;
    }
    if (!last) return fail(Errno::NotFound, "there is no journal");
    if (*last != Sequence(segments.front().first.value() - 1)) return *last;
    const auto too_old =
        fail(Errno::NotFound, "this node's history does not reach back to that time");
    if (*last == Sequence(0) && source_.from_empty) return too_old;
    // All of the journal is later: what was there when it began is as old as it says.
    const auto oldest = CFSGATE_TRY(tree_at(*last));
    const TreeHead head = CFSGATE_TRY(oldest->read())->head();
    if (head.mtime <= time) return *last;
    return too_old;
}

Result<std::unique_ptr<PastTree>> History::tree_at(Sequence at) const {
    return make_past_tree(source_, at);
}

}  // namespace cfsgate::store
