// SPDX-License-Identifier: Apache-2.0
#include "store/history/snapshots.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>

#include "store/file_io.h"
#include "store/snapshot.h"

namespace cfsgate::store {
namespace {

constexpr std::string_view kInfix = "snapshot.";
constexpr std::size_t kNewestKept = 2;
constexpr std::size_t kNameBytesMax = 64;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return {};
    return number;
}

std::optional<SnapshotFile> parse_file_name(const std::string& file) {
    SnapshotFile found;
    found.file = file;
    found.name = file;
    std::string_view rest = file;
    if (rest.starts_with(kLostTreePrefix)) {
        found.kind = SnapshotKind::Lost;
        rest.remove_prefix(std::string_view(kLostTreePrefix).size());
    } else if (rest.starts_with(kNamedSnapshotPrefix)) {
        found.kind = SnapshotKind::Named;
        rest.remove_prefix(std::string_view(kNamedSnapshotPrefix).size());
        found.name = rest.substr(0, rest.find('.'));
        if (!is_snapshot_name(found.name)) return {};
        rest.remove_prefix(std::min(rest.size(), found.name.size() + 1));
    }
    if (!rest.starts_with(kInfix)) return {};
    const auto number = parse_number(rest.substr(kInfix.size()));
    if (!number) return {};
    found.journal = Sequence(*number);
    return found;
}

/// Bytes of the segments that have records behind `sequence`.
std::uint64_t bytes_behind(const std::vector<SegmentSpan>& segments, Sequence sequence) {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const bool before =
            i + 1 < segments.size() && segments[i + 1].first.value() <= sequence.value() + 1;
        if (!before) bytes += segments[i].bytes;
    }
    return bytes;
}

struct Base {
    Sequence at;
    std::int64_t written = 0;
    std::string file;  ///< none: the empty tree
};

}  // namespace

std::string_view to_string(SnapshotKind kind) {
    switch (kind) {
        case SnapshotKind::Automatic: return "automatic";
        case SnapshotKind::Lost: return "lost";
        case SnapshotKind::Named: return "named";
    }
    return "unknown";
}

Result<std::vector<SnapshotFile>> list_snapshots(const std::string& directory) {
    std::vector<SnapshotFile> snapshots;
    for (const std::string& name : CFSGATE_TRY(list_files(directory, ""))) {
        auto found = parse_file_name(name);
        struct stat info {};
        if (!found || ::stat((directory + "/" + name).c_str(), &info) != 0) continue;
        found->bytes = static_cast<std::uint64_t>(info.st_size);
        found->written = info.st_mtime;
        snapshots.push_back(std::move(*found));
    }
    std::sort(snapshots.begin(), snapshots.end(), [](const auto& one, const auto& other) {
        return std::tie(one.journal, one.file) < std::tie(other.journal, other.file);
    });
    return snapshots;
}

bool is_snapshot_name(std::string_view name) {
    return name.size() <= kNameBytesMax && std::any_of(name.begin(), name.end(), is_letter) &&
           std::all_of(name.begin(), name.end(),
                       [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '_'; });
}

std::string named_snapshot_file(const std::string& name, Sequence journal) {
    return kNamedSnapshotPrefix + name + "." + snapshot_name(journal);
}

RetentionPlan plan_retention(const std::vector<SnapshotFile>& automatic,
                             const std::vector<SegmentSpan>& segments, bool from_empty,
                             const RetentionPolicy& policy) {
    RetentionPlan plan;
    if (automatic.size() < kNewestKept) return plan;
    std::vector<Base> bases;
    if (from_empty && !segments.empty() && segments.front().first == Sequence(1)) {
        bases.emplace_back();
    }
    for (const SnapshotFile& snapshot : automatic) {
        bases.push_back({snapshot.journal, snapshot.written, snapshot.file});
    }
    const auto drop = [&](std::size_t i) {
        if (!bases[i].file.empty()) plan.drop.push_back(bases[i].file);
        bases.erase(bases.begin() + static_cast<std::ptrdiff_t>(i));
    };
    for (std::size_t i = 1; i + kNewestKept < bases.size();) {
        const std::uint64_t between =
            bytes_behind(segments, bases[i - 1].at) - bytes_behind(segments, bases[i + 1].at);
        if (between < policy.spacing_bytes) {
            drop(i);
        } else {
            ++i;
        }
    }
    while (bases.size() > kNewestKept && (bytes_behind(segments, bases[0].at) > policy.keep_bytes ||
                                          bases[1].written < policy.oldest_time)) {
        drop(0);
    }
    plan.prune_upto = bases[0].at;
    return plan;
}

}  // namespace cfsgate::store
