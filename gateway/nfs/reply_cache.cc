// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/reply_cache.h"

#include "store/base/bytes.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::uint8_t kNfsReplyNote = 1;

std::string take_sized(ByteReader& in) {
    return std::string(in.take_bytes(in.take<std::uint32_t>()));
}

}  // namespace

ReplyCache::Begun ReplyCache::begin(const RequestKey& key, Time now) {
    drop_old(now);
    const auto [entry, is_new] = entries_.try_emplace(key);
    if (is_new) return {Found::New, nullptr};
    if (!entry->second.done) return {Found::InProgress, nullptr};
    return {Found::Done, &entry->second.reply};
}

void ReplyCache::forget(const RequestKey& key) {
    const auto entry = entries_.find(key);
    if (entry != entries_.end() && !entry->second.done) entries_.erase(entry);
}

void ReplyCache::finish(const RequestKey& key, std::string reply, Time now) {
    Entry& entry = entries_[key];
    entry.done = true;
    entry.reply = std::move(reply);
    entry.serial = ++serials_;
    done_.push_back({key, entry.serial, now});
    drop_old(now);
}

void ReplyCache::drop_old(Time now) {
    while (!done_.empty() &&
           (done_.size() > limits_.replies || now - done_.front().when > limits_.age)) {
        const auto entry = entries_.find(done_.front().key);
        // It may have been answered once more since.
        if (entry != entries_.end() && entry->second.serial == done_.front().serial) {
            entries_.erase(entry);
        }
        done_.pop_front();
    }
}

std::string encode_reply_note(const ReplyNote& note) {
    ByteWriter out;
    out.put(kNfsReplyNote);
    out.put_sized(note.key);
    out.put_sized(note.reply);
    out.put_sized(note.verifier);
    out.put(note.file.value());
    return out.take();
}

Result<ReplyNote> decode_reply_note(std::string_view bytes) {
    ByteReader in(bytes);
    if (in.take<std::uint8_t>() != kNfsReplyNote) {
        return fail(Errno::BadMessage, "reply note: unknown kind");
    }
    ReplyNote note;
    note.key = take_sized(in);
    note.reply = take_sized(in);
    note.verifier = take_sized(in);
    note.file = FileId(in.take<std::uint64_t>());
    CFSGATE_TRY(in.finish("reply note"));
    return note;
}

}  // namespace cfsgate::gateway::nfs
