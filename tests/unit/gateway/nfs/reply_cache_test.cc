// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/reply_cache.h"

#include <gtest/gtest.h>

namespace cfsgate::gateway::nfs {
namespace {

using std::chrono::seconds;
using Found = ReplyCache::Found;

const ReplyCache::Time kStart{seconds(100000)};

class ReplyCacheTest : public testing::Test {
protected:
    Found begin(const RequestKey& key, seconds at = seconds(0)) {
        return cache.begin(key, kStart + at).found;
    }
    void finish(const RequestKey& key, std::string reply, seconds at = seconds(0)) {
        cache.finish(key, std::move(reply), kStart + at);
    }
    std::string replayed(const RequestKey& key, seconds at = seconds(0)) {
        const auto begun = cache.begin(key, kStart + at);
        return begun.reply != nullptr ? *begun.reply : "none";
    }

    ReplyCache cache{{.replies = 3, .age = seconds(600)}};
};

TEST_F(ReplyCacheTest, ARequestIsNewThenInProgressThenDone) {
    EXPECT_EQ(begin("a"), Found::New);
    EXPECT_EQ(begin("a"), Found::InProgress);
    EXPECT_EQ(replayed("a"), "none");
    finish("a", "reply");
    EXPECT_EQ(begin("a"), Found::Done);
    const std::string reply("with \0 and \xff", 12);
    EXPECT_EQ(begin("b"), Found::New);
    finish("b", reply);
    EXPECT_EQ(replayed("b"), reply);
    EXPECT_EQ(replayed("a"), "reply");
}

TEST_F(ReplyCacheTest, TheOldestReplyMakesRoom) {
    for (const char* key : {"a", "b", "c"}) {
        begin(key);
        finish(key, key);
    }
    EXPECT_EQ(replayed("a"), "a");
    begin("d");
    EXPECT_EQ(replayed("a"), "a");  // it has no reply yet
    finish("d", "d");
    EXPECT_EQ(replayed("b"), "b");
    EXPECT_EQ(begin("a"), Found::New);
    EXPECT_EQ(cache.size(), 4U);
}

TEST_F(ReplyCacheTest, AReplyLastsForItsAge) {
    begin("a");
    finish("a", "reply");
    EXPECT_EQ(begin("a", seconds(600)), Found::Done);
    EXPECT_EQ(begin("a", seconds(601)), Found::New);
}

TEST_F(ReplyCacheTest, WhatIsInProgressStays) {
    begin("slow");
    for (int i = 0; i < 100; ++i) {
        const std::string key = "other" + std::to_string(i);
        begin(key, seconds(i * 60));
        finish(key, "reply", seconds(i * 60));
    }
    EXPECT_EQ(begin("slow", seconds(100000)), Found::InProgress);
    finish("slow", "at last", seconds(100000));
    EXPECT_EQ(replayed("slow", seconds(100001)), "at last");
    EXPECT_EQ(cache.size(), 1U);
}

TEST_F(ReplyCacheTest, ASecondAnswerCountsFromItsOwnTime) {
    begin("a");
    finish("a", "try again later");
    finish("a", "done", seconds(500));
    EXPECT_EQ(replayed("a", seconds(601)), "done");
    EXPECT_EQ(replayed("a", seconds(1100)), "done");
    EXPECT_EQ(begin("a", seconds(1101)), Found::New);
}

TEST_F(ReplyCacheTest, AReplyFromBeforeAStart) {
    finish("a", "reply", seconds(-599));
    EXPECT_EQ(replayed("a", seconds(1)), "reply");
    EXPECT_EQ(begin("a", seconds(2)), Found::New);
}

// --- What the journal keeps ---

const ReplyNote kNote{"the key", std::string("reply \0 bytes", 13), "verifier", FileId(0x1234)};

TEST(ReplyNoteTest, RoundTrip) {
    for (const ReplyNote& note : {kNote, ReplyNote{}, ReplyNote{"", "r", "", FileId(UINT64_MAX)}}) {
        const ReplyNote read = decode_reply_note(encode_reply_note(note)).value();
        EXPECT_EQ(read.key, note.key);
        EXPECT_EQ(read.reply, note.reply);
        EXPECT_EQ(read.verifier, note.verifier);
        EXPECT_EQ(read.file, note.file);
    }
}

TEST(ReplyNoteTest, EveryPrefixAndEveryLongerNoteIsRefused) {
    const std::string bytes = encode_reply_note(kNote);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto note = decode_reply_note(bytes.substr(0, size));
        ASSERT_FALSE(note) << size;
        EXPECT_EQ(note.error().code, Errno::BadMessage);
    }
    EXPECT_FALSE(decode_reply_note(bytes + '\0'));
}

TEST(ReplyNoteTest, LengthsThatSayTooMuchAndOtherKindsAreRefused) {
    const std::string bytes = encode_reply_note(kNote);
    const std::size_t key_size = 1;
    const std::size_t reply_size = key_size + 4 + kNote.key.size();
    const std::size_t verifier_size = reply_size + 4 + kNote.reply.size();
    for (const std::size_t at : {key_size, reply_size, verifier_size}) {
        std::string longer = bytes;
        longer.replace(at, 4, "\xff\xff\xff\xff");
        EXPECT_FALSE(decode_reply_note(longer)) << at;
    }
    std::string other = bytes;
    other[0] = 2;
    EXPECT_FALSE(decode_reply_note(other));
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
