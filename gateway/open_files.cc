// SPDX-License-Identifier: Apache-2.0
#include "gateway/open_files.h"

#include <algorithm>

#include "store/model/limits.h"

namespace cfsgate::gateway {
namespace {

/// Beyond this, handles of removed files go stale instead of keeping their content.
constexpr std::uint64_t kPinnedBytesMax = 256ULL << 20;
/// What stays of removed files that nobody has open.
constexpr std::uint64_t kRecentBytesMax = 4ULL << 20;
constexpr std::size_t kRecentMax = 64;

}  // namespace

void OpenFiles::add(InodeNumber inode) {
    MutexLock lock(mutex_);
    ++records_[inode].opens;
    ++opens_;
}

void OpenFiles::drop_pin(Record& record) {
    if (!record.pinned) return;
    pinned_bytes_ -= record.pinned->content.size();
    --pinned_;
    record.pinned.reset();
}

void OpenFiles::remove(InodeNumber inode) {
    MutexLock lock(mutex_);
    const auto found = records_.find(inode);
    if (found == records_.end()) return;
    --opens_;
    if (--found->second.opens > 0) return;
    // Removed but not published yet: it can still be opened, and settle() decides.
    if (std::find(unsettled_.begin(), unsettled_.end(), inode) != unsettled_.end()) return;
    if (found->second.recent) return;
    drop_pin(found->second);
    records_.erase(found);
}

void OpenFiles::pin(InodeNumber inode, Pinned pinned) {
    MutexLock lock(mutex_);
    if (pinned_bytes_ + pinned.content.size() > kPinnedBytesMax) return;
    Record& record = records_[inode];
    drop_pin(record);
    pinned_bytes_ += pinned.content.size();
    ++pinned_;
    record.pinned = std::move(pinned);
    unsettled_.push_back(inode);
}

void OpenFiles::settle() {
    MutexLock lock(mutex_);
    for (const InodeNumber inode : unsettled_) {
        const auto found = records_.find(inode);
        if (found == records_.end() || !found->second.pinned) continue;
        recent_.push_back({inode, found->second.pinned->content.size()});
        recent_bytes_ += recent_.back().bytes;
        found->second.recent = true;
    }
    unsettled_.clear();
    while (recent_.size() > kRecentMax || recent_bytes_ > kRecentBytesMax) {
        const Recent oldest = recent_.front();
        recent_.pop_front();
        recent_bytes_ -= oldest.bytes;
        const auto found = records_.find(oldest.inode);
        if (found == records_.end()) continue;
        found->second.recent = false;
        if (found->second.opens > 0) continue;
        drop_pin(found->second);
        records_.erase(found);
    }
}

std::optional<Attributes> OpenFiles::attributes(InodeNumber inode) const {
    MutexLock lock(mutex_);
    const auto found = records_.find(inode);
    if (found == records_.end() || !found->second.pinned) return {};
    Attributes attributes = found->second.pinned->attributes;
    attributes.size = found->second.pinned->content.size();
    return attributes;
}

Result<std::string> OpenFiles::read(InodeNumber inode, std::uint64_t offset,
                                    std::size_t count) const {
    MutexLock lock(mutex_);
    const auto found = records_.find(inode);
    if (found == records_.end() || !found->second.pinned) return fail(Errno::StaleHandle);
    const std::string& content = found->second.pinned->content;
    if (offset >= content.size()) return std::string();
    return content.substr(offset, count);
}

Result<std::uint32_t> OpenFiles::write(InodeNumber inode, const WriteFile& write, WriteMode mode) {
    MutexLock lock(mutex_);
    const auto found = records_.find(inode);
    if (found == records_.end() || !found->second.pinned) return fail(Errno::StaleHandle);
    std::string& content = found->second.pinned->content;
    pinned_bytes_ -= content.size();
    const std::size_t offset = mode.append ? content.size() : write.offset;
    const std::size_t end = offset + write.data.size();
    if (end <= limits::kFileBytesMax) {
        if (end > content.size() || mode.truncate) content.resize(end);
        content.replace(offset, write.data.size(), write.data);
    }
    pinned_bytes_ += content.size();
    if (end > limits::kFileBytesMax) return fail(Errno::FileTooBig);
    return static_cast<std::uint32_t>(write.data.size());
}

OpenFiles::Totals OpenFiles::totals() const {
    MutexLock lock(mutex_);
    return {opens_, pinned_, pinned_bytes_};
}

}  // namespace cfsgate::gateway
