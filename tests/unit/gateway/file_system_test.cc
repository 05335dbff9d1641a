// SPDX-License-Identifier: Apache-2.0
#include "gateway/file_system.h"

#include <unistd.h>

#include <future>
#include <map>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "gateway/cluster_log.h"
#include "store/model/digest.h"
#include "store/model/limits.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"
#include "tests/unit/gateway/fake_sequencer.h"

namespace cfsgate::gateway {
namespace {

using test::take;

constexpr gid_t kGroup = 33;
constexpr OpenMode kReadWrite{true, true};

class FileSystemTest : public testing::Test {
protected:
    FileSystemTest() {
        options.node_name = "node1";
        options.www_data = kGroup;
        options.start_time = 1700000000;
        options.clock = [this] { return directory.now; };
        start();
    }
    void start() {
        files.reset();
        sequencer = replication::make_local_sequencer(*store, options.clock);
        files = std::make_unique<FileSystem>(*store, *sequencer, options, null_logger());
    }

    void start_with_fake() {
        files.reset();
        files = std::make_unique<FileSystem>(*store, fake, options, null_logger());
    }

    /// Runs a change and waits for its answer.
    template <class T, class Change>
    static Result<T> wait_for(const Change& change) {
        std::promise<Result<T>> answer;
        change([&](Result<T> result) { answer.set_value(std::move(result)); });
        return answer.get_future().get();
    }
    template <class T>
    static Errno code_of(const Result<T>& result) {
        return result ? Errno::TryAgain : result.error().code;  // TryAgain: no error
    }
    static constexpr Errno kOk = Errno::TryAgain;

    Result<FileSystem::Created> create(FileId parent, const std::string& name,
                                       bool exclusive = true, OpenMode mode = kReadWrite) {
        return wait_for<FileSystem::Created>(
            [&](auto done) { files->create(who, parent, name, exclusive, mode, done); });
    }
    Result<Attributes> mkdir(FileId parent, const std::string& name) {
        return wait_for<Attributes>([&](auto done) { files->mkdir(who, parent, name, done); });
    }
    Status unlink(FileId parent, const std::string& name) {
        return wait_for<void>([&](auto done) { files->unlink(who, parent, name, done); });
    }
    Status rmdir(FileId parent, const std::string& name) {
        return wait_for<void>([&](auto done) { files->rmdir(who, parent, name, done); });
    }
    Result<FileId> rename(FileId parent, const std::string& name, FileId to,
                          const std::string& new_name) {
        return wait_for<FileId>(
            [&](auto done) { files->rename(who, parent, name, to, new_name, done); });
    }
    Result<std::uint32_t> write(OpenFile& file, std::uint64_t offset, const std::string& data,
                                WriteMode mode = {}) {
        return wait_for<std::uint32_t>(
            [&](auto done) { files->write(file, offset, data, mode, done); });
    }
    Result<Attributes> truncate(FileId id, std::uint64_t size, OpenFile* file = nullptr) {
        return wait_for<Attributes>([&](auto done) { files->truncate(who, id, file, size, done); });
    }
    Result<Attributes> set_mtime(FileId id, std::int64_t seconds) {
        return wait_for<Attributes>([&](auto done) { files->set_mtime(who, id, seconds, done); });
    }
    FileId make_directory(FileId parent, const std::string& name) {
        return take(mkdir(parent, name)).id;
    }
    FileId make_file(FileId parent, const std::string& name, const std::string& content = {}) {
        auto created = take(create(parent, name));
        if (!content.empty()) take(write(*created.file, 0, content));
        return created.attributes.id;
    }
    std::string content(FileId id) {
        return take(files->read(*take(files->open(root, id, {true, false})), 0, 2 << 20));
    }
    FileId id_of(const std::string& path) const { return take(files->resolve(path)); }
    std::string checksum() const { return test::checksum_of(*store); }

    const Caller root;
    const Caller www_data{33, kGroup, 0, nullptr};
    const Caller other{1000, 1000, 0, nullptr};
    Caller who;
    test::StoreDirectory directory;
    std::unique_ptr<store::Store> store = directory.open();
    FileSystemOptions options;
    FakeSequencer fake;
    std::unique_ptr<replication::Sequencer> sequencer;
    std::unique_ptr<FileSystem> files;
};

// --- Names ---

TEST_F(FileSystemTest, NewNamesAreChecked) {
    const FileId d = make_directory(kRootId, "d");
    const std::string before = checksum();
    const std::map<std::string, Errno> names = {{"", Errno::NotFound},
                                                {".", Errno::Exists},
                                                {"..", Errno::Exists},
                                                {"a/b", Errno::Invalid},
                                                {"/", Errno::Invalid},
                                                {std::string("a\0b", 3), Errno::Invalid},
                                                {std::string(256, 'n'), Errno::NameTooLong},
                                                {std::string(5000, 'n'), Errno::NameTooLong}};
    for (const auto& [name, code] : names) {
        EXPECT_EQ(code_of(create(d, name)), code) << name;
        EXPECT_EQ(code_of(mkdir(d, name)), code) << name;
        EXPECT_EQ(code_of(rename(kRootId, "d", kRootId, name)), code) << name;
    }
    EXPECT_EQ(checksum(), before);
    EXPECT_EQ(code_of(create(d, std::string(255, 'n'))), kOk);
    EXPECT_EQ(code_of(create(d, " \n\"\xff")), kOk);
}

TEST_F(FileSystemTest, PathsEndAt4096Bytes) {
    FileId at = kRootId;
    std::size_t length = 0;
    while (length + 201 <= 4096) {
        at = make_directory(at, std::string(200, 'd'));
        length += length == 0 ? 200 : 201;
    }
    const std::size_t left = 4096 - length - 1;
    EXPECT_EQ(code_of(create(at, std::string(left + 1, 'f'))), Errno::NameTooLong);
    EXPECT_EQ(code_of(create(at, std::string(left, 'f'))), kOk);
}

TEST_F(FileSystemTest, Lookup) {
    const FileId d = make_directory(kRootId, "d");
    const FileId f = make_file(d, "f", "1234567");
    const Attributes attributes = take(files->lookup(root, d, "f"));
    EXPECT_EQ(attributes.id, f);
    EXPECT_EQ(attributes.kind, FileKind::File);
    EXPECT_EQ(attributes.mode, 0640U);
    EXPECT_EQ(attributes.gid, kGroup);
    EXPECT_EQ(attributes.nlink, 1U);
    EXPECT_EQ(attributes.size, 7U);
    EXPECT_EQ(attributes.blocks, 1U);
    EXPECT_EQ(attributes.mtime, directory.now);
    EXPECT_EQ(attributes.version, Version(4));
    EXPECT_EQ(take(files->lookup(root, d, ".")).id, d);
    EXPECT_EQ(take(files->lookup(root, d, ".")).nlink, 2U);
    EXPECT_EQ(take(files->getattr(kRootId)).mtime, 0U);
    EXPECT_EQ(code_of(files->lookup(root, d, "absent")), Errno::NotFound);
    EXPECT_EQ(code_of(files->lookup(root, f, "x")), Errno::NotDirectory);
    EXPECT_EQ(code_of(files->lookup(root, to_file_id(VirtualEntry::Version), "x")),
              Errno::NotDirectory);
    EXPECT_EQ(code_of(files->lookup(root, FileId(99), "x")), Errno::NotFound);
    EXPECT_EQ(code_of(files->lookup(root, d, std::string(1025, 'n'))), Errno::NameTooLong);
    EXPECT_EQ(code_of(files->getattr(FileId(99))), Errno::StaleHandle);
}

// --- Virtual entries ---

TEST_F(FileSystemTest, VirtualEntriesHideThoseOfTheTree) {
    for (const VirtualName& row : kVirtualNames) {
        const std::string name(row.name);
        ASSERT_EQ(test::result_of(*store, CreateFile{name}), 0);
        EXPECT_EQ(take(files->lookup(root, kRootId, name)).id, to_file_id(row.entry));
        EXPECT_EQ(take(files->resolve(name)), to_file_id(row.entry));
        EXPECT_EQ(code_of(mkdir(kRootId, name)), Errno::Exists);
        EXPECT_EQ(code_of(create(kRootId, name)), Errno::Exists);
        EXPECT_EQ(code_of(unlink(kRootId, name)), Errno::NoAccess);
        EXPECT_EQ(code_of(rmdir(kRootId, name)), Errno::NoAccess);
        EXPECT_EQ(code_of(rename(kRootId, name, kRootId, "x")), Errno::NoAccess);
        EXPECT_EQ(code_of(set_mtime(to_file_id(row.entry), 5)), Errno::NoAccess);
    }
    make_file(kRootId, "f");
    EXPECT_EQ(code_of(rename(kRootId, "f", kRootId, ".version")), Errno::NoAccess);
    std::multiset<std::string> names;
    take(files->readdir(root, kRootId, 0, Listing::NamesOnly, [&](const DirectoryEntry& entry) {
        names.emplace(entry.name);
        return true;
    }));
    EXPECT_EQ(names.size(), 2 + kVirtualEntries + 1);
    EXPECT_EQ(names.count(".version"), 1U);
    // Only in the root.
    const FileId d = make_directory(kRootId, "d");
    EXPECT_EQ(code_of(create(d, ".version")), kOk);
}

TEST_F(FileSystemTest, LinksAndTheirQuorumBit) {
    EXPECT_EQ(take(files->readlink(to_file_id(VirtualEntry::Local))), "nodes/node1");
    EXPECT_EQ(take(files->getattr(to_file_id(VirtualEntry::Local))).size, 11U);
    EXPECT_EQ(take(files->getattr(to_file_id(VirtualEntry::Local))).mode, 0755U);
    EXPECT_EQ(code_of(files->readlink(to_file_id(VirtualEntry::Version))), Errno::Invalid);
    EXPECT_EQ(code_of(files->readlink(kRootId)), Errno::Invalid);
}

TEST_F(FileSystemTest, AVirtualTextStaysUnderItsHandle) {
    const FileId id = to_file_id(VirtualEntry::VmList);
    const auto file = take(files->open(root, id, {true, false}));
    const std::string before = take(files->read(*file, 0, 4096));
    EXPECT_EQ(before, test::read_file(test::data_path("vectors/virtual-files/vmlist-empty.txt")));
    for (const char* path : {"nodes", "nodes/a", "nodes/a/lxc"}) {
        ASSERT_EQ(test::result_of(*store, MakeDirectory{path}), 0);
    }
    ASSERT_EQ(test::result_of(*store, CreateFile{"nodes/a/lxc/100.conf"}), 0);
    EXPECT_EQ(take(files->read(*file, 0, 4096)), before);
    EXPECT_EQ(take(files->read(*file, 3, 4)), before.substr(3, 4));
    EXPECT_EQ(take(files->read(*file, UINT64_MAX, 4)), "");
    EXPECT_NE(content(id), before);
}

TEST_F(FileSystemTest, WritingVirtualFiles) {
    bool debug = false;
    options.set_debug = [&](bool on) { debug = on; };
    start();
    for (const VirtualName& row : kVirtualNames) {
        if (row.is_link || row.entry == VirtualEntry::Debug) continue;
        const auto file = take(files->open(root, to_file_id(row.entry), kReadWrite));
        EXPECT_EQ(code_of(write(*file, 0, "1\n")), Errno::InputOutput) << row.name;
        EXPECT_EQ(code_of(truncate(to_file_id(row.entry), 0)), Errno::InputOutput) << row.name;
    }
    const auto file = take(files->open(root, to_file_id(VirtualEntry::Debug), kReadWrite));
    EXPECT_EQ(take(write(*file, 0, "1\nand more")), 2U);
    EXPECT_TRUE(debug);
    for (const char* text : {"", "1", "2\n", "on"}) {
        EXPECT_EQ(code_of(write(*file, 0, text)), Errno::InputOutput) << text;
    }
    EXPECT_EQ(code_of(write(*file, 1, "0\n")), Errno::InputOutput);
    EXPECT_EQ(code_of(truncate(to_file_id(VirtualEntry::Debug), 0)), kOk);
    EXPECT_TRUE(debug);
    EXPECT_EQ(take(write(*file, 0, "0\n")), 2U);
    EXPECT_FALSE(debug);
}

TEST_F(FileSystemTest, TruncatingVirtualFilesIsForRootAlone) {
    who = www_data;
    for (const VirtualEntry entry : {VirtualEntry::Version, VirtualEntry::Debug}) {
        EXPECT_EQ(code_of(truncate(to_file_id(entry), 0)), Errno::NoAccess);
    }
}

TEST_F(FileSystemTest, TheLogBeginsWithTheStart) {
    const auto text = nlohmann::json::parse(content(to_file_id(VirtualEntry::ClusterLog)));
    ASSERT_EQ(text["data"].size(), 1U);
    EXPECT_EQ(text["data"][0]["msg"], "starting cluster log");
    EXPECT_EQ(text["data"][0]["pid"], ::getpid());
}

// --- Kinds ---

TEST_F(FileSystemTest, KindsAreChecked) {
    const FileId d = make_directory(kRootId, "d");
    const FileId f = make_file(kRootId, "f");
    make_file(d, "inside");
    EXPECT_EQ(code_of(unlink(kRootId, "d")), Errno::IsDirectory);
    EXPECT_EQ(code_of(rmdir(kRootId, "f")), Errno::NotDirectory);
    EXPECT_EQ(code_of(rmdir(kRootId, "d")), Errno::NotEmpty);
    EXPECT_EQ(code_of(unlink(kRootId, "absent")), Errno::NotFound);
    EXPECT_EQ(code_of(unlink(f, "x")), Errno::NotDirectory);
    EXPECT_EQ(code_of(create(f, "x")), Errno::NotDirectory);
    EXPECT_EQ(code_of(mkdir(f, "x")), Errno::NotDirectory);
    EXPECT_EQ(code_of(mkdir(kRootId, "f")), Errno::Exists);
    EXPECT_EQ(code_of(mkdir(FileId(99), "x")), Errno::NotFound);
    EXPECT_EQ(code_of(create(kRootId, "d", false)), Errno::IsDirectory);
    EXPECT_EQ(code_of(create(kRootId, "f", true)), Errno::Exists);
    EXPECT_EQ(take(create(kRootId, "f", false)).attributes.id, f);
    EXPECT_EQ(code_of(files->open(root, d, {true, false})), Errno::IsDirectory);
    EXPECT_EQ(code_of(truncate(d, 0)), Errno::IsDirectory);
    EXPECT_EQ(code_of(files->readdir(root, f, 0, Listing::NamesOnly,
                                     [](const DirectoryEntry&) { return true; })),
              Errno::NotDirectory);
    EXPECT_NE(code_of(rmdir(kRootId, ".")), kOk);
    EXPECT_NE(code_of(rmdir(d, "..")), kOk);
}

TEST_F(FileSystemTest, Rename) {
    const FileId d = make_directory(kRootId, "d");
    const FileId e = make_directory(kRootId, "e");
    const FileId full = make_directory(kRootId, "full");
    make_file(full, "inside");
    const FileId f = make_file(kRootId, "f", "f");
    make_file(kRootId, "g", "g");
    const std::string before = checksum();
    EXPECT_EQ(code_of(rename(kRootId, "absent", kRootId, "x")), Errno::NotFound);
    EXPECT_EQ(code_of(rename(kRootId, "f", FileId(99), "x")), Errno::NotFound);
    EXPECT_EQ(code_of(rename(kRootId, "f", f, "x")), Errno::NotDirectory);
    EXPECT_EQ(code_of(rename(kRootId, "f", kRootId, "d")), Errno::IsDirectory);
    EXPECT_EQ(code_of(rename(kRootId, "d", kRootId, "f")), Errno::NotDirectory);
    EXPECT_EQ(code_of(rename(kRootId, "d", kRootId, "full")), Errno::NotEmpty);
    EXPECT_EQ(code_of(rename(kRootId, "full", kRootId, "x")), Errno::NotEmpty);
    EXPECT_EQ(code_of(rename(kRootId, "full", kRootId, "d")), Errno::NotEmpty);
    EXPECT_EQ(code_of(rename(kRootId, "d", d, "x")), Errno::Invalid);
    // Onto itself: success, and nothing happens.
    EXPECT_EQ(take(rename(kRootId, "f", kRootId, "f")), f);
    EXPECT_EQ(take(rename(kRootId, "d", kRootId, "d")), d);
    EXPECT_EQ(code_of(rename(kRootId, "absent", kRootId, "absent")), Errno::NotFound);
    EXPECT_EQ(checksum(), before);
    const FileId deep = make_directory(e, "deep");
    EXPECT_EQ(code_of(rename(kRootId, "e", deep, "x")), Errno::Invalid);

    EXPECT_EQ(take(rename(kRootId, "f", kRootId, "g")), f);
    EXPECT_EQ(content(f), "f");
    EXPECT_EQ(id_of("g"), f);
    EXPECT_EQ(take(rename(kRootId, "d", e, "d2")), d);
    EXPECT_EQ(take(rename(e, "d2", e, "deep")), d);
}

TEST_F(FileSystemTest, RenameAndLocks) {
    const FileId lock = make_directory(make_directory(kRootId, "priv"), "lock");
    make_directory(lock, "l");
    make_file(lock, "f");
    EXPECT_EQ(code_of(rename(lock, "l", lock, "m")), Errno::NoAccess);
    EXPECT_EQ(code_of(rename(lock, "f", lock, "g")), kOk);
}

TEST_F(FileSystemTest, OneGuestInTheWholeCluster) {
    const FileId nodes = make_directory(kRootId, "nodes");
    const FileId a = make_directory(make_directory(nodes, "a"), "lxc");
    const FileId b = make_directory(make_directory(nodes, "b"), "lxc");
    make_file(a, "100.conf");
    make_file(b, "x");
    EXPECT_EQ(code_of(create(b, "100.conf")), Errno::Exists);
    EXPECT_EQ(code_of(create(b, "100.conf", false)), Errno::Exists);
    EXPECT_EQ(code_of(rename(b, "x", b, "100.conf")), Errno::Exists);
    EXPECT_EQ(code_of(rename(a, "100.conf", b, "100.conf")), kOk);
}

// --- Permissions ---

TEST_F(FileSystemTest, WhoMayDoWhat) {
    const FileId f = make_file(kRootId, "f", "text");
    const FileId priv = make_directory(kRootId, "priv");
    const FileId key = make_file(priv, "key", "secret");
    const std::string before = checksum();
    struct Fixed final : GroupSource {
        std::vector<gid_t> groups_of(const Caller&) const override { return {kGroup}; }
    } const member;
    const Caller by_group{1000, 1000, 0, &member};
    for (const Caller& caller : {www_data, other, by_group}) {
        who = caller;
        const bool is_member = caller.uid == 33 || caller.groups != nullptr;
        EXPECT_EQ(code_of(files->open(who, f, {true, false})), is_member ? kOk : Errno::NoAccess);
        EXPECT_EQ(code_of(files->open(who, f, kReadWrite)), Errno::NoAccess);
        EXPECT_EQ(code_of(files->open(who, to_file_id(VirtualEntry::Version), {true, false})),
                  is_member ? kOk : Errno::NoAccess);
        EXPECT_EQ(code_of(files->open(who, to_file_id(VirtualEntry::Debug), kReadWrite)),
                  Errno::NoAccess);
        EXPECT_EQ(code_of(files->open(who, key, {true, false})), Errno::NoAccess);
        EXPECT_EQ(code_of(files->lookup(who, priv, "key")), Errno::NoAccess);
        EXPECT_EQ(code_of(files->readdir(who, priv, 0, Listing::NamesOnly,
                                         [](const DirectoryEntry&) { return true; })),
                  Errno::NoAccess);
        EXPECT_EQ(code_of(files->readdir(who, kRootId, 0, Listing::NamesOnly,
                                         [](const DirectoryEntry&) { return true; })),
                  kOk);
        EXPECT_EQ(code_of(files->access(who, f, R_OK)), is_member ? kOk : Errno::NoAccess);
        EXPECT_EQ(code_of(files->access(who, f, W_OK)), Errno::NoAccess);
        EXPECT_EQ(code_of(create(kRootId, "new")), Errno::NoAccess);
        EXPECT_EQ(code_of(mkdir(kRootId, "new")), Errno::NoAccess);
        EXPECT_EQ(code_of(unlink(kRootId, "f")), Errno::NoAccess);
        EXPECT_EQ(code_of(rename(kRootId, "f", kRootId, "g")), Errno::NoAccess);
        EXPECT_EQ(code_of(truncate(f, 0)), Errno::NoAccess);
        EXPECT_EQ(code_of(set_mtime(f, 1)), Errno::NoAccess);
        EXPECT_EQ(code_of(files->chmod(who, f, 0640)), Errno::NotPermitted);
    }
    EXPECT_EQ(checksum(), before);
}

TEST_F(FileSystemTest, OnlyTheFirstWriteBeginsAFlush) {
    const FileId f = make_file(kRootId, "f", "text");
    start_with_fake();
    for (int open = 0; open < 2; ++open) {
        fake.submissions.clear();
        const auto file = take(files->open(root, f, kReadWrite));
        for (int i = 0; i < 3; ++i) files->write(*file, 0, "x", {}, [](auto) {});
        ASSERT_EQ(fake.submissions.size(), 3U);
        EXPECT_EQ(fake.submissions[0].need, replication::Need::Flushing);
        EXPECT_EQ(fake.submissions[1].need, replication::Need::Applied);
        EXPECT_EQ(fake.submissions[2].need, replication::Need::Applied);
    }
    fake.submissions.clear();
    files->truncate(root, f, nullptr, 0, [](auto) {});
    EXPECT_EQ(fake.submissions.at(0).need, replication::Need::Durable);
}

TEST_F(FileSystemTest, WithoutQuorumNothingIsSubmitted) {
    const FileId d = make_directory(kRootId, "d");
    const FileId f = make_file(kRootId, "f", "text");
    start_with_fake();
    const auto file = take(files->open(root, f, kReadWrite));
    fake.is_quorate = false;
    EXPECT_EQ(code_of(create(kRootId, "new")), Errno::NoAccess);
    EXPECT_EQ(code_of(mkdir(kRootId, "new")), Errno::NoAccess);
    EXPECT_EQ(code_of(mkdir(kRootId, "d")), Errno::Exists);
    EXPECT_EQ(code_of(unlink(kRootId, "f")), Errno::NoAccess);
    EXPECT_EQ(code_of(rmdir(kRootId, "d")), Errno::NoAccess);
    EXPECT_EQ(code_of(rename(kRootId, "f", kRootId, "g")), Errno::NoAccess);
    EXPECT_EQ(code_of(write(*file, 0, "x")), Errno::NoAccess);
    EXPECT_EQ(code_of(truncate(f, 0)), Errno::NoAccess);
    EXPECT_EQ(code_of(truncate(f, 0, file.get())), Errno::NoAccess);
    EXPECT_EQ(code_of(set_mtime(d, 0)), Errno::NoAccess);
    EXPECT_EQ(code_of(files->chmod(root, f, 0640)), kOk);
    EXPECT_TRUE(fake.submissions.empty());
    EXPECT_EQ(take(files->getattr(f)).mode, 0440U);
    EXPECT_EQ(take(files->getattr(d)).mode, 0555U);
    EXPECT_EQ(take(files->getattr(kRootId)).mode, 0755U);
    EXPECT_EQ(take(files->getattr(to_file_id(VirtualEntry::Local))).mode, 0555U);
    EXPECT_EQ(content(f), "text");
}

TEST_F(FileSystemTest, LenientChmodIsCounted) {
    const FileId f = make_file(kRootId, "f");
    EXPECT_EQ(code_of(files->chmod(root, f, 0777)), Errno::NotPermitted);
    EXPECT_EQ(code_of(files->chown(root, f, 1000, 1000)), Errno::NotPermitted);
    EXPECT_EQ(files->counters().ignored_chmods, 0U);
    options.chmod_policy = ChmodPolicy::Lenient;
    start();
    EXPECT_EQ(code_of(files->chmod(root, f, 0640)), kOk);
    EXPECT_EQ(files->counters().ignored_chmods, 0U);
    EXPECT_EQ(code_of(files->chmod(root, f, 0777)), kOk);
    EXPECT_EQ(code_of(files->chown(root, f, 1000, 1000)), kOk);
    EXPECT_EQ(code_of(files->chmod(other, f, 0777)), Errno::NotPermitted);
    EXPECT_EQ(files->counters().ignored_chmods, 2U);
    EXPECT_EQ(take(files->getattr(f)).mode, 0640U);
}

// --- Content and limits ---

TEST_F(FileSystemTest, OffsetsAndSizesEndAtOneMebibyte) {
    auto created = take(create(kRootId, "f"));
    OpenFile& file = *created.file;
    for (const std::uint64_t offset :
         {std::uint64_t{1} << 20, std::uint64_t{1} << 32, (std::uint64_t{1} << 32) + 1,
          std::uint64_t{1} << 63, UINT64_MAX}) {
        EXPECT_EQ(code_of(write(file, offset, "x")), Errno::FileTooBig) << offset;
        if (offset > 1 << 20) {
            EXPECT_EQ(code_of(truncate(file.id(), offset)), Errno::FileTooBig) << offset;
        }
    }
    const std::string mebibyte(1 << 20, 'm');
    EXPECT_EQ(code_of(write(file, 1, mebibyte)), Errno::FileTooBig);
    EXPECT_EQ(code_of(write(file, 0, mebibyte + "x")), Errno::FileTooBig);
    EXPECT_EQ(take(files->getattr(file.id())).size, 0U);
    EXPECT_EQ(take(write(file, 0, mebibyte)), 1U << 20);
    EXPECT_EQ(code_of(write(file, 0, "x", {false, true})), Errno::FileTooBig);
    EXPECT_EQ(take(truncate(file.id(), 1 << 20)).size, 1U << 20);
    EXPECT_EQ(take(files->read(file, (1 << 20) - 1, 10)), "m");
    EXPECT_EQ(take(files->read(file, 1 << 20, 10)), "");
    EXPECT_EQ(take(files->read(file, UINT64_MAX, 10)), "");
}

TEST_F(FileSystemTest, TruncateNeverLeavesALengthWithoutBytes) {
    const FileId f = make_file(kRootId, "f");
    EXPECT_EQ(take(truncate(f, 100)).size, 100U);
    EXPECT_FALSE(test::inode_of(*store, "f").unbacked);
    EXPECT_EQ(content(f), std::string(100, '\0'));
    EXPECT_EQ(take(truncate(f, 3)).size, 3U);
    EXPECT_EQ(take(truncate(f, 0)).size, 0U);
    EXPECT_EQ(code_of(truncate(FileId(99), 0)), Errno::StaleHandle);
}

TEST_F(FileSystemTest, AnOverwriteIsOneChange) {
    auto created = take(create(kRootId, "f"));
    take(write(*created.file, 0, "old and long"));
    const Version before = take(files->getattr(created.attributes.id)).version;
    EXPECT_EQ(take(write(*created.file, 0, "new", {true, false})), 3U);
    EXPECT_EQ(content(created.attributes.id), "new");
    EXPECT_EQ(take(files->getattr(created.attributes.id)).version.value(), before.value() + 1);
}

TEST_F(FileSystemTest, TheTreeHoldsWhatItMay) {
    options.tree_bytes_max = 10000;
    options.entries_max = 4;
    start();
    auto f = take(create(kRootId, "f"));
    auto g = take(create(kRootId, "g"));
    EXPECT_EQ(code_of(create(kRootId, "h")), kOk);
    EXPECT_EQ(code_of(create(kRootId, "i")), Errno::NoSpace);
    EXPECT_EQ(code_of(mkdir(kRootId, "i")), Errno::NoSpace);
    EXPECT_EQ(files->statfs().files_free, 0U);
    take(unlink(kRootId, "h"));
    EXPECT_EQ(code_of(mkdir(kRootId, "i")), kOk);

    EXPECT_EQ(take(write(*f.file, 0, std::string(6000, 'x'))), 6000U);
    EXPECT_EQ(code_of(write(*g.file, 0, std::string(4001, 'x'))), Errno::NoSpace);
    EXPECT_EQ(code_of(truncate(g.attributes.id, 4001)), Errno::NoSpace);
    EXPECT_EQ(take(write(*g.file, 0, std::string(4000, 'x'))), 4000U);
    EXPECT_EQ(code_of(write(*g.file, 4000, "x")), Errno::NoSpace);
    EXPECT_EQ(code_of(write(*f.file, 0, "", {false, true})), kOk);
    EXPECT_EQ(take(write(*f.file, 0, std::string(6000, 'y'))), 6000U) << "no byte more";
    EXPECT_EQ(take(truncate(f.attributes.id, 0)).size, 0U) << "full trees can shrink";
    EXPECT_EQ(code_of(write(*g.file, 4000, "x")), kOk);
}

TEST_F(FileSystemTest, Statistics) {
    make_file(kRootId, "f", std::string(5000, 'x'));
    const FileSystemStatistics statistics = files->statfs();
    EXPECT_EQ(statistics.block_bytes, 4096U);
    EXPECT_EQ(statistics.blocks, 32768U);
    EXPECT_EQ(statistics.blocks_free, 32766U);
    EXPECT_EQ(statistics.files, 262144U);
    EXPECT_EQ(statistics.files_free, 262142U);
    EXPECT_EQ(statistics.name_bytes_max, 255U);
}

// --- Removed and open ---

TEST_F(FileSystemTest, ARemovedFileLivesInItsHandles) {
    auto created = take(create(kRootId, "f"));
    OpenFile& file = *created.file;
    take(write(file, 0, "content"));
    make_file(kRootId, "g", "other");
    take(rename(kRootId, "g", kRootId, "f"));
    EXPECT_EQ(take(files->read(file, 0, 100)), "content");
    EXPECT_EQ(take(files->getattr(file.id())).nlink, 0U);
    EXPECT_EQ(take(write(file, 7, "+")), 1U);
    EXPECT_EQ(take(write(file, 0, "!", {false, true})), 1U);
    EXPECT_EQ(take(files->read(file, 0, 100)), "content+!");
    EXPECT_EQ(take(truncate(file.id(), 2, &file)).size, 2U);
    EXPECT_EQ(code_of(set_mtime(file.id(), 1)), kOk);
    EXPECT_EQ(content(id_of("f")), "other");
    EXPECT_EQ(files->counters().pinned_files, 1U);
    EXPECT_EQ(files->counters().pinned_bytes, 2U);
    const FileId id = file.id();
    created.file.reset();
    EXPECT_EQ(code_of(files->open(root, id, {true, false})), Errno::StaleHandle);
    EXPECT_EQ(files->counters().open_files, 0U);
}

TEST_F(FileSystemTest, ARenamedFileIsStillTheSame) {
    auto created = take(create(kRootId, "f"));
    take(rename(kRootId, "f", make_directory(kRootId, "d"), "g"));
    take(write(*created.file, 0, "content"));
    EXPECT_EQ(content(id_of("d/g")), "content");
}

TEST_F(FileSystemTest, OpenFilesWhileRemovingInThreads) {
    std::atomic<bool> stop{false};
    std::thread reader([&] {
        while (!stop) {
            const auto found = files->lookup(root, kRootId, "f");
            if (!found) continue;
            const auto file = files->open(root, found->id, {true, false});
            if (!file) {
                EXPECT_EQ(file.error().code, Errno::StaleHandle);
                continue;
            }
            for (int i = 0; i < 3; ++i) {
                const auto text = files->read(**file, 0, 100);
                ASSERT_TRUE(text);
                EXPECT_EQ(*text, "content");
            }
        }
    });
    for (int i = 0; i < 100; ++i) {
        make_file(kRootId, "new", "content");
        take(rename(kRootId, "new", kRootId, "f"));
        if (i % 3 == 0) take(unlink(kRootId, "f"));
    }
    stop = true;
    reader.join();
    EXPECT_EQ(files->counters().open_files, 0U);
    EXPECT_LE(files->counters().pinned_files, 64U) << "only the latest stay";
}

TEST_F(FileSystemTest, AFileRemovedAMomentAgoOpensForOneWhoJustLookedItUp) {
    const FileId f = make_file(kRootId, "f", "content");
    const FileId d = make_directory(kRootId, "d");
    take(unlink(kRootId, "f"));
    take(rmdir(kRootId, "d"));
    OpenMode mode{true, false};
    EXPECT_EQ(code_of(files->open(root, f, mode)), Errno::StaleHandle);
    mode.even_removed = true;
    EXPECT_EQ(code_of(files->open(other, f, mode)), Errno::NoAccess);
    EXPECT_EQ(code_of(files->open(root, d, mode)), Errno::StaleHandle);
    EXPECT_EQ(take(files->read(*take(files->open(root, f, mode)), 0, 100)), "content");
}

// --- Listing ---

TEST_F(FileSystemTest, ListingsGoOnWhileOthersComeAndGo) {
    const FileId d = make_directory(kRootId, "d");
    for (std::size_t page = 1; page <= 14; ++page) {
        for (int i = 0; i < 12; ++i) make_file(d, "stay" + std::to_string(i));
        std::multiset<std::string> names;
        std::uint64_t cookie = 0;
        for (int round = 0;; ++round) {
            std::size_t taken = 0;
            take(files->readdir(root, d, cookie, Listing::WithAttributes,
                                [&](const DirectoryEntry& entry) {
                                    EXPECT_GT(entry.cookie, cookie);
                                    cookie = entry.cookie;
                                    names.emplace(entry.name);
                                    if (entry.attributes) {
                                        EXPECT_EQ(entry.attributes->id, entry.id);
                                    }
                                    return ++taken < page;
                                }));
            if (taken == 0) break;
            // Between the pages one comes and the one from before goes.
            const std::string guest = "guest" + std::to_string(round);
            if (round < 5) make_file(d, guest);
            if (round > 0 && round < 5) take(unlink(d, "guest" + std::to_string(round - 1)));
        }
        for (int i = 0; i < 12; ++i) EXPECT_EQ(names.count("stay" + std::to_string(i)), 1U) << page;
        EXPECT_EQ(names.count("."), 1U);
        EXPECT_EQ(names.count(".."), 1U);
        for (const std::string& name : names) {
            if (name[0] != '.') unlink(d, name).has_value();
        }
    }
}

TEST_F(FileSystemTest, TheRootIsListedInPagesOfOne) {
    make_file(kRootId, "f");
    std::vector<std::string> names;
    std::uint64_t cookie = 0;
    for (bool more = true; more;) {
        more = false;
        take(files->readdir(root, kRootId, cookie, Listing::NamesOnly,
                            [&](const DirectoryEntry& entry) {
                                cookie = entry.cookie;
                                names.emplace_back(entry.name);
                                more = true;
                                return false;
                            }));
    }
    EXPECT_EQ(names.size(), 2 + kVirtualEntries + 1);
    EXPECT_EQ(names.front(), ".");
    EXPECT_EQ(names.back(), "f");
    take(files->readdir(root, kRootId, UINT64_MAX, Listing::NamesOnly, [](const DirectoryEntry&) {
        ADD_FAILURE() << "behind the end";
        return true;
    }));
    EXPECT_EQ(code_of(files->readdir(root, FileId(99), 0, Listing::NamesOnly,
                                     [](const DirectoryEntry&) { return true; })),
              Errno::StaleHandle);
}

// --- Times and locks ---

TEST_F(FileSystemTest, Times) {
    const FileId f = make_file(kRootId, "f");
    EXPECT_EQ(take(set_mtime(f, 5)).mtime, 5U);
    EXPECT_EQ(take(set_mtime(f, 0)).mtime, 0U);
    EXPECT_EQ(take(set_mtime(f, UINT32_MAX)).mtime, UINT32_MAX);
    EXPECT_EQ(code_of(set_mtime(f, -1)), Errno::Invalid);
    EXPECT_EQ(code_of(set_mtime(f, std::int64_t{UINT32_MAX} + 1)), Errno::Invalid);
    EXPECT_EQ(code_of(set_mtime(kRootId, 5)), Errno::NoAccess);
    EXPECT_EQ(code_of(set_mtime(FileId(99), 5)), Errno::StaleHandle);
}

TEST_F(FileSystemTest, AnExpiredLockIsReleasedByTime0) {
    const FileId lock = make_directory(make_directory(kRootId, "priv"), "lock");
    const FileId l = make_directory(lock, "l");
    EXPECT_EQ(code_of(set_mtime(l, 0)), Errno::NoAccess);
    directory.now += 120;
    EXPECT_EQ(code_of(set_mtime(l, 0)), Errno::NoAccess);
    directory.now += 1;
    EXPECT_EQ(code_of(set_mtime(l, 0)), kOk);
    EXPECT_EQ(code_of(files->lookup(root, lock, "l")), Errno::NotFound);
    // One that is refreshed counts anew; a full one cannot go.
    const FileId m = make_directory(lock, "m");
    directory.now += 100;
    EXPECT_EQ(code_of(set_mtime(m, directory.now)), kOk);
    directory.now += 100;
    EXPECT_EQ(code_of(set_mtime(m, 0)), Errno::NoAccess);
    make_file(m, "inside");
    directory.now += 100;
    EXPECT_EQ(code_of(set_mtime(m, 0)), Errno::NotEmpty);
}

// --- Deadlines, durability ---

TEST_F(FileSystemTest, NobodyWaitsForEver) {
    const FileId f = make_file(kRootId, "f");
    make_directory(kRootId, "d");
    options.deadline = std::chrono::milliseconds(20);
    start_with_fake();
    const auto file = take(files->open(root, f, kReadWrite));
    EXPECT_EQ(code_of(create(kRootId, "new")), Errno::TimedOut);
    EXPECT_EQ(code_of(mkdir(kRootId, "new")), Errno::TimedOut);
    EXPECT_EQ(code_of(unlink(kRootId, "f")), Errno::TimedOut);
    EXPECT_EQ(code_of(rmdir(kRootId, "d")), Errno::TimedOut);
    EXPECT_EQ(code_of(rename(kRootId, "f", kRootId, "g")), Errno::TimedOut);
    EXPECT_EQ(code_of(write(*file, 0, "x")), Errno::TimedOut);
    EXPECT_EQ(code_of(truncate(f, 0)), Errno::TimedOut);
    EXPECT_EQ(code_of(set_mtime(f, 1)), Errno::TimedOut);
    EXPECT_EQ(code_of(wait_for<void>([&](auto done) { files->sync_all(done); })), Errno::TimedOut);
    EXPECT_EQ(files->counters().timed_out, 9U);
    // A late answer reaches nobody twice.
    for (const auto& late : fake.completions) late(fail(Errno::InputOutput));
    for (const auto& late : fake.syncs) late({});
    // They hold handles, which must not outlive the file system.
    fake.completions.clear();
}

TEST_F(FileSystemTest, FsyncWaitsForWhatWasWritten) {
    files.reset();
    sequencer.reset();
    store.reset();
    directory.options.durability = store::Durability::Durable;
    store = directory.open();
    start();
    auto created = take(create(kRootId, "f"));
    take(write(*created.file, 0, "x"));
    take(write(*created.file, 0, "y"));  // the first one has begun a flush
    const Sequence appended = store->journal_status().appended;
    EXPECT_LT(store->journal_status().synced, appended);
    take(wait_for<void>([&](auto done) { files->fsync(*created.file, done); }));
    EXPECT_GE(store->journal_status().synced, appended);
    // Changes without a handle are durable when answered.
    make_directory(kRootId, "d");
    EXPECT_EQ(store->journal_status().synced, store->journal_status().appended);
}

TEST_F(FileSystemTest, SinksHearOfChanges) {
    std::vector<store::Change> seen;
    files->add_invalidation_sink(
        [&](const std::vector<store::Change>& changes) { seen = changes; });
    make_directory(kRootId, "d");
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0].kind, store::Change::Kind::Created);
}

// --- What others do between a request and its answer ---

TEST_F(FileSystemTest, AFileThatIsRemovedBeforeItsCreationIsAnsweredIsOpen) {
    start_with_fake();
    std::optional<Result<FileSystem::Created>> created;
    files->create(who, kRootId, "f", true, kReadWrite,
                  [&](Result<FileSystem::Created> result) { created = std::move(result); });
    ASSERT_EQ(fake.completions.size(), 1U);
    replication::Outcome outcome;
    {
        const auto batch = take(store->begin());
        outcome.inode = batch->apply(CreateFile{"f"}, Stamp()).inode;
        batch->apply(Delete{"f"}, Stamp());
        outcome.sequence = take(batch->commit());
    }
    fake.completions.front()(outcome);
    ASSERT_TRUE(created.has_value());
    ASSERT_TRUE(created->has_value()) << "the kernel would create it once more";
    EXPECT_EQ((*created)->attributes.id, to_file_id(outcome.inode));
    EXPECT_EQ(take(files->read(*(*created)->file, 0, 10)), "");
}

TEST_F(FileSystemTest, TheOpenedContentIsKeptWhereItIsSmallEnough) {
    const auto created = take(create(kRootId, "f"));
    const auto put = [&](const std::string& data) {
        WriteMode mode;
        mode.truncate = true;
        return wait_for<std::uint32_t>(
            [&](auto done) { files->write(*created.file, 0, data, mode, done); });
    };
    take(put("before"));
    OpenMode mode;
    mode.read = true;
    const auto without = take(files->open(who, created.attributes.id, mode));
    mode.keep_bytes_max = 5;
    const auto too_large = take(files->open(who, created.attributes.id, mode));
    mode.keep_bytes_max = 6;
    const auto kept = take(files->open(who, created.attributes.id, mode));
    take(put("afterwards"));
    EXPECT_EQ(without->as_opened(), std::nullopt);
    EXPECT_EQ(too_large->as_opened(), std::nullopt);
    EXPECT_EQ(kept->as_opened(), "before");
    EXPECT_EQ(take(files->read(*kept, 0, 20)), "afterwards");
}

}  // namespace
}  // namespace cfsgate::gateway
