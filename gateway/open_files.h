// SPDX-License-Identifier: Apache-2.0
// Which inodes are open, and what removed ones held: an open handle keeps its file.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>

#include "gateway/file_system.h"
#include "store/base/mutex.h"

namespace cfsgate::gateway {

/// A removed file goes on living here for those who have it open.
///
/// The last few removed files stay although nobody has them open: a look-up may have found one just
/// before, and the open that follows it is then as good as one before the removal.
///
/// The order closes the race between opening and removing: a removal pins the entry before it is
/// published, whether it is open or not, and settles afterwards; an open counts itself before it
/// looks the entry up. Threads: any.
class OpenFiles {
public:
    struct Pinned {
        Attributes attributes;
        std::string content;
    };

    void add(InodeNumber inode) CFSGATE_EXCLUDES(mutex_);
    void remove(InodeNumber inode) CFSGATE_EXCLUDES(mutex_);

    void pin(InodeNumber inode, Pinned pinned) CFSGATE_EXCLUDES(mutex_);
    /// The removals so far are published: drops those that nobody has open, but for the last few.
    void settle() CFSGATE_EXCLUDES(mutex_);

    std::optional<Attributes> attributes(InodeNumber inode) const CFSGATE_EXCLUDES(mutex_);
    /// Errors: StaleHandle.
    Result<std::string> read(InodeNumber inode, std::uint64_t offset, std::size_t count) const
        CFSGATE_EXCLUDES(mutex_);
    /// Into the pinned content alone. Errors: StaleHandle.
    Result<std::uint32_t> write(InodeNumber inode, const WriteFile& write, WriteMode mode)
        CFSGATE_EXCLUDES(mutex_);

    struct Totals {
        std::uint64_t open = 0;
        std::uint64_t pinned = 0;
        std::uint64_t pinned_bytes = 0;
    };
    Totals totals() const CFSGATE_EXCLUDES(mutex_);

private:
    struct Record {
        std::uint32_t opens = 0;
        std::optional<Pinned> pinned;
        bool recent = false;  ///< in recent_: stays even if nobody has it open
    };
    void drop_pin(Record& record) CFSGATE_REQUIRES(mutex_);

    mutable Mutex mutex_;
    std::map<InodeNumber, Record> records_ CFSGATE_GUARDED_BY(mutex_);
    std::vector<InodeNumber> unsettled_ CFSGATE_GUARDED_BY(mutex_);
    struct Recent {
        InodeNumber inode;
        std::uint64_t bytes = 0;
    };
    std::deque<Recent> recent_ CFSGATE_GUARDED_BY(mutex_);  ///< oldest first
    std::uint64_t recent_bytes_ CFSGATE_GUARDED_BY(mutex_) = 0;
    std::uint64_t opens_ CFSGATE_GUARDED_BY(mutex_) = 0;
    std::uint64_t pinned_ CFSGATE_GUARDED_BY(mutex_) = 0;
    std::uint64_t pinned_bytes_ CFSGATE_GUARDED_BY(mutex_) = 0;
};

}  // namespace cfsgate::gateway
