// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/record_reader.h"

#include <algorithm>
#include <utility>

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::uint32_t kLastFragment = 0x80000000;
/// A buffer of this size is kept for the next record.
constexpr std::size_t kKeptBytes = 4096;

}  // namespace

/// Reads the marker.
Status RecordReader::begin_fragment() {
    std::uint32_t word = 0;
    for (const unsigned char byte : marker_) word = (word << 8) | byte;
    marker_bytes_ = 0;
    last_ = (word & kLastFragment) != 0;
    left_ = word & ~kLastFragment;
    in_fragment_ = true;
    in_record_ = true;
    if (++fragments_ > limits_.fragments) {
        return fail(Errno::BadMessage, "a record of too many fragments");
    }
    if (left_ > limits_.bytes - record_.size()) {
        return fail(Errno::BadMessage, "a record is longer than allowed");
    }
    return {};
}

Result<std::optional<std::string_view>> RecordReader::next(std::string_view& input) {
    if (std::exchange(delivered_, false)) {
        record_.clear();
        // By exchange: an assignment may keep the memory.
        if (record_.capacity() > kKeptBytes) std::string().swap(record_);
    }
    while (!input.empty() || (in_fragment_ && left_ == 0)) {
        if (!in_fragment_) {
            const std::size_t count = std::min(input.size(), sizeof(marker_) - marker_bytes_);
            std::copy_n(input.begin(), count, marker_ + marker_bytes_);
            marker_bytes_ += count;
            input.remove_prefix(count);
            if (marker_bytes_ < sizeof(marker_)) break;
            CFSGATE_TRY(begin_fragment());
        }
        const bool whole_in_input = record_.empty() && last_ && left_ <= input.size();
        const std::string_view part = input.substr(0, left_);
        input.remove_prefix(part.size());
        left_ -= part.size();
        if (!whole_in_input) record_.append(part);
        if (left_ > 0) break;
        in_fragment_ = false;
        if (!last_) continue;
        in_record_ = false;
        fragments_ = 0;
        delivered_ = true;
        return whole_in_input ? part : std::string_view(record_);
    }
    return std::optional<std::string_view>();
}

}  // namespace cfsgate::gateway::nfs
