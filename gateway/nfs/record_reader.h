// SPDX-License-Identifier: Apache-2.0
// Record marking (RFC 5531, 11): finds the records in a stream of bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/base/result.h"

namespace cfsgate::gateway::nfs {

struct RecordLimits {
    std::size_t bytes = (1U << 20) + (64U << 10);  ///< of a record, all fragments together
    std::size_t fragments = 4096;                  ///< of a record, empty ones too
};

/// Not for use by two threads at once.
class RecordReader {
public:
    explicit RecordReader(RecordLimits limits = {}) : limits_(limits) {}

    /// Takes bytes from the front of `input` until a record is whole; nothing: `input` is used up.
    /// The record is borrowed until the next call, from `input` where it lies there in one piece.
    /// Errors: BadMessage for a record beyond the limits; nothing can follow it.
    Result<std::optional<std::string_view>> next(std::string_view& input);

    /// Whether a record has begun and is not whole.
    bool partial() const { return marker_bytes_ > 0 || in_record_; }
    /// What it holds of that record.
    std::size_t held_bytes() const { return record_.capacity(); }

private:
    Status begin_fragment();

    RecordLimits limits_;
    unsigned char marker_[4] = {};
    std::size_t marker_bytes_ = 0;  ///< of the marker that is being read
    bool in_record_ = false;        ///< at least one fragment has begun
    bool delivered_ = false;        ///< record_ was handed out
    bool in_fragment_ = false;
    bool last_ = false;
    std::size_t left_ = 0;  ///< bytes of the fragment that are still to come
    std::size_t fragments_ = 0;
    std::string record_;
};

}  // namespace cfsgate::gateway::nfs
