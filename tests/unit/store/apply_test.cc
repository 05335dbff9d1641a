// SPDX-License-Identifier: Apache-2.0
// Vectors of the original, then each rule of docs/operations.md, in the order of its checks.
#include "store/apply.h"

#include <spdlog/sinks/ostream_sink.h>

#include <cerrno>

#include <gtest/gtest.h>

#include "store/base/bytes.h"
#include "store/model/digest.h"
#include "store/model/index.h"
#include "store/model/limits.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::store {
namespace {

using nlohmann::json;
using test::checksum_of;
using test::content_of;
using test::exists_in;
using test::inode_of;
using test::result_of;
using test::take;

constexpr Stamp kStamp{NodeId(1), 1700000000};

class ApplyTest : public testing::Test {
protected:
    ApplyTest() : store(directory.open()) {}

    int run(const Operation& operation, const Stamp& stamp = kStamp) {
        return result_of(*store, operation, stamp);
    }
    void make(const std::vector<std::string>& paths) {
        for (const std::string& path : paths) {
            const bool is_directory = path.back() == '/';
            const int result = is_directory ? run(MakeDirectory{path.substr(0, path.size() - 1)})
                                            : run(CreateFile{path});
            ASSERT_EQ(result, 0) << path;
        }
    }
    /// Refused with this errno, and nothing has changed: tree, version, guests, counters.
    void expect_refused(const Operation& operation, int posix_errno, const Stamp& stamp = kStamp) {
        const std::string before = state();
        const Applied applied = test::apply_alone(*store, operation, stamp);
        EXPECT_FALSE(applied.ok);
        EXPECT_FALSE(applied.broken);
        EXPECT_TRUE(applied.changes.empty());
        EXPECT_EQ(applied.wire_result(), -posix_errno);
        EXPECT_EQ(state(), before);
    }
    std::string state() const {
        std::string text = checksum_of(*store);
        const auto listing = store->guests().list();
        text += " list " + std::to_string(listing.version);
        for (const auto& [vmid, guest] : listing.guests) {
            text += " " + std::to_string(vmid) + guest.node + std::to_string(guest.version);
        }
        for (std::size_t i = 0; i < kObservedPaths.size(); ++i) {
            text += " " + std::to_string(store->change_counters().get(i));
        }
        return text + " journal " + std::to_string(store->journal_status().appended.value());
    }
    std::uint64_t version() const { return take(store->read())->head().version.value(); }
    std::uint32_t counter(std::string_view path) const {
        for (std::size_t i = 0; i < kObservedPaths.size(); ++i) {
            if (kObservedPaths[i] == path) return store->change_counters().get(i);
        }
        return 0;
    }
    void reopen() {
        store.reset();
        store = directory.open();
    }

    test::StoreDirectory directory;
    std::unique_ptr<Store> store;
};

// --- Vectors ---

Operation operation_of(const json& row) {
    const auto path = row.at("path").get<std::string>();
    if (row.at("op") == "mkdir") return MakeDirectory{path};
    if (row.at("op") == "create") return CreateFile{path};
    WriteFile write{path, test::from_hex(row.at("data_hex").get<std::string>()), 0, false};
    write.offset = row.at("offset").get<std::uint32_t>();
    write.truncate = row.at("truncate").get<int>() != 0;
    return write;
}

TEST_F(ApplyTest, VectorOfTheFreshTree) {
    const json vector = test::load_vectors("tree-fresh.json");
    EXPECT_EQ(test::to_hex(encode_index(take(store->index()))), vector["index_hex"]);
    EXPECT_EQ(checksum_of(*store), vector["verify_checksum"]);
}

TEST_F(ApplyTest, VectorOfTheBasicTree) {
    const json vector = test::load_vectors("tree-basic.json");
    for (const json& row : vector["operations"]) {
        const Stamp stamp{NodeId(row["writer"].get<std::uint32_t>()),
                          row["mtime"].get<std::uint32_t>()};
        EXPECT_EQ(run(operation_of(row), stamp), row["result"].get<int>()) << row.dump();
    }
    std::vector<Entry> entries;
    take(take(store->read())->for_each([&](const Inode& inode, std::string_view content) -> Status {
        entries.push_back({inode, std::string(content)});
        return {};
    }));
    EXPECT_EQ(entries, test::vector_entries(vector));
    EXPECT_EQ(test::to_hex(encode_index(take(store->index()))), vector["index_hex"]);
    EXPECT_EQ(checksum_of(*store), vector["verify_checksum"]);
}

TEST_F(ApplyTest, VectorOfAHundredFiles) {
    const json vector = test::load_vectors("tree-100files.json");
    const Stamp stamp{NodeId(0), 1234};
    const auto batch = take(store->begin());
    for (int i = 0; i < 100; ++i) {
        const std::string path = "testfile" + std::to_string(i);
        EXPECT_EQ(batch->apply(CreateFile{path}, stamp).wire_result(), 0);
        const WriteFile write{path, std::string(32768, '\0'), 0, false};
        EXPECT_EQ(batch->apply(write, stamp).wire_result(), 32768);
    }
    take(batch->commit());
    EXPECT_EQ(to_hex(Sha256::of(encode_index(take(store->index())))), vector["index_sha256"]);
    EXPECT_EQ(checksum_of(*store), vector["verify_checksum"]);
}

TEST_F(ApplyTest, VectorOfWriteSemantics) {
    make({"f"});
    const json vector = test::load_vectors("write-semantics.json");
    for (const json& step : vector["steps"]) {
        WriteFile write{"f", step["data"], step["offset"], step["truncate"] != 0};
        EXPECT_EQ(run(write), step["result"].get<int>()) << step.dump();
        EXPECT_EQ(test::to_hex(content_of(*store, "f")), step["content_hex"]) << step.dump();
        EXPECT_EQ(inode_of(*store, "f").size, step["size"].get<std::uint32_t>()) << step.dump();
        EXPECT_EQ(version(), step["root_version"].get<std::uint64_t>()) << step.dump();
    }
}

/// A message of the group, as far as apply needs it: 24 bytes of header, then the operation.
struct Message {
    std::uint16_t subtype = 0;
    std::uint32_t time = 0;
    Operation operation;
};

Message decode_message(std::string_view bytes) {
    ByteReader in(bytes);
    Message message;
    in.take<std::uint16_t>();  // type 0
    message.subtype = in.take<std::uint16_t>();
    in.take<std::uint32_t>();  // protocol
    message.time = in.take<std::uint32_t>();
    in.take<std::uint32_t>();  // reserved
    in.take<std::uint64_t>();  // message count
    if (message.subtype == 7 || message.subtype == 8) {
        Unlock unlock;
        for (unsigned char& byte : unlock.checksum) byte = in.take<std::uint8_t>();
        unlock.path = in.take_c_string(in.remaining());
        message.operation = unlock;
        return message;
    }
    const auto size = in.take<std::uint32_t>();
    const auto offset = in.take<std::uint32_t>();
    const auto path_bytes = in.take<std::uint32_t>();
    const auto target_bytes = in.take<std::uint32_t>();
    const auto flags = in.take<std::uint32_t>();
    const std::string path(in.take_c_string(path_bytes));
    const std::string target(in.take_c_string(target_bytes));
    const std::string data(in.take_bytes(size));
    take(in.finish("message"));
    switch (message.subtype) {
        case 1: message.operation = WriteFile{path, data, offset, flags == 1}; break;
        case 2: message.operation = MakeDirectory{path}; break;
        case 3: message.operation = Delete{path}; break;
        case 4: message.operation = Rename{path, target}; break;
        case 5: message.operation = CreateFile{path}; break;
        case 6: message.operation = SetMtime{path, offset}; break;
        default: throw std::runtime_error("unknown subtype");
    }
    return message;
}

Message message_of(const json& row) {
    return decode_message(test::from_hex(row.at("message_hex").get<std::string>()));
}

TEST_F(ApplyTest, VectorOfGroupMessages) {
    const json vector = test::load_vectors("dcdb-normal-messages.json");
    for (const json& row : vector["messages"]) {
        const Message message = message_of(row);
        directory.now = message.time;  // the lock timers of the vector run by this clock
        const Stamp stamp{NodeId(row["sender_nodeid"].get<std::uint32_t>()), message.time};
        ASSERT_EQ(run(message.operation, stamp), row["result"].get<int>()) << row["description"];
        ASSERT_EQ(version(), row["root_version_after"].get<std::uint64_t>()) << row["description"];
        ASSERT_EQ(checksum_of(*store), row["verify_checksum_after"]) << row["description"];
    }
    const Inode lock = inode_of(*store, "priv/lock/file-user_cfg");
    EXPECT_EQ(lock.number.value(), vector["lock_entry"]["inode"].get<std::uint64_t>());
    EXPECT_EQ(to_hex(entry_checksum(lock, {})), vector["lock_entry"]["entry_checksum"]);

    const Message early = message_of(vector["unlock_request_too_early"]);
    const auto& request = std::get<Unlock>(early.operation);
    directory.now = early.time;
    EXPECT_FALSE(store->lock_leases().expired(request.path, request.checksum));
    directory.now = message_of(vector["unlock_request_expired"]).time;
    EXPECT_TRUE(store->lock_leases().expired(request.path, request.checksum));

    const json& sent = vector["unlock_sent_by_lowest_node"];
    const Message unlock = message_of(sent);
    EXPECT_EQ(run(unlock.operation, {NodeId(1), unlock.time}), 0);
    EXPECT_EQ(exists_in(*store, request.path), sent["lock_exists_after"].get<bool>());
    EXPECT_EQ(version(), sent["root_version_after"].get<std::uint64_t>());
    EXPECT_EQ(checksum_of(*store), sent["verify_checksum_after"]);
}

// --- Create, make directory ---

TEST_F(ApplyTest, CreateChecksInOrder) {
    make({"file", "directory/", "nodes/", "nodes/a/", "nodes/a/lxc/", "nodes/b/", "nodes/b/lxc/",
          "nodes/a/lxc/100.conf"});
    // 1. the parent
    expect_refused(CreateFile{"missing/x"}, ENOENT);
    expect_refused(CreateFile{"missing/."}, ENOENT);
    expect_refused(CreateFile{"missing/100.conf"}, ENOENT);
    expect_refused(CreateFile{"nodes/c/lxc/100.conf"}, ENOENT);
    expect_refused(CreateFile{"file/x"}, ENOTDIR);
    expect_refused(CreateFile{"file/.."}, ENOTDIR);
    expect_refused(CreateFile{"file/x/y"}, ENOENT);
    // 2. the name
    for (const char* path : {"", "/", ".", "..", "directory/.", "directory/..", "directory/../"}) {
        expect_refused(CreateFile{path}, EACCES);
    }
    // 3. the guest, also where the name exists
    expect_refused(CreateFile{"nodes/b/lxc/100.conf"}, EEXIST);
    make({"nodes/b/lxc/100.conf/"});
    expect_refused(CreateFile{"nodes/b/lxc/100.conf"}, EEXIST);
    // 4. the name exists
    expect_refused(CreateFile{"directory"}, ENOTDIR);
    expect_refused(CreateFile{"file"}, EEXIST);
    expect_refused(CreateFile{"file/"}, EEXIST);
}

TEST_F(ApplyTest, CreateStampsEntryAndRoot) {
    make({"d/"});
    const Applied applied = test::apply_alone(*store, CreateFile{"d//f/"}, {NodeId(7), 42});
    ASSERT_TRUE(applied.ok);
    Inode expected;
    expected.number = InodeNumber(3);
    expected.parent = InodeNumber(2);
    expected.version = Version(3);
    expected.writer = NodeId(7);
    expected.mtime = 42;
    expected.type = EntryType::File;
    expected.name = "f";
    EXPECT_EQ(inode_of(*store, "d/f"), expected);
    EXPECT_EQ(take(store->read())->head(), (TreeHead{Version(3), NodeId(7), 42}));
    // Directories are not touched when their children change.
    EXPECT_EQ(inode_of(*store, "d").version, Version(2));
    ASSERT_EQ(applied.changes.size(), 1U);
    EXPECT_EQ(applied.changes[0].kind, Change::Kind::Created);
    EXPECT_EQ(applied.changes[0].parent, InodeNumber(2));
    EXPECT_EQ(applied.inode, InodeNumber(3));
}

TEST_F(ApplyTest, MakeDirectoryChecksInOrder) {
    make({"file", "directory/"});
    expect_refused(MakeDirectory{"missing/x"}, ENOENT);
    expect_refused(MakeDirectory{"missing/.."}, ENOENT);
    expect_refused(MakeDirectory{"file/x"}, ENOTDIR);
    for (const char* path : {"", "/", ".", "..", "directory/.", "directory/.."}) {
        expect_refused(MakeDirectory{path}, EACCES);
    }
    expect_refused(MakeDirectory{"file"}, EEXIST);
    expect_refused(MakeDirectory{"directory"}, EEXIST);
}

// --- Write ---

TEST_F(ApplyTest, WriteChecksInOrder) {
    make({"file", "directory/", "nodes/", "nodes/a/", "nodes/a/lxc/", "nodes/b/", "nodes/b/lxc/",
          "nodes/a/lxc/100.conf", "nodes/b/lxc/100.conf/"});
    const std::string mebibyte(limits::kFileBytesMax, 'x');
    // 1. the size, before anything else
    expect_refused(WriteFile{"missing/x", mebibyte, 1, false}, EFBIG);
    expect_refused(WriteFile{"file", "x", limits::kFileBytesMax, false}, EFBIG);
    expect_refused(WriteFile{"file", "x", UINT32_MAX, false}, EFBIG);
    expect_refused(WriteFile{"file", "", limits::kFileBytesMax + 1, true}, EFBIG);
    // 2. parent, name, guest
    expect_refused(WriteFile{"missing/x", "x", 0, false}, ENOENT);
    expect_refused(WriteFile{"file/x", "x", 0, false}, ENOTDIR);
    expect_refused(WriteFile{"", "x", 0, false}, EACCES);
    expect_refused(WriteFile{"directory/..", "x", 0, false}, EACCES);
    expect_refused(WriteFile{"nodes/b/lxc/100.conf", "x", 0, false}, EEXIST);
    // 3. the entry
    expect_refused(WriteFile{"absent", "x", 0, false}, ENOENT);
    expect_refused(WriteFile{"directory", "x", 0, false}, ENOTDIR);
    // The limit itself is fine.
    EXPECT_EQ(run(WriteFile{"file", mebibyte, 0, false}), 1048576);
    EXPECT_EQ(run(WriteFile{"file", "z", limits::kFileBytesMax - 1, false}), 1);
    EXPECT_EQ(run(WriteFile{"file", "", limits::kFileBytesMax, true}), 0);
    EXPECT_EQ(content_of(*store, "file"), mebibyte.substr(1) + "z");
}

TEST_F(ApplyTest, ContentKeepsItsBytesWhereverItLies) {
    make({"f"});
    std::string expected;
    // Up and down over the border between the inode's record and a record of its own.
    for (const std::size_t size : {1023UL, 1024UL, 1025UL, 1024UL, 1025UL, 1023UL, 1UL << 20,
                                   1024UL, 0UL, 1025UL, 0UL, 1UL << 20, 1025UL}) {
        if (size > expected.size()) {
            const std::string more(size - expected.size(), static_cast<char>('a' + size % 26));
            const WriteFile write{"f", more, static_cast<std::uint32_t>(expected.size()), false};
            ASSERT_EQ(run(write), static_cast<int>(more.size()));
            expected += more;
        } else {
            ASSERT_EQ(run(WriteFile{"f", "", static_cast<std::uint32_t>(size), true}), 0);
            expected.resize(size);
        }
        EXPECT_EQ(content_of(*store, "f"), expected) << size;
        EXPECT_EQ(inode_of(*store, "f").size, size);
        EXPECT_EQ(take(store->read())->usage().content_bytes, size);
        // Header changes and moves take the content along.
        ASSERT_EQ(run(SetMtime{"f", 5}), 0);
        ASSERT_EQ(run(Rename{"f", "g"}), 0);
        ASSERT_EQ(run(Rename{"g", "f"}), 0);
        EXPECT_EQ(content_of(*store, "f"), expected) << size;
        const auto report = take(check_tree(*take(store->read())));
        EXPECT_TRUE(report.findings.empty()) << size;
    }
    ASSERT_EQ(run(Delete{"f"}), 0);
    EXPECT_EQ(take(store->read())->usage().content_bytes, 0U);
    make({"f"});
    EXPECT_EQ(content_of(*store, "f"), "");
}

TEST_F(ApplyTest, TruncatingAnEmptyFileLeavesALengthWithoutBytes) {
    make({"f"});
    EXPECT_EQ(run(WriteFile{"f", "", 5000, true}), 0);
    const Inode inode = inode_of(*store, "f");
    EXPECT_EQ(inode.size, 5000U);
    EXPECT_TRUE(inode.unbacked);
    EXPECT_EQ(content_of(*store, "f"), std::string(5000, '\0'));
    // Peers digest no bytes for it.
    const Index index = take(store->index());
    EXPECT_EQ(to_hex(index.entries.at(1).digest), to_hex(index_digest(inode, "")));
    Sha256 sum;
    Inode root;
    root.version = Version(3);
    root.writer = kStamp.node;
    root.mtime = kStamp.time;
    root.type = EntryType::Directory;
    add_to_tree_checksum(sum, root, "");
    add_to_tree_checksum(sum, inode, "");
    EXPECT_EQ(checksum_of(*store), to_hex(sum.finish()));

    // It survives a header change, a move and a restart.
    EXPECT_EQ(run(SetMtime{"f", 9}), 0);
    EXPECT_EQ(run(Rename{"f", "g"}), 0);
    reopen();
    EXPECT_TRUE(inode_of(*store, "g").unbacked);
    EXPECT_EQ(content_of(*store, "g"), std::string(5000, '\0'));
    // A write makes it an ordinary file.
    EXPECT_EQ(run(WriteFile{"g", "x", 2, false}), 1);
    EXPECT_FALSE(inode_of(*store, "g").unbacked);
    std::string expected(5000, '\0');
    expected[2] = 'x';
    EXPECT_EQ(content_of(*store, "g"), expected);
    EXPECT_EQ(take(store->index()).entries.at(1).digest,
              index_digest(inode_of(*store, "g"), expected));
}

TEST_F(ApplyTest, WriteWithAnOffsetIntoAnEmptyFileIsBacked) {
    make({"f"});
    EXPECT_EQ(run(WriteFile{"f", "", 10, false}), 0);
    EXPECT_FALSE(inode_of(*store, "f").unbacked);
    EXPECT_EQ(content_of(*store, "f"), std::string(10, '\0'));
}

// --- Delete ---

TEST_F(ApplyTest, DeleteChecksInOrder) {
    make({"file", "full/", "full/x", "empty/"});
    expect_refused(Delete{"absent"}, ENOENT);
    expect_refused(Delete{"file/x"}, ENOENT);
    for (const char* root : {"", "/", "."}) expect_refused(Delete{root}, EACCES);
    expect_refused(Delete{"full"}, ENOTEMPTY);
    EXPECT_EQ(run(Delete{"empty"}), 0);
    EXPECT_EQ(run(Delete{"file/"}), 0);
    EXPECT_EQ(run(Delete{"full/x"}), 0);
    EXPECT_EQ(run(Delete{"full"}), 0);
    EXPECT_EQ(take(store->read())->usage().entries, 1U);
    EXPECT_EQ(take(store->read())->usage().content_bytes, 0U);
}

// --- Rename ---

TEST_F(ApplyTest, RenameChecksInOrder) {
    make({"file", "other", "full/", "full/x", "empty/", "priv/", "priv/lock/", "priv/lock/l/",
          "priv/lock/l/deep/", "nodes/", "nodes/a/", "nodes/a/lxc/", "nodes/b/", "nodes/b/lxc/",
          "nodes/a/lxc/100.conf", "nodes/b/lxc/200.conf"});
    // 1. the source
    expect_refused(Rename{"absent", "missing/x"}, ENOENT);
    expect_refused(Rename{"file/x", "y"}, ENOENT);
    expect_refused(Rename{"", "y"}, EACCES);
    expect_refused(Rename{"/", "missing/y"}, EACCES);
    // 2. the guest, before the target is looked at
    expect_refused(Rename{"file", "nodes/b/lxc/100.conf"}, EEXIST);
    expect_refused(Rename{"file", "nodes/c/lxc/100.conf"}, EEXIST);
    expect_refused(Rename{"nodes/b/lxc/200.conf", "nodes/b/lxc/100.conf"}, EEXIST);
    // 3. lock directories, before the target is looked at
    expect_refused(Rename{"priv/lock/l", "missing/x"}, EACCES);
    expect_refused(Rename{"priv/lock/l/deep", "x"}, EACCES);
    // 4. the target
    expect_refused(Rename{"file", "full"}, ENOTEMPTY);
    expect_refused(Rename{"full", "full"}, ENOTEMPTY);
    expect_refused(Rename{"file", ""}, EACCES);
    expect_refused(Rename{"file", "/"}, EACCES);
    expect_refused(Rename{"file", "missing/x"}, ENOENT);
    expect_refused(Rename{"file", "other/x"}, ENOTDIR);
    expect_refused(Rename{"full", "missing/x"}, ENOENT);
    // 5. a full directory as source, also with an existing target, which stays
    expect_refused(Rename{"full", "empty"}, ENOTEMPTY);
    expect_refused(Rename{"full", "new"}, ENOTEMPTY);
    EXPECT_TRUE(exists_in(*store, "empty"));
}

TEST_F(ApplyTest, RenameCannotTearTheTree) {
    make({"a/", "file"});
    // Below itself: nothing would lead to it any more.
    expect_refused(Rename{"a", "a/b"}, EINVAL);
    expect_refused(Rename{"a", "a/b/c"}, ENOENT);
    // A name that no look-up ever finds.
    for (const char* target : {"..", "a/.", "a/..", "a/../"}) {
        expect_refused(Rename{"file", target}, EACCES);
    }
}

TEST_F(ApplyTest, RenameKeepsInodeAndContent) {
    make({"d/", "f"});
    ASSERT_EQ(run(WriteFile{"f", "content", 0, false}), 7);
    const Applied applied = test::apply_alone(*store, Rename{"f", "d/g"}, {NodeId(9), 99});
    ASSERT_TRUE(applied.ok);
    const Inode moved = inode_of(*store, "d/g");
    EXPECT_EQ(moved.number, InodeNumber(3));
    EXPECT_EQ(moved.version, Version(5));
    EXPECT_EQ(moved.writer, NodeId(9));
    EXPECT_EQ(moved.mtime, 99U);
    EXPECT_EQ(moved.name, "g");
    EXPECT_EQ(content_of(*store, "d/g"), "content");
    EXPECT_FALSE(exists_in(*store, "f"));
    EXPECT_EQ(take(store->read())->head(), (TreeHead{Version(5), NodeId(9), 99}));
    ASSERT_EQ(applied.changes.size(), 1U);
    EXPECT_EQ(applied.changes[0].kind, Change::Kind::Moved);
}

TEST_F(ApplyTest, RenameReplacesAndTellsBoth) {
    make({"f", "g"});
    std::vector<std::string> removed;
    store->observe_removals([&](const Inode& inode, std::string_view content) {
        removed.push_back(inode.name + ":" + std::string(content));
    });
    ASSERT_EQ(run(WriteFile{"g", "old", 0, false}), 3);
    const Applied applied = test::apply_alone(*store, Rename{"f", "g"});
    ASSERT_TRUE(applied.ok);
    EXPECT_EQ(removed, std::vector<std::string>{"g:old"});
    ASSERT_EQ(applied.changes.size(), 2U);
    EXPECT_EQ(applied.changes[0].kind, Change::Kind::Removed);
    EXPECT_EQ(applied.changes[0].inode, InodeNumber(3));
    EXPECT_EQ(applied.changes[1].kind, Change::Kind::Moved);
    EXPECT_EQ(applied.changes[1].inode, InodeNumber(2));
    EXPECT_EQ(applied.inode, InodeNumber(2));
    EXPECT_EQ(take(store->read())->usage().entries, 2U);
}

TEST_F(ApplyTest, RenameDoesNotCompareKinds) {
    make({"file", "empty/", "empty2/", "file2"});
    EXPECT_EQ(run(Rename{"file", "empty"}), 0);
    EXPECT_FALSE(inode_of(*store, "empty").is_directory());
    EXPECT_EQ(run(Rename{"empty2", "file2"}), 0);
    EXPECT_TRUE(inode_of(*store, "file2").is_directory());
    EXPECT_TRUE(take(check_tree(*take(store->read()))).findings.empty());
}

TEST_F(ApplyTest, RenameOntoItselfIsAChangeOfVersionOnly) {
    make({"f"});
    ASSERT_EQ(run(WriteFile{"f", std::string(2000, 'x'), 0, false}), 2000);
    EXPECT_EQ(run(Rename{"f", "f/"}), 0);
    EXPECT_EQ(inode_of(*store, "f").version, Version(4));
    EXPECT_EQ(content_of(*store, "f"), std::string(2000, 'x'));
    EXPECT_TRUE(take(check_tree(*take(store->read()))).findings.empty());
}

TEST_F(ApplyTest, FilesBelowTheLockDirectoryMoveFreely) {
    make({"priv/", "priv/lock/", "priv/lock/f"});
    EXPECT_EQ(run(Rename{"priv/lock/f", "priv/lock/g"}), 0);
    make({"d/"});
    EXPECT_EQ(run(Rename{"d", "priv/lock/d"}), 0);
}

// --- Times and locks ---

TEST_F(ApplyTest, SetMtimeChecksInOrder) {
    make({"file", "directory/"});
    expect_refused(SetMtime{"missing/x", 1}, ENOENT);
    expect_refused(SetMtime{"file/x", 1}, ENOTDIR);
    for (const char* path : {"", "/", ".", "directory/.", "directory/.."}) {
        expect_refused(SetMtime{path, 1}, EACCES);
    }
    expect_refused(SetMtime{"absent", 1}, ENOENT);
    EXPECT_EQ(run(SetMtime{"directory", 5}, {NodeId(4), 99}), 0);
    EXPECT_EQ(inode_of(*store, "directory").mtime, 5U);
    EXPECT_EQ(inode_of(*store, "directory").writer, NodeId(4));
    // The root's time is the one set, not the sender's.
    EXPECT_EQ(take(store->read())->head(), (TreeHead{Version(4), NodeId(4), 5}));
}

TEST_F(ApplyTest, OnlyTheWriterRefreshesALock) {
    make({"priv/", "priv/lock/", "priv/lock/l/", "priv/lock/file", "priv/lock/l/deep/"});
    const std::uint32_t taken = inode_of(*store, "priv/lock/l").mtime;
    expect_refused(SetMtime{"priv/lock/l", taken - 1}, EACCES);
    expect_refused(SetMtime{"priv/lock/l", 0}, EACCES);
    expect_refused(SetMtime{"priv/lock/l", taken + 1}, EACCES, {NodeId(2), taken});
    EXPECT_EQ(run(SetMtime{"priv/lock/l", taken}), 0);
    EXPECT_EQ(run(SetMtime{"priv/lock/l/", taken + 10}), 0);
    // Files, and what lies deeper, are not bound by it.
    EXPECT_EQ(run(SetMtime{"priv/lock/file", 0}, {NodeId(2), taken}), 0);
    EXPECT_EQ(run(SetMtime{"priv/lock/l/deep", 0}, {NodeId(2), taken}), 0);
    EXPECT_EQ(run(SetMtime{"priv/lock", 0}, {NodeId(2), taken}), 0);
}

TEST_F(ApplyTest, LockTimersFollowTheTree) {
    make({"priv/", "priv/lock/", "priv/lock/l/"});
    const auto expired = [&] {
        return store->lock_leases().expired("priv/lock/l",
                                            entry_checksum(inode_of(*store, "priv/lock/l"), {}));
    };
    directory.now += 120;
    EXPECT_FALSE(expired());
    directory.now += 1;
    EXPECT_TRUE(expired());
    // A refresh starts it anew, under the new checksum.
    ASSERT_EQ(run(SetMtime{"priv/lock/l", 1700000500}), 0);
    directory.now += 120;
    EXPECT_FALSE(expired());
    directory.now += 1;
    EXPECT_TRUE(expired());
    // So does a restart: every lock counts from then.
    reopen();
    EXPECT_FALSE(expired());
    directory.now += 121;
    EXPECT_TRUE(expired());
    // Released and taken again.
    ASSERT_EQ(run(Delete{"priv/lock/l"}), 0);
    make({"priv/lock/l/"});
    EXPECT_FALSE(expired());
}

TEST_F(ApplyTest, UnlockIsIgnoredUnlessAllFits) {
    make({"priv/", "priv/lock/", "priv/lock/l/", "priv/lock/f", "d/"});
    const auto sum = [&](const char* path) { return entry_checksum(inode_of(*store, path), {}); };
    const auto ignored = [&](const Unlock& unlock) {
        const std::string before = state();
        const Applied applied = test::apply_alone(*store, unlock);
        EXPECT_EQ(applied.wire_result(), 0);
        EXPECT_TRUE(applied.changes.empty());
        EXPECT_EQ(state(), before) << unlock.path;
    };
    ignored({"priv/lock/absent", sum("priv/lock/l")});
    ignored({"priv/lock/l", sum("d")});
    ignored({"priv/lock/f", sum("priv/lock/f")});
    ignored({"d", sum("d")});
    ignored({"priv/lock", sum("priv/lock")});
    const Digest old = sum("priv/lock/l");
    ASSERT_EQ(run(SetMtime{"priv/lock/l", 1800000000}), 0);
    ignored({"priv/lock/l", old});
    make({"priv/lock/l/inside"});
    expect_refused(Unlock{"priv/lock/l", sum("priv/lock/l")}, ENOTEMPTY);
    ASSERT_EQ(run(Delete{"priv/lock/l/inside"}), 0);
    EXPECT_EQ(run(Unlock{"priv/lock/l", sum("priv/lock/l")}, {NodeId(3), 77}), 0);
    EXPECT_FALSE(exists_in(*store, "priv/lock/l"));
    EXPECT_EQ(take(store->read())->head().writer, NodeId(3));
    EXPECT_EQ(take(store->read())->head().mtime, 77U);
}

// --- Guests ---

class GuestTest : public ApplyTest {
protected:
    GuestTest() {
        make({"nodes/", "nodes/a/", "nodes/a/qemu-server/", "nodes/a/lxc/", "nodes/b/",
              "nodes/b/qemu-server/"});
    }
    std::uint32_t list_version() const { return store->guests().list().version; }
    /// "100 a qemu 3" for each guest.
    std::vector<std::string> guests() const {
        std::vector<std::string> rows;
        for (const auto& [vmid, guest] : store->guests().list().guests) {
            rows.push_back(std::to_string(vmid) + " " + guest.node + " " +
                           std::string(to_string(guest.type)) + " " +
                           std::to_string(guest.version));
        }
        return rows;
    }
    using Rows = std::vector<std::string>;
};

TEST_F(GuestTest, EveryWriteRegistersAnew) {
    EXPECT_EQ(list_version(), 0U);
    EXPECT_EQ(run(CreateFile{"nodes/a/qemu-server/100.conf"}), 0);
    EXPECT_EQ(list_version(), 1U);
    EXPECT_EQ(guests(), Rows{"100 a qemu 1"});
    EXPECT_EQ(run(WriteFile{"nodes/a/qemu-server/100.conf", "x", 0, false}), 1);
    EXPECT_EQ(list_version(), 2U);
    EXPECT_EQ(guests(), Rows{"100 a qemu 2"});
    EXPECT_EQ(run(SetMtime{"nodes/a/qemu-server/100.conf", 1}), 0);
    EXPECT_EQ(list_version(), 2U);
    EXPECT_EQ(run(CreateFile{"nodes/a/lxc/101.conf"}), 0);
    EXPECT_EQ(guests(), (Rows{"100 a qemu 2", "101 a lxc 3"}));
}

TEST_F(GuestTest, RenameFromGuestToGuestIsTwoChanges) {
    make({"nodes/a/qemu-server/100.conf"});
    EXPECT_EQ(run(Rename{"nodes/a/qemu-server/100.conf", "nodes/b/qemu-server/100.conf"}), 0);
    EXPECT_EQ(list_version(), 3U);
    EXPECT_EQ(guests(), Rows{"100 b qemu 2"});
    EXPECT_EQ(run(Rename{"nodes/b/qemu-server/100.conf", "nodes/a/lxc/100.conf"}), 0);
    EXPECT_EQ(guests(), Rows{"100 a lxc 3"});
    EXPECT_EQ(run(Rename{"nodes/a/lxc/100.conf", "nodes/a/lxc/200.conf"}), 0);
    EXPECT_EQ(guests(), Rows{"200 a lxc 4"});
    EXPECT_EQ(list_version(), 7U);
}

TEST_F(GuestTest, RenameToAndFromOrdinaryNamesIsOneChange) {
    make({"nodes/a/qemu-server/100.conf.tmp.7"});
    EXPECT_EQ(list_version(), 0U);
    EXPECT_EQ(run(Rename{"nodes/a/qemu-server/100.conf.tmp.7", "nodes/a/qemu-server/100.conf"}), 0);
    EXPECT_EQ(list_version(), 1U);
    EXPECT_EQ(guests(), Rows{"100 a qemu 1"});
    EXPECT_EQ(run(Rename{"nodes/a/qemu-server/100.conf", "nodes/a/backup"}), 0);
    EXPECT_EQ(list_version(), 2U);
    EXPECT_EQ(guests(), Rows{});
}

TEST_F(GuestTest, ADirectoryInThePlaceOfAConfigurationFreesTheVmid) {
    make({"nodes/a/qemu-server/100.conf"});
    EXPECT_EQ(run(MakeDirectory{"empty"}), 0);
    EXPECT_EQ(run(Rename{"empty", "nodes/a/qemu-server/100.conf"}), 0);
    EXPECT_EQ(guests(), Rows{});
    EXPECT_EQ(run(MakeDirectory{"another"}), 0);
    make({"nodes/b/qemu-server/100.conf"});
    EXPECT_EQ(run(Rename{"another", "nodes/a/qemu-server/100.conf"}), 0);
    EXPECT_EQ(guests(), Rows{"100 b qemu 2"});
}

TEST_F(GuestTest, DeleteRemoves) {
    make({"nodes/a/qemu-server/100.conf"});
    EXPECT_EQ(run(Delete{"nodes/a/qemu-server/100.conf"}), 0);
    EXPECT_EQ(list_version(), 2U);
    EXPECT_EQ(guests(), Rows{});
    EXPECT_EQ(run(CreateFile{"nodes/b/qemu-server/100.conf"}), 0);
}

TEST_F(GuestTest, OneVmidInTheWholeCluster) {
    make({"nodes/a/qemu-server/100.conf", "x"});
    expect_refused(CreateFile{"nodes/b/qemu-server/100.conf"}, EEXIST);
    expect_refused(CreateFile{"nodes/a/lxc/100.conf"}, EEXIST);
    expect_refused(Rename{"x", "nodes/a/lxc/100.conf"}, EEXIST);
    // The same node and type is fine: a new version of the file.
    EXPECT_EQ(run(Rename{"x", "nodes/a/qemu-server/100.conf"}), 0);
    EXPECT_EQ(guests(), Rows{"100 a qemu 2"});
}

TEST_F(GuestTest, ADirectoryNamedLikeAConfigIsNoGuest) {
    make({"nodes/a/qemu-server/100.conf", "nodes/b/qemu-server/100.conf/", "d/"});
    EXPECT_EQ(guests(), Rows{"100 a qemu 1"});
    EXPECT_EQ(run(Delete{"nodes/b/qemu-server/100.conf"}), 0);
    EXPECT_EQ(guests(), Rows{"100 a qemu 1"});
    EXPECT_EQ(run(Rename{"d", "nodes/b/qemu-server/100.conf"}), 0);
    EXPECT_EQ(run(Rename{"nodes/b/qemu-server/100.conf", "nodes/b/qemu-server/200.conf"}), 0);
    EXPECT_EQ(guests(), Rows{"100 a qemu 1"});
    EXPECT_EQ(list_version(), 1U);
    reopen();
    EXPECT_EQ(guests(), Rows{"100 a qemu 1"});
}

TEST_F(GuestTest, TheListIsRebuiltAtStart) {
    make({"nodes/b/qemu-server/300.conf", "nodes/a/lxc/100.conf", "nodes/a/lxc/0100.conf",
          "nodes/a/lxc/100.conf.tmp.1", "nodes/a_b/", "nodes/a_b/lxc/", "nodes/a_b/lxc/7.conf",
          "nodes/b/lxc"});
    reopen();
    EXPECT_EQ(list_version(), 1U);
    EXPECT_EQ(guests(), (Rows{"100 a lxc 2", "300 b qemu 1"}));  // in the order of their inodes
}

TEST_F(GuestTest, WithoutNodesTheListStaysAsItIs) {
    test::StoreDirectory fresh;
    EXPECT_EQ(fresh.open()->guests().list().version, 0U);
    EXPECT_EQ(fresh.open()->guests().list().version, 0U);
}

TEST_F(GuestTest, ADroppedBatchLeavesNoGuestBehind) {
    test::StoreDirectory fresh;
    const auto empty = fresh.open();
    {
        const auto batch = take(empty->begin());
        for (const char* path : {"nodes", "nodes/a", "nodes/a/lxc"}) {
            ASSERT_TRUE(batch->apply(MakeDirectory{path}, kStamp).ok);
        }
        ASSERT_TRUE(batch->apply(CreateFile{"nodes/a/lxc/100.conf"}, kStamp).ok);
    }
    EXPECT_TRUE(empty->guests().list().guests.empty());
    {
        const auto batch = take(store->begin());
        ASSERT_TRUE(batch->apply(CreateFile{"nodes/a/lxc/100.conf"}, kStamp).ok);
    }
    EXPECT_EQ(guests(), Rows{});
    EXPECT_EQ(run(CreateFile{"nodes/b/qemu-server/100.conf"}), 0);
}

/// Two configs of one VMID, which only an import can bring.
std::vector<Entry> twice_configured() {
    std::vector<Entry> entries;
    const auto add = [&](std::uint64_t parent, const char* name, EntryType type) {
        Entry entry;
        entry.inode.number = InodeNumber(entries.size() + 2);
        entry.inode.parent = InodeNumber(parent);
        entry.inode.version = Version(entries.size() + 2);
        entry.inode.type = type;
        entry.inode.name = name;
        entries.push_back(entry);
    };
    add(0, "nodes", EntryType::Directory);  // 2
    add(2, "b", EntryType::Directory);      // 3
    add(2, "a", EntryType::Directory);      // 4
    add(3, "lxc", EntryType::Directory);    // 5
    add(4, "lxc", EntryType::Directory);    // 6
    add(5, "100.conf", EntryType::File);    // 7, on b
    add(6, "100.conf", EntryType::File);    // 8, on a
    return entries;
}

TEST(GuestDuplicateTest, TheFirstWinsAndTheOtherIsLogged) {
    test::StoreDirectory directory;
    take(Store::create_from(directory.options, {Version(8), NodeId(0), 0}, twice_configured(),
                            null_logger()));
    std::ostringstream text;
    const auto log = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
    const auto store = directory.open(log);
    EXPECT_EQ(store->guests().find(100)->node, "b");
    EXPECT_NE(text.str().find("guest 100 is configured twice"), std::string::npos);
    EXPECT_NE(text.str().find("node a"), std::string::npos);
}

TEST(GuestDuplicateTest, WhatWasAppliedOnceIsNotRefusedByAReplay) {
    test::StoreDirectory directory;
    take(Store::create_from(directory.options, {Version(8), NodeId(0), 0}, twice_configured(),
                            null_logger()));
    std::string checksum;
    {
        const auto store = directory.open();
        // Frees the VMID although b still has one.
        ASSERT_EQ(result_of(*store, Delete{"nodes/a/lxc/100.conf"}), 0);
        take(store->write_snapshot());
        ASSERT_EQ(result_of(*store, CreateFile{"nodes/a/lxc/100.conf"}), 0);
        checksum = checksum_of(*store);
    }
    directory.pretend_power_cut();
    const auto store = directory.try_open();
    ASSERT_TRUE(store) << store.error().detail;
    EXPECT_EQ(checksum_of(**store), checksum);
}

TEST_F(GuestTest, AReplayOverARestartRefusesNothing) {
    make({"nodes/a/lxc/100.conf", "dir/"});
    ASSERT_EQ(run(Rename{"dir", "nodes/a/lxc/100.conf"}), 0);
    reopen();
    ASSERT_EQ(run(CreateFile{"nodes/b/qemu-server/100.conf"}), 0);
    const std::string expected = checksum_of(*store);
    store.reset();
    directory.pretend_power_cut();
    store = directory.open();
    EXPECT_EQ(checksum_of(*store), expected);
}

// --- Names and paths ---

TEST_F(ApplyTest, LongNamesAreKept) {
    // As peers may send: alike in what the key holds, and different behind it.
    std::vector<std::string> names;
    for (const std::size_t size : {255UL, 256UL, 367UL, 368UL, 369UL, 399UL, 400UL, 401UL, 402UL,
                                   500UL, 511UL, 512UL, 1023UL, 1024UL}) {
        names.push_back(std::string(size, 'n'));
        names.push_back(std::string(size - 1, 'n') + "z");
    }
    for (const std::string& name : names) {
        ASSERT_EQ(run(CreateFile{name}), 0) << name.size();
        expect_refused(CreateFile{name}, EEXIST);
        ASSERT_EQ(run(WriteFile{name, name, 0, false}), static_cast<int>(name.size()));
    }
    reopen();
    for (const std::string& name : names) {
        EXPECT_EQ(content_of(*store, name), name) << name.size();
        EXPECT_EQ(inode_of(*store, name).name, name);
    }
    EXPECT_TRUE(take(check_tree(*take(store->read()))).findings.empty());
    for (const std::string& name : names) {
        ASSERT_EQ(run(Rename{name, name + (name.size() < 1024 ? "+" : "")}), 0);
    }
    EXPECT_TRUE(take(check_tree(*take(store->read()))).findings.empty());
    EXPECT_EQ(take(store->read())->usage().entries, names.size() + 1);
}

TEST_F(ApplyTest, NamesBeyondWhatPeersSendAreRefused) {
    const std::string name(1025, 'n');
    make({"f"});
    expect_refused(CreateFile{name}, ENAMETOOLONG);
    expect_refused(MakeDirectory{name}, ENAMETOOLONG);
    expect_refused(Rename{"f", name}, ENAMETOOLONG);
}

TEST_F(ApplyTest, EmptyComponentsAreSkipped) {
    make({"/a//", "a//b//"});
    EXPECT_TRUE(exists_in(*store, "a/b"));
    expect_refused(MakeDirectory{"//a///b"}, EEXIST);
    EXPECT_EQ(run(Delete{"/a//b/"}), 0);
}

// --- Counters ---

TEST_F(ApplyTest, CountersFollowExactPaths) {
    make({"user.cfg"});
    EXPECT_EQ(counter("user.cfg"), 2U);  // 1 at the start
    ASSERT_EQ(run(WriteFile{"user.cfg", "x", 0, false}), 1);
    ASSERT_EQ(run(SetMtime{"user.cfg", 4}), 0);
    EXPECT_EQ(counter("user.cfg"), 4U);
    ASSERT_EQ(run(Rename{"user.cfg", "storage.cfg"}), 0);
    EXPECT_EQ(counter("user.cfg"), 5U);
    EXPECT_EQ(counter("storage.cfg"), 2U);
    ASSERT_EQ(run(Delete{"storage.cfg"}), 0);
    EXPECT_EQ(counter("storage.cfg"), 3U);
    ASSERT_EQ(run(MakeDirectory{"datacenter.cfg"}), 0);
    EXPECT_EQ(counter("datacenter.cfg"), 1U);
    ASSERT_EQ(run(CreateFile{"x"}), 0);
    ASSERT_EQ(run(CreateFile{"/jobs.cfg"}), 0);  // not exactly the observed path
    EXPECT_EQ(counter("jobs.cfg"), 1U);
}

}  // namespace
}  // namespace cfsgate::store
