// SPDX-License-Identifier: Apache-2.0
#include "store/replay.h"

#include "store/apply.h"
#include "store/change_counters.h"
#include "store/guest_registry.h"
#include "store/journal_record.h"
#include "store/lock_leases.h"
#include "store/take_over.h"

namespace cfsgate::store {

Result<std::optional<InodeNumber>> replay_record(TreeWriter& tree, std::string_view payload,
                                                 const WallClock& clock) {
    if (is_takeover_record(payload)) {
        CFSGATE_TRY(replay_takeover(tree, CFSGATE_TRY(decode_takeover_record(payload))));
        return std::optional<InodeNumber>();
    }
    const JournalRecord record = CFSGATE_TRY(decode_journal_record(payload));
    // The daemon's own start after this. And what was applied once is not judged again: the guest
    // list of that time may have known less than the tree says.
    GuestRegistry guests;
    ChangeCounters counters;
    LockLeases leases(clock);
    const Store::RemovalObserver nobody;
    ApplyContext context{tree, guests, leases, counters, nobody};
    const Applied applied = apply(context, record.operation, record.stamp);
    if (!applied.ok || applied.version != record.version) {
        return fail(Errno::Corrupt, "does not apply to the tree");
    }
    return std::optional<InodeNumber>(applied.inode);
}

}  // namespace cfsgate::store
