// SPDX-License-Identifier: Apache-2.0
// The part of the façade for protocols that keep no open files.
#include <unistd.h>

#include <future>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "gateway/file_system.h"
#include "store/model/limits.h"
#include "tests/support/store_directory.h"
#include "tests/unit/gateway/fake_sequencer.h"

namespace cfsgate::gateway {
namespace {

using test::take;
using Order = FileSystem::Order;

constexpr gid_t kGroup = 33;

class SomeGroups final : public GroupSource {
public:
    std::vector<gid_t> groups_of(const Caller&) const override { return {7, kGroup}; }
};

/// NewAttributes of which only a few are named.
struct Wish {
    std::optional<std::uint32_t> mode = {};
    std::optional<uid_t> uid = {};
    std::optional<gid_t> gid = {};
    std::optional<std::uint64_t> size = {};
    std::optional<std::int64_t> mtime = {};
    bool mtime_is_now = false;
    std::optional<NewAttributes::Guard> guard = {};

    NewAttributes get() const { return {mode, uid, gid, size, mtime, mtime_is_now, guard}; }
};

class FileSystemByNumberTest : public testing::Test {
protected:
    FileSystemByNumberTest() {
        options.node_name = "node1";
        options.www_data = kGroup;
        options.clock = [this] { return directory.now; };
        make(MakeDirectory{"d"});
        make_file("d/f", "1234567");
        make(MakeDirectory{"d/e"});
        make(MakeDirectory{"priv"});
        make_file("priv/secret", "secret");
        make(MakeDirectory{"nodes"});
        make(MakeDirectory{"nodes/node1"});
        sequencer = replication::make_local_sequencer(*store, options.clock);
        files = std::make_unique<FileSystem>(*store, *sequencer, options, null_logger());
    }

    void make(const Operation& operation) const {
        ASSERT_EQ(test::result_of(*store, operation, {NodeId(0), directory.now}), 0);
    }
    void make_file(const std::string& path, const std::string& content) const {
        make(CreateFile{path});
        WriteFile write;
        write.path = path;
        write.data = content;
        ASSERT_EQ(test::result_of(*store, write, {NodeId(0), directory.now}),
                  static_cast<int>(content.size()));
    }

    FileId id_of(const std::string& path) const { return take(files->resolve(path)); }
    FileId stale_id() const {
        make(CreateFile{"gone"});
        const FileId id = id_of("gone");
        make(Delete{"gone"});
        return id;
    }
    Attributes attributes(const std::string& path) const {
        return take(files->getattr(id_of(path)));
    }
    std::uint64_t version() const { return take(store->read())->head().version.value(); }
    std::string content(const std::string& path) const { return test::content_of(*store, path); }

    /// Runs a change and waits for its answer.
    template <class Change>
    Result<Effect> run(const Change& change, const MakeNote& note = {}) {
        std::promise<Result<Effect>> answer;
        change(
            Order{who, note, [&](Result<Effect> effect) { answer.set_value(std::move(effect)); }});
        return answer.get_future().get();
    }
    Result<Effect> write(FileId id, std::uint64_t offset, const std::string& data,
                         const MakeNote& note = {}) {
        return run([&](Order order) { files->write_at(std::move(order), id, offset, data); }, note);
    }
    Result<Effect> set(FileId id, const Wish& wish) {
        return run([&](Order order) { files->set_attributes(std::move(order), id, wish.get()); });
    }
    Result<Effect> create(FileId parent, const std::string& name) {
        return run([&](Order order) { files->create_new(std::move(order), parent, name); });
    }
    Result<Effect> create_or_take(FileId parent, const std::string& name,
                                  std::optional<std::uint64_t> size = {}) {
        return run(
            [&](Order order) { files->create_or_take(std::move(order), parent, name, size); });
    }
    Result<Effect> remove(FileId parent, const std::string& name, FileKind kind = FileKind::File) {
        return run([&](Order order) { files->remove_name(std::move(order), parent, name, kind); });
    }
    Result<Effect> move(FileId parent, const std::string& name, FileId to,
                        const std::string& new_name) {
        return run(
            [&](Order order) { files->move_name(std::move(order), parent, name, to, new_name); });
    }

    template <class T>
    static Errno code_of(const Result<T>& result) {
        return result ? kOk : result.error().code;
    }
    static constexpr Errno kOk = Errno::Interrupted;  // which none of these answers

    /// Of two states what weak cache data is made of.
    static void expect_same(const std::optional<Attributes>& got, const Attributes& expected) {
        ASSERT_TRUE(got);
        EXPECT_EQ(got->id, expected.id);
        EXPECT_EQ(got->size, expected.size);
        EXPECT_EQ(got->mtime, expected.mtime);
        EXPECT_EQ(got->mode, expected.mode);
        EXPECT_EQ(got->version, expected.version);
    }
    static void expect_around(const Around& around, const Attributes& before,
                              const Attributes& after) {
        expect_same(around.before, before);
        expect_same(around.after, after);
    }

    const SomeGroups some_groups;
    const Caller root;
    const Caller www_data{33, kGroup, 0, nullptr};
    const Caller member{1000, 1000, 0, &some_groups};
    const Caller other{1000, 1000, 0, nullptr};
    Caller who;
    test::StoreDirectory directory;
    std::unique_ptr<store::Store> store = directory.open();
    FileSystemOptions options;
    std::unique_ptr<replication::Sequencer> sequencer;
    std::unique_ptr<FileSystem> files;
};

// --- Reading ---

TEST_F(FileSystemByNumberTest, AttributesAreForThoseWhoCanFindTheEntry) {
    expect_same(take(files->attributes(root, id_of("d/f"))), attributes("d/f"));
    for (const Caller& one : {www_data, member, other}) {
        EXPECT_EQ(code_of(files->attributes(one, id_of("d/f"))), kOk);
        EXPECT_EQ(code_of(files->attributes(one, id_of("priv"))), kOk);
        EXPECT_EQ(code_of(files->attributes(one, id_of("priv/secret"))), Errno::NoAccess);
        EXPECT_EQ(code_of(files->attributes(one, kRootId)), kOk);
        EXPECT_EQ(code_of(files->attributes(one, to_file_id(VirtualEntry::Local))), kOk);
    }
    EXPECT_EQ(code_of(files->attributes(root, stale_id())), Errno::StaleHandle);
    EXPECT_EQ(code_of(files->attributes(root, FileId(1ULL << 61))), Errno::StaleHandle);
}

TEST_F(FileSystemByNumberTest, WhatIsRemovedAnswersNoMoreEvenIfItIsOpen) {
    const auto open = take(files->open(root, id_of("d/f"), {true, false}));
    take(remove(id_of("d"), "f"));
    EXPECT_TRUE(files->getattr(open->id()).has_value());
    EXPECT_EQ(code_of(files->attributes(root, open->id())), Errno::StaleHandle);
    EXPECT_EQ(code_of(files->read_at(root, open->id(), 0, 10)), Errno::StaleHandle);
    EXPECT_EQ(code_of(write(open->id(), 0, "x")), Errno::StaleHandle);
    EXPECT_EQ(code_of(set(open->id(), {.size = 0})), Errno::StaleHandle);
}

TEST_F(FileSystemByNumberTest, WhatIsGranted) {
    const auto granted = [&](const Caller& caller, const std::string& path) {
        return take(files->granted(caller, id_of(path)));
    };
    EXPECT_EQ(granted(root, "d/f"), R_OK | W_OK);
    EXPECT_EQ(granted(root, "d"), R_OK | W_OK | X_OK);
    EXPECT_EQ(granted(root, "priv"), R_OK | W_OK | X_OK);
    EXPECT_EQ(granted(root, ".version"), R_OK);
    EXPECT_EQ(granted(root, ".debug"), R_OK | W_OK);
    for (const Caller& one : {www_data, member}) {
        EXPECT_EQ(granted(one, "d/f"), R_OK);
        EXPECT_EQ(granted(one, "d"), R_OK | X_OK);
        EXPECT_EQ(granted(one, "priv"), 0);
        EXPECT_EQ(granted(one, ".debug"), R_OK);
    }
    EXPECT_EQ(granted(other, "d/f"), 0);
    EXPECT_EQ(granted(other, "d"), R_OK | X_OK);
    EXPECT_EQ(code_of(files->granted(other, id_of("priv/secret"))), Errno::NoAccess);
    EXPECT_EQ(code_of(files->granted(root, stale_id())), Errno::StaleHandle);
}

TEST_F(FileSystemByNumberTest, NoWriteIsGrantedWhereNoneIsPossible) {
    const Restriction read_only{true, {}};
    Caller remote;
    remote.restriction = &read_only;
    EXPECT_EQ(take(files->granted(remote, id_of("d/f"))), R_OK);
    EXPECT_EQ(take(files->granted(remote, id_of("d"))), R_OK | X_OK);
    FakeSequencer fake;
    fake.is_quorate = false;
    const FileSystem alone(*store, fake, options, null_logger());
    EXPECT_EQ(take(alone.granted(root, id_of("d/f"))), R_OK);
}

TEST_F(FileSystemByNumberTest, ReadAt) {
    const FileId f = id_of("d/f");
    const auto read = [&](std::uint64_t offset, std::size_t count) {
        const ReadResult result = take(files->read_at(root, f, offset, count));
        expect_same(result.attributes, attributes("d/f"));
        return std::pair(result.data, result.end);
    };
    EXPECT_EQ(read(0, 7), std::pair(std::string("1234567"), true));
    EXPECT_EQ(read(0, 6), std::pair(std::string("123456"), false));
    EXPECT_EQ(read(5, 100), std::pair(std::string("67"), true));
    EXPECT_EQ(read(7, 1), std::pair(std::string(), true));
    EXPECT_EQ(read(UINT64_MAX, SIZE_MAX), std::pair(std::string(), true));
    EXPECT_EQ(read(1, 0), std::pair(std::string(), false));
    EXPECT_EQ(code_of(files->read_at(root, id_of("d"), 0, 1)), Errno::IsDirectory);
    EXPECT_EQ(code_of(files->read_at(root, to_file_id(VirtualEntry::Local), 0, 1)), Errno::Invalid);
    EXPECT_EQ(code_of(files->read_at(other, f, 0, 1)), Errno::NoAccess);
    EXPECT_EQ(code_of(files->read_at(member, f, 0, 1)), kOk);
    EXPECT_EQ(code_of(files->read_at(member, id_of("priv/secret"), 0, 1)), Errno::NoAccess);
    EXPECT_EQ(code_of(files->read_at(other, id_of(".version"), 0, 1)), Errno::NoAccess);
    EXPECT_TRUE(take(files->read_at(member, id_of(".version"), 0, 9)).data.starts_with("{\n"));
}

TEST_F(FileSystemByNumberTest, ParentOf) {
    EXPECT_EQ(take(files->parent_of(root, id_of("d/e"))).id, id_of("d"));
    EXPECT_EQ(take(files->parent_of(root, id_of("d"))).id, kRootId);
    EXPECT_EQ(take(files->parent_of(root, kRootId)).id, kRootId);
    EXPECT_EQ(code_of(files->parent_of(root, id_of("d/f"))), Errno::NotDirectory);
    EXPECT_EQ(code_of(files->parent_of(root, id_of(".version"))), Errno::NotDirectory);
    EXPECT_EQ(code_of(files->parent_of(other, id_of("priv"))), Errno::NoAccess);
    EXPECT_EQ(code_of(files->parent_of(root, stale_id())), Errno::StaleHandle);
}

// --- Changing: what an Effect says ---

TEST_F(FileSystemByNumberTest, TheEffectOfAWrite) {
    const Attributes before = attributes("d/f");
    directory.now += 5;
    const Effect effect = take(write(id_of("d/f"), 5, "abcd"));
    EXPECT_EQ(content("d/f"), "12345abcd");
    EXPECT_EQ(effect.bytes, 4U);
    expect_same(effect.entry, attributes("d/f"));
    expect_around(effect.directory, before, attributes("d/f"));
    EXPECT_FALSE(effect.target.before || effect.target.after);
}

TEST_F(FileSystemByNumberTest, TheEffectOfANewEntry) {
    for (const bool is_directory : {false, true}) {
        const Attributes before = attributes("d");
        const std::string name = is_directory ? "dir" : "file";
        const Effect effect = take(run([&](Order order) {
            is_directory ? files->make_directory(std::move(order), id_of("d"), name)
                         : files->create_new(std::move(order), id_of("d"), name);
        }));
        expect_same(effect.entry, attributes("d/" + name));
        EXPECT_EQ(effect.entry->kind, is_directory ? FileKind::Directory : FileKind::File);
        expect_around(effect.directory, before, attributes("d"));
    }
}

TEST_F(FileSystemByNumberTest, TheEffectOfARemoval) {
    for (const bool is_directory : {false, true}) {
        const Attributes before = attributes("d");
        const Effect effect = take(remove(id_of("d"), is_directory ? "e" : "f",
                                          is_directory ? FileKind::Directory : FileKind::File));
        EXPECT_FALSE(effect.entry);
        expect_around(effect.directory, before, attributes("d"));
    }
}

TEST_F(FileSystemByNumberTest, TheEffectOfAMove) {
    const Attributes from = attributes("d");
    const Attributes to = attributes("d/e");
    const FileId f = id_of("d/f");
    const Effect effect = take(move(id_of("d"), "f", id_of("d/e"), "g"));
    EXPECT_EQ(id_of("d/e/g"), f);
    expect_same(effect.entry, attributes("d/e/g"));
    expect_around(effect.directory, from, attributes("d"));
    expect_around(effect.target, to, attributes("d/e"));
    EXPECT_NE(from.version, attributes("d").version);
    EXPECT_NE(to.version, attributes("d/e").version);
}

TEST_F(FileSystemByNumberTest, AMoveOntoItselfChangesNothing) {
    const std::uint64_t before = version();
    const Effect effect = take(move(id_of("d"), "f", id_of("d"), "f"));
    expect_same(effect.entry, attributes("d/f"));
    expect_around(effect.directory, attributes("d"), attributes("d"));
    expect_around(effect.target, attributes("d"), attributes("d"));
    EXPECT_EQ(version(), before);
    EXPECT_EQ(code_of(move(id_of("d"), "absent", id_of("d"), "absent")), Errno::NotFound);
}

TEST_F(FileSystemByNumberTest, AWriteOfNothing) {
    const std::uint64_t before = version();
    expect_around(take(write(id_of("d/f"), 3, "")).directory, attributes("d/f"), attributes("d/f"));
    EXPECT_EQ(version(), before);
    EXPECT_EQ(code_of(write(id_of("d"), 0, "")), Errno::IsDirectory);
    who = other;
    EXPECT_EQ(code_of(write(id_of("d/f"), 0, "")), Errno::NoAccess);
}

TEST_F(FileSystemByNumberTest, WritesHaveTheirLimit) {
    const FileId f = id_of("d/f");
    EXPECT_EQ(code_of(write(f, limits::kFileBytesMax, "x")), Errno::FileTooBig);
    EXPECT_EQ(code_of(write(f, UINT64_MAX, "x")), Errno::FileTooBig);
    EXPECT_EQ(code_of(write(f, limits::kFileBytesMax - 1, "x")), kOk);
    EXPECT_EQ(code_of(set(f, {.size = limits::kFileBytesMax + 1})), Errno::FileTooBig);
    EXPECT_EQ(code_of(set(f, {.size = UINT64_MAX})), Errno::FileTooBig);
}

TEST_F(FileSystemByNumberTest, VirtualFilesAreWrittenByTheirRules) {
    bool debug = false;
    options.debug_enabled = [&] { return debug; };
    options.set_debug = [&](bool on) { debug = on; };
    files = std::make_unique<FileSystem>(*store, *sequencer, options, null_logger());
    EXPECT_EQ(take(write(to_file_id(VirtualEntry::Debug), 0, "1\n")).bytes, 2U);
    EXPECT_TRUE(debug);
    EXPECT_EQ(code_of(set(to_file_id(VirtualEntry::Debug), {.size = 0, .mtime = 5})), kOk);
    EXPECT_EQ(code_of(set(to_file_id(VirtualEntry::Debug), {.mtime = 5})), Errno::NoAccess);
    EXPECT_EQ(code_of(write(to_file_id(VirtualEntry::Version), 0, "1\n")), Errno::InputOutput);
    EXPECT_EQ(code_of(set(to_file_id(VirtualEntry::Version), {.size = 0})), Errno::InputOutput);
    who = member;
    EXPECT_EQ(code_of(write(to_file_id(VirtualEntry::Debug), 0, "0\n")), Errno::NoAccess);
    EXPECT_EQ(code_of(set(to_file_id(VirtualEntry::Debug), {.size = 0})), Errno::NoAccess);
    EXPECT_TRUE(debug);
}

// --- Attributes ---

TEST_F(FileSystemByNumberTest, SizeAndTimeTogether) {
    const Attributes before = attributes("d/f");
    const Effect effect = take(set(id_of("d/f"), {.size = 3, .mtime = 77}));
    EXPECT_EQ(content("d/f"), "123");
    EXPECT_EQ(attributes("d/f").mtime, 77U);
    expect_around(effect.directory, before, attributes("d/f"));
    directory.now += 9;
    take(set(id_of("d/f"), {.mtime_is_now = true}));
    EXPECT_EQ(attributes("d/f").mtime, directory.now);
}

TEST_F(FileSystemByNumberTest, WhatIsRefusedIsRefusedBeforeAnythingIsDone) {
    const std::uint64_t before = version();
    EXPECT_EQ(code_of(set(id_of("d/f"), {.mode = 0777, .size = 0})), Errno::NotPermitted);
    EXPECT_EQ(code_of(set(id_of("d/f"), {.uid = 5, .mtime = 1})), Errno::NotPermitted);
    EXPECT_EQ(code_of(set(kRootId, {.mtime = 1})), Errno::NoAccess);
    EXPECT_EQ(code_of(set(id_of("d"), {.size = 0})), Errno::IsDirectory);
    EXPECT_EQ(version(), before);
    EXPECT_EQ(code_of(set(id_of("d/f"), {.mode = 0640, .gid = kGroup})), kOk);
    EXPECT_EQ(version(), before);
}

TEST_F(FileSystemByNumberTest, TheGuard) {
    const Attributes found = attributes("d/f");
    const auto guarded = [&](std::uint32_t seconds, std::uint32_t nanoseconds) {
        return set(id_of("d/f"), {.size = 1, .guard = NewAttributes::Guard{seconds, nanoseconds}});
    };
    EXPECT_EQ(code_of(guarded(found.mtime, found.ctime_nanoseconds() + 1)), Errno::TryAgain);
    EXPECT_EQ(code_of(guarded(found.mtime + 1, found.ctime_nanoseconds())), Errno::TryAgain);
    EXPECT_EQ(content("d/f"), "1234567");
    EXPECT_EQ(code_of(guarded(found.mtime, found.ctime_nanoseconds())), kOk);
    EXPECT_EQ(content("d/f"), "1");
    EXPECT_EQ(code_of(guarded(found.mtime, found.ctime_nanoseconds())), Errno::TryAgain);
}

// --- Names ---

TEST_F(FileSystemByNumberTest, CreateOrTake) {
    const Effect made = take(create_or_take(id_of("d"), "new"));
    EXPECT_EQ(made.entry->id, id_of("d/new"));
    EXPECT_EQ(take(create_or_take(id_of("d"), "f")).entry->id, id_of("d/f"));
    EXPECT_EQ(content("d/f"), "1234567");
    EXPECT_EQ(take(create_or_take(id_of("d"), "f", 2)).entry->size, 2U);
    EXPECT_EQ(content("d/f"), "12");
    EXPECT_EQ(code_of(create_or_take(id_of("d"), "e")), Errno::Exists);
    EXPECT_EQ(code_of(create_or_take(kRootId, "local")), Errno::Exists);
    EXPECT_EQ(code_of(create_or_take(kRootId, ".version")), kOk);  // it is a file
    EXPECT_EQ(code_of(create(id_of("d"), "f")), Errno::Exists);
}

TEST_F(FileSystemByNumberTest, ADirectoryThatIsGoneIsStaleAndANameThatIsGoneIsNot) {
    make(MakeDirectory{"gone"});
    const FileId gone = id_of("gone");
    make(Delete{"gone"});
    EXPECT_EQ(code_of(create(gone, "x")), Errno::StaleHandle);
    EXPECT_EQ(code_of(create_or_take(gone, "x")), Errno::StaleHandle);
    EXPECT_EQ(code_of(remove(gone, "x")), Errno::StaleHandle);
    EXPECT_EQ(code_of(move(gone, "x", id_of("d"), "y")), Errno::StaleHandle);
    EXPECT_EQ(code_of(move(id_of("d"), "f", gone, "y")), Errno::StaleHandle);
    EXPECT_EQ(code_of(move(gone, "x", gone, "x")), Errno::StaleHandle);
    EXPECT_EQ(code_of(remove(id_of("d"), "x")), Errno::NotFound);
    EXPECT_EQ(code_of(create(id_of("d/f"), "x")), Errno::NotDirectory);
    EXPECT_EQ(code_of(remove(to_file_id(VirtualEntry::Version), "x")), Errno::NotDirectory);
}

TEST_F(FileSystemByNumberTest, AFileAndADirectoryAreRemovedEachInItsOwnWay) {
    EXPECT_EQ(code_of(remove(id_of("d"), "e")), Errno::IsDirectory);
    EXPECT_EQ(code_of(remove(id_of("d"), "f", FileKind::Directory)), Errno::NotDirectory);
    EXPECT_EQ(code_of(remove(kRootId, "d", FileKind::Directory)), Errno::NotEmpty);
    EXPECT_EQ(code_of(remove(kRootId, "local")), Errno::NoAccess);
}

TEST_F(FileSystemByNumberTest, NobodyButRootChangesAnything) {
    const std::uint64_t before = version();
    for (const Caller& one : {www_data, member, other}) {
        who = one;
        EXPECT_EQ(code_of(write(id_of("d/f"), 0, "x")), Errno::NoAccess);
        EXPECT_EQ(code_of(set(id_of("d/f"), {.size = 0})), Errno::NoAccess);
        EXPECT_EQ(code_of(set(id_of("d/f"), {.mtime = 0})), Errno::NoAccess);
        EXPECT_EQ(code_of(create(id_of("d"), "x")), Errno::NoAccess);
        EXPECT_EQ(code_of(create_or_take(id_of("d"), "x")), Errno::NoAccess);
        EXPECT_EQ(code_of(create_or_take(id_of("d"), "f", 0)), Errno::NoAccess);
        EXPECT_EQ(code_of(remove(id_of("d"), "f")), Errno::NoAccess);
        EXPECT_EQ(code_of(move(id_of("d"), "f", id_of("d"), "g")), Errno::NoAccess);
    }
    EXPECT_EQ(version(), before);
}

// --- Notes, and answers ---

TEST_F(FileSystemByNumberTest, ANoteIsKeptWithItsChangeAndSeesTheWholeEffect) {
    const Attributes before = attributes("d/f");
    Effect seen;
    const Effect effect = take(write(id_of("d/f"), 0, "abc", [&](const Effect& now) {
        seen = now;
        return std::string("the note");
    }));
    expect_around(seen.directory, before, attributes("d/f"));
    EXPECT_EQ(seen.bytes, 3U);
    expect_same(seen.entry, *effect.entry);
    const auto notes = take(files->notes(0, 10));
    ASSERT_EQ(notes.size(), 1U);
    EXPECT_EQ(notes[0].bytes, "the note");
    EXPECT_EQ(notes[0].time, directory.now);
}

TEST_F(FileSystemByNumberTest, TheNoteOfSizeAndTimeSpeaksForBoth) {
    const Attributes before = attributes("d/f");
    std::vector<Effect> seen;
    take(run(
        [&](Order order) {
            files->set_attributes(std::move(order), id_of("d/f"),
                                  Wish{.size = 1, .mtime = 5}.get());
        },
        [&](const Effect& now) {
            seen.push_back(now);
            return std::string("one note");
        }));
    ASSERT_EQ(seen.size(), 1U);
    expect_around(seen[0].directory, before, attributes("d/f"));
    EXPECT_EQ(take(files->notes(0, 10)).size(), 1U);
}

TEST_F(FileSystemByNumberTest, WhatChangesNothingLeavesNoNote) {
    const auto note = [](const Effect&) { return std::string("a note"); };
    take(write(id_of("d/f"), 0, "", note));
    EXPECT_FALSE(
        run([&](Order order) { files->create_new(std::move(order), id_of("d"), "f"); }, note));
    EXPECT_FALSE(run(
        [&](Order order) {
            files->remove_name(std::move(order), kRootId, "d", FileKind::Directory);
        },
        note));
    EXPECT_TRUE(take(files->notes(0, 10)).empty());
}

TEST_F(FileSystemByNumberTest, AnAnswerComesHoweverLate) {
    options.deadline = std::chrono::milliseconds(1);
    FakeSequencer fake;
    FileSystem late(*store, fake, options, null_logger());
    std::vector<Result<Effect>> answers;
    const auto keep = [&](Result<Effect> effect) { answers.push_back(std::move(effect)); };
    late.write_at({root, {}, keep}, id_of("d/f"), 0, "x");
    late.remove_name({root, {}, keep}, id_of("d"), "e", FileKind::Directory);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ASSERT_EQ(fake.completions.size(), 2U);
    EXPECT_TRUE(answers.empty());
    EXPECT_EQ(fake.submissions[0].need, replication::Need::Durable);
    fake.completions[1](fail(Errno::NotEmpty));
    fake.completions[0](replication::Outcome{});
    ASSERT_EQ(answers.size(), 2U);
    EXPECT_EQ(code_of(answers[0]), Errno::NotEmpty);
    EXPECT_EQ(code_of(answers[1]), kOk);
    EXPECT_EQ(late.counters().timed_out, 0U);
}

TEST_F(FileSystemByNumberTest, ADirectoryThatGoesBeforeTheTurnComesIsStaleToo) {
    FakeSequencer fake;
    FileSystem slow(*store, fake, options, null_logger());
    std::vector<Errno> answers;
    const auto keep = [&](const Result<Effect>& effect) { answers.push_back(code_of(effect)); };
    slow.create_new({root, {}, keep}, id_of("d/e"), "x");
    slow.remove_name({root, {}, keep}, id_of("d"), "f", FileKind::File);
    make(Delete{"d/e"});
    make(Delete{"d/f"});
    for (const auto& complete : fake.completions) complete(fail(Errno::NotFound));
    EXPECT_EQ(answers, (std::vector<Errno>{Errno::StaleHandle, Errno::NotFound}));
}

TEST_F(FileSystemByNumberTest, WithoutQuorumTheAnswerComesAtOnce) {
    FakeSequencer fake;
    fake.is_quorate = false;
    FileSystem alone(*store, fake, options, null_logger());
    std::vector<Errno> answers;
    const auto keep = [&](const Result<Effect>& effect) { answers.push_back(code_of(effect)); };
    alone.write_at({root, {}, keep}, id_of("d/f"), 0, "x");
    alone.set_attributes({root, {}, keep}, id_of("d/f"), Wish{.size = 0}.get());
    alone.create_new({root, {}, keep}, id_of("d"), "x");
    alone.create_or_take({root, {}, keep}, id_of("d"), "x", {});
    alone.make_directory({root, {}, keep}, id_of("d"), "x");
    alone.remove_name({root, {}, keep}, id_of("d"), "f", FileKind::File);
    alone.move_name({root, {}, keep}, id_of("d"), "f", id_of("d"), "x");
    EXPECT_EQ(answers, std::vector<Errno>(7, Errno::NoAccess));
    EXPECT_TRUE(fake.submissions.empty());
}

TEST_F(FileSystemByNumberTest, AnExportLeavesOutWhatItsRestrictionSays) {
    make(MakeDirectory{"priv/acme"});
    make_file("priv/acme/key", "key");
    const Restriction restriction{false, {"priv/acme"}};
    who.restriction = &restriction;
    EXPECT_EQ(code_of(files->attributes(who, id_of("priv/acme/key"))), kOk);
    EXPECT_EQ(code_of(files->attributes(who, id_of("priv"))), kOk);  // the way down
    EXPECT_EQ(code_of(files->attributes(who, id_of("priv/secret"))), Errno::NoAccess);
    EXPECT_EQ(code_of(files->lookup(who, id_of("priv"), "secret")), Errno::NotFound);
    EXPECT_EQ(code_of(write(id_of("priv/secret"), 0, "x")), Errno::NoAccess);
    EXPECT_EQ(code_of(remove(id_of("priv"), "secret")), Errno::NoAccess);
    EXPECT_EQ(code_of(create(id_of("priv"), "new")), Errno::NoAccess);
    EXPECT_EQ(code_of(write(id_of("priv/acme/key"), 0, "x")), kOk);
    std::set<std::string> names;
    take(
        files->readdir(who, id_of("priv"), 0, Listing::NamesOnly, [&](const DirectoryEntry& entry) {
            names.emplace(entry.name);
            return true;
        }));
    EXPECT_EQ(names, (std::set<std::string>{".", "..", "acme"}));
    const Restriction read_only{true, {}};
    who.restriction = &read_only;
    EXPECT_EQ(code_of(write(id_of("d/f"), 0, "x")), Errno::ReadOnly);
    EXPECT_EQ(code_of(remove(id_of("d"), "f")), Errno::ReadOnly);
}

}  // namespace
}  // namespace cfsgate::gateway
