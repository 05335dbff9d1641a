// SPDX-License-Identifier: Apache-2.0
#include "store/backup.h"

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "store/recover.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::store {
namespace {

using test::take;

class BackupTest : public testing::Test {
protected:
    BackupTest() : store(state.open()) {
        for (const Operation& operation : std::initializer_list<Operation>{
                 MakeDirectory{"nodes"}, MakeDirectory{"nodes/old"},
                 MakeDirectory{"nodes/old/qemu-server"},
                 CreateFile{"nodes/old/qemu-server/100.conf"}, CreateFile{"storage.cfg"},
                 CreateFile{"user.cfg"}, MakeDirectory{"priv"}, CreateFile{"priv/key"}}) {
            EXPECT_EQ(test::result_of(*store, operation), 0);
        }
        write("storage.cfg", "dir: local\n\tnodes old,other\n");
        write("user.cfg", "user:older@pam\n");
        write("priv/key", "of old");
        write("nodes/old/qemu-server/100.conf", std::string(3000, 'm'));
    }
    void write(const std::string& path, const std::string& content) const {
        EXPECT_GT(test::result_of(*store, WriteFile{path, content, 0, true}), 0);
    }
    Result<BackupHeader> back_up(bool replace = false) const {
        BackupHeader header;
        header.time = 1700000000;
        header.file_system = store->file_system_id();
        header.former = {17};
        header.node = "old";
        return write_backup({target, temporary_beside(target), replace, {}}, header,
                            *take(store->read()));
    }
    RecoverOptions into(const test::StoreDirectory& directory, const std::string& node = "") const {
        return {directory.path(), node, 1700000001};
    }

    test::StoreDirectory state;
    test::TempDirectory folder;
    std::string target = folder.file("backup");
    std::unique_ptr<Store> store;
};

TEST_F(BackupTest, TheWholeTreeComesBackAndWhoseItIs) {
    const BackupHeader written = take(back_up());
    const Backup backup = take(read_backup(target));
    EXPECT_EQ(backup.header.node, "old");
    EXPECT_EQ(backup.header.time, 1700000000U);
    EXPECT_EQ(backup.header.former, std::vector<std::uint64_t>{17});
    EXPECT_EQ(backup.header.entries, written.entries);
    EXPECT_EQ(to_hex(checksum_of(backup.tree)), test::checksum_of(*store));
    EXPECT_EQ(encode_backup(backup), test::read_file(target));
    struct stat info {};
    ASSERT_EQ(::stat(target.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0600U);
}

TEST_F(BackupTest, AByteChangedAnywhereIsRefused) {
    take(back_up());
    const std::string whole = test::read_file(target);
    for (std::size_t at = 0; at < whole.size(); at += at < 200 ? 1 : 13) {
        std::string changed = whole;
        changed[at] = static_cast<char>(changed[at] ^ 1);
        const auto backup = decode_backup(changed, "file");
        ASSERT_FALSE(backup) << at;
        EXPECT_EQ(backup.error().code, Errno::Corrupt);
        EXPECT_TRUE(backup.error().detail.starts_with("file: ")) << backup.error().detail;
    }
    for (std::size_t size = 0; size < whole.size(); size += size < 200 ? 1 : 17) {
        EXPECT_FALSE(decode_backup(whole.substr(0, size), "file")) << size;
    }
    EXPECT_FALSE(decode_backup(whole + "x", "file"));
}

TEST_F(BackupTest, AFileThatIsThereStaysUnlessToldOtherwise) {
    test::write_file(target, "precious");
    const auto refused = back_up();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errno::Exists);
    EXPECT_EQ(test::read_file(target), "precious");
    take(back_up(true));
    EXPECT_TRUE(read_backup(target));
}

TEST_F(BackupTest, WhereItFailsNothingIsLeft) {
    BackupTarget stopped{target, temporary_beside(target), false, [](std::uint64_t, std::uint64_t) {
                             return Status(fail(Errno::Interrupted, "stop"));
                         }};
    EXPECT_FALSE(write_backup(stopped, {}, *take(store->read())));
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    stopped = {folder.file("nowhere/backup"), folder.file("nowhere/temporary"), false, {}};
    const auto failed = write_backup(stopped, {}, *take(store->read()));
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errno::NotFound);
}

TEST_F(BackupTest, AnotherFormatIsNamed) {
    take(back_up());
    std::string bytes = test::read_file(target);
    bytes.resize(bytes.size() - 32);
    bytes[16] = 9;
    for (const unsigned char byte : Sha256::of(bytes)) bytes.push_back(static_cast<char>(byte));
    EXPECT_NE(decode_backup(bytes, "file").error().detail.find("newer program"), std::string::npos);
}

TEST_F(BackupTest, TheClusterIsThatOfCorosyncConf) {
    EXPECT_EQ(take(back_up()).cluster, "");
    EXPECT_EQ(test::result_of(*store, CreateFile{"corosync.conf"}), 0);
    write("corosync.conf", "totem {\n  cluster_name:\tlab \n}\n");
    EXPECT_EQ(take(back_up(true)).cluster, "lab");
    EXPECT_EQ(cluster_of(take(read_backup(target)).tree), "lab");
}

// --- Recovery ---

TEST_F(BackupTest, TheRecoveredStoreHasTheTree) {
    take(back_up());
    const test::StoreDirectory fresh;
    const RecoverReport done = take(recover(into(fresh), take(read_backup(target))));
    EXPECT_TRUE(done.mending.nothing());
    EXPECT_EQ(done.moved_from, "");
    const auto recovered = fresh.open();
    const auto before = take(copy_tree(*take(store->read())));
    const auto after = take(copy_tree(*take(recovered->read())));
    EXPECT_EQ(after.entries, before.entries);
    // So that no number is given again that was given after the backup.
    EXPECT_EQ(after.head.version.value(), before.head.version.value() + 1'000'000);
}

TEST_F(BackupTest, HandlesOfTheOldStoreStayGood) {
    take(back_up());
    const test::StoreDirectory fresh;
    take(recover(into(fresh), take(read_backup(target))));
    const auto recovered = fresh.open();
    EXPECT_NE(recovered->file_system_id(), store->file_system_id());
    EXPECT_TRUE(recovered->is_own_file_system_id(store->file_system_id()));
    EXPECT_TRUE(recovered->is_own_file_system_id(17));
    EXPECT_FALSE(recovered->is_own_file_system_id(18));
}

TEST_F(BackupTest, AClustersTreeKeepsItsVersion) {
    EXPECT_EQ(test::result_of(*store, CreateFile{"corosync.conf"}), 0);
    take(back_up());
    const test::StoreDirectory fresh;
    const RecoverReport done = take(recover(into(fresh), take(read_backup(target))));
    EXPECT_EQ(done.head.version, take(store->read())->head().version);
}

TEST_F(BackupTest, AStoreThatIsThereIsNotTouched) {
    take(back_up());
    const test::StoreDirectory taken;
    take(taken.open()->close());
    const auto refused = recover(into(taken), take(read_backup(target)));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errno::Exists);
}

TEST_F(BackupTest, TheNodesDirectoryMovesOnRequest) {
    take(back_up());
    const test::StoreDirectory fresh;
    const RecoverReport done = take(recover(into(fresh, "new"), take(read_backup(target))));
    EXPECT_EQ(done.moved_from, "old");
    EXPECT_EQ(done.moved_to, "new");
    // Not user.cfg, where "old" is a part of another word, and nothing private.
    EXPECT_EQ(done.still_old, std::vector<std::string>{"storage.cfg"});
    const auto recovered = fresh.open();
    EXPECT_EQ(test::content_of(*recovered, "nodes/new/qemu-server/100.conf"),
              std::string(3000, 'm'));
    EXPECT_FALSE(test::exists_in(*recovered, "nodes/old"));
    take(recovered->close());
    EXPECT_EQ(fresh.findings(), "");
}

TEST_F(BackupTest, ANodesDirectoryWithSomethingInItIsNotReplaced) {
    EXPECT_EQ(test::result_of(*store, MakeDirectory{"nodes/new"}), 0);
    take(back_up());
    const test::StoreDirectory fresh;
    take(can_recover(into(fresh, "new"), take(read_backup(target))));
    EXPECT_EQ(test::result_of(*store, CreateFile{"nodes/new/f"}), 0);
    take(back_up(true));
    const auto refused = can_recover(into(fresh, "new"), take(read_backup(target)));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errno::Exists);
    EXPECT_FALSE(can_recover(into(fresh, "no/name"), take(read_backup(target))));
}

TEST_F(BackupTest, WithoutTheNodesDirectoryItSaysSo) {
    take(back_up());
    Backup backup = take(read_backup(target));
    backup.header.node = "unknown";
    const test::StoreDirectory fresh;
    const RecoverReport done = take(recover(into(fresh, "new"), std::move(backup)));
    EXPECT_EQ(done.moved_from, "");
    EXPECT_NE(done.why_not_moved.find("nodes/unknown"), std::string::npos);
}

}  // namespace
}  // namespace cfsgate::store
