// SPDX-License-Identifier: Apache-2.0
#include "store/history/removal_guard.h"

#include <algorithm>

#include "store/model/path.h"

namespace cfsgate::store {
namespace {

/// Of a smaller tree no share is too much.
constexpr std::uint64_t kShareEntriesMin = 40;
constexpr std::uint64_t kShareDivisor = 4;

std::string directory_of(const std::string& path) {
    const auto directory = split_path(path).directory;
    return directory == "." ? std::string() : std::string(directory);
}

std::string common_directory(const std::string& one, const std::string& other) {
    const auto left = path_components(one);
    const auto right = path_components(other);
    std::string common;
    for (std::size_t i = 0; i < std::min(left.size(), right.size()) && left[i] == right[i]; ++i) {
        common = join_path(common, left[i]);
    }
    return common;
}

void widen(std::optional<std::string>& path, const std::string& directory) {
    path = path ? common_directory(*path, directory) : directory;
}

}  // namespace

bool RemovalGuard::is_too_much(std::uint64_t removed, std::uint64_t of) const {
    return removed >= limits_.entries || (of >= kShareEntriesMin && removed * kShareDivisor > of);
}

void RemovalGuard::remember(const Published& published) {
    if (seconds_.empty() || seconds_.back().time != published.now) {
        Second second;
        second.time = published.now;
        second.version_before = published.version_before;
        seconds_.push_back(std::move(second));
    }
    Second& second = seconds_.back();
    if (published.entries_before >= second.peak) {
        second.peak = published.entries_before;
        second.peak_before = published.before;
    }
    // What was made in the window is no loss when it goes.
    const Version known = seconds_.front().version_before;
    for (const auto& removal : published.removals) {
        if (is_below_lock_directory(removal.path)) continue;
        widen(second.path, directory_of(removal.path));
        if (removal.inode.value() > known.value()) continue;
        second.removed += 1;
        if (!second.before) second.before = published.before;
    }
}

/// More of a burst that is known already; it is over when nothing has gone for a window's length.
bool RemovalGuard::goes_on(const Published& published) {
    if (!active_) return false;
    if (published.now - last_removal_ > limits_.seconds) {
        active_ = false;
        return false;
    }
    for (const auto& removal : published.removals) {
        if (is_below_lock_directory(removal.path)) continue;
        last_->removed += 1;
        last_->path = common_directory(last_->path, directory_of(removal.path));
        last_removal_ = published.now;
    }
    return true;
}

bool RemovalGuard::begins(const Published& published) {
    if (published.removals.empty()) return false;
    std::uint64_t removed = 0;
    std::optional<Sequence> before;
    const Second* peak = &seconds_.front();
    std::optional<std::string> path;
    for (const Second& second : seconds_) {
        removed += second.removed;
        if (!before) before = second.before;
        if (second.peak >= peak->peak) peak = &second;
        if (second.path) widen(path, *second.path);
    }
    const std::uint64_t shrunk =
        peak->peak > published.entries_after ? peak->peak - published.entries_after : 0;
    if (!is_too_much(std::max(removed, shrunk), peak->peak)) return false;
    RemovalBurst burst;
    burst.time = published.now;
    burst.removed = std::max(removed, shrunk);
    burst.path = path.value_or("");
    // As late as possible: what was made in the window is in the snapshot then.
    burst.before = removed >= shrunk && before ? *before : peak->peak_before;
    last_ = std::move(burst);
    last_removal_ = published.now;
    active_ = true;
    seconds_.clear();
    return true;
}

bool RemovalGuard::note(const Published& published) {
    if (limits_.entries == 0) return false;
    MutexLock lock(mutex_);
    if (goes_on(published)) return false;
    // Also where the clock was set back.
    while (!seconds_.empty() && (seconds_.front().time > published.now ||
                                 published.now - seconds_.front().time >= limits_.seconds)) {
        seconds_.pop_front();
    }
    remember(published);
    return begins(published);
}

std::optional<RemovalBurst> RemovalGuard::last() const {
    MutexLock lock(mutex_);
    return last_;
}

void RemovalGuard::set_snapshot(const std::string& name) {
    MutexLock lock(mutex_);
    if (last_) last_->snapshot = name;
}

}  // namespace cfsgate::store
