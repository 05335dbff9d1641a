// SPDX-License-Identifier: Apache-2.0
#include "store/journal_notes.h"

#include <iterator>
#include <utility>

#include "store/journal.h"
#include "store/journal_record.h"

namespace cfsgate::store {

Result<std::vector<Store::Note>> read_notes(const std::string& directory, std::uint64_t store_id,
                                            std::uint32_t since, std::size_t most) {
    std::vector<std::uint64_t> segments = CFSGATE_TRY(Journal::segment_numbers(directory));
    std::vector<std::vector<Store::Note>> found;  // by segment, the newest first
    std::size_t count = 0;
    bool too_old = false;
    std::uint64_t end = UINT64_MAX;  // what follows there was gone on from elsewhere
    for (auto number = segments.rbegin(); number != segments.rend() && !too_old && count < most;
         ++number) {
        std::vector<Store::Note>& notes = found.emplace_back();
        bool first = true;
        const SegmentInfo info = CFSGATE_TRY(Journal::scan_segment(
            directory, *number, store_id,
            [&](Sequence sequence, std::string_view payload) -> Status {
                if (sequence.value() >= end || is_takeover_record(payload)) return {};
                JournalRecord record = CFSGATE_TRY(decode_journal_record(payload));
                if (std::exchange(first, false)) too_old = record.stamp.time < since;
                if (record.note.empty() || record.stamp.time < since) return {};
                notes.push_back({record.stamp.time, std::move(record.note)});
                return {};
            }));
        end = info.first.value();
        count += notes.size();
    }
    std::vector<Store::Note> notes;
    for (auto part = found.rbegin(); part != found.rend(); ++part) {
        std::move(part->begin(), part->end(), std::back_inserter(notes));
    }
    if (notes.size() > most) {
        notes.erase(notes.begin(), notes.end() - static_cast<std::ptrdiff_t>(most));
    }
    return notes;
}

}  // namespace cfsgate::store
