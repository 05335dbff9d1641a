// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/database_choice.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "store/config_db/config_db.h"
#include "store/config_db/import_mark.h"
#include "tests/support/temp_directory.h"

namespace cfsgate::gateway::daemon {
namespace {

namespace fs = std::filesystem;

class DatabaseChoiceTest : public ::testing::Test {
protected:
    DatabaseChoiceTest() { options.directory = directory.path(); }

    void write_config_db(std::uint64_t version) {
        fs::remove(config_db);
        const store::ConfigDb tree{.head = {.version = Version(version), .writer = {}, .mtime = 1},
                                   .entries = {}};
        ASSERT_TRUE(store::write_config_db(config_db, tree));
        // Two writes within one tick of the file system's clock must look different, too.
        fs::last_write_time(config_db, fs::file_time_type(std::chrono::seconds(version)));
    }
    Status choose(DatabaseChoice choice = DatabaseChoice::Ask) {
        return choose_database(options, choice, null_logger());
    }
    /// The version of the tree that a start would serve.
    std::uint64_t open_version() {
        auto store = store::Store::open(options, null_logger());
        if (!store) return 0;
        const std::uint64_t version = (*store)->read().value()->head().version.value();
        EXPECT_TRUE((*store)->close());
        return version;
    }
    std::size_t folders() const {
        std::size_t count = 0;
        for (const auto& entry : fs::directory_iterator(directory.path())) {
            count += entry.is_directory() ? 1U : 0U;
        }
        return count;
    }

    test::TempDirectory directory;
    std::string config_db = directory.file("config.db");
    store::StoreOptions options;
};

TEST_F(DatabaseChoiceTest, AnEmptyDirectoryGetsANewStore) {
    ASSERT_TRUE(choose());
    EXPECT_EQ(open_version(), 1U);
}

TEST_F(DatabaseChoiceTest, AConfigDbAloneIsImportedOnce) {
    write_config_db(70);
    ASSERT_TRUE(choose());
    EXPECT_EQ(open_version(), 70U);
    ASSERT_TRUE(choose());
    EXPECT_EQ(open_version(), 70U);
}

TEST_F(DatabaseChoiceTest, AChangedConfigDbIsRefusedWithBothVersions) {
    write_config_db(70);
    ASSERT_TRUE(choose());
    write_config_db(80);
    const Status refused = choose();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errno::Busy);
    for (const char* part : {"version 70", "version 80", "--use=store", "--use=config.db"}) {
        EXPECT_NE(refused.error().detail.find(part), std::string::npos) << part;
    }
    EXPECT_EQ(open_version(), 70U);
}

TEST_F(DatabaseChoiceTest, AStoreThatNeverKnewTheConfigDbIsRefusedToo) {
    EXPECT_EQ(open_version(), 1U);
    write_config_db(80);
    EXPECT_FALSE(choose());
}

TEST_F(DatabaseChoiceTest, ChoosingTheStoreSettlesTheQuestion) {
    write_config_db(70);
    ASSERT_TRUE(choose());
    write_config_db(80);
    ASSERT_TRUE(choose(DatabaseChoice::Store));
    EXPECT_EQ(open_version(), 70U);
    EXPECT_TRUE(choose());
}

TEST_F(DatabaseChoiceTest, ChoosingTheConfigDbKeepsTheOldStoreAside) {
    write_config_db(70);
    ASSERT_TRUE(choose());
    write_config_db(80);
    ASSERT_TRUE(choose(DatabaseChoice::ConfigDb));
    EXPECT_EQ(open_version(), 80U);
    EXPECT_EQ(folders(), 1U);
    EXPECT_TRUE(choose());
}

TEST_F(DatabaseChoiceTest, ChoosingAnUnchangedConfigDbDoesNotThrowTheStoreAway) {
    write_config_db(70);
    ASSERT_TRUE(choose());
    ASSERT_TRUE(choose(DatabaseChoice::ConfigDb));
    EXPECT_EQ(folders(), 0U);
}

TEST_F(DatabaseChoiceTest, AConfigDbThatIsRefusedChangesNothing) {
    write_config_db(70);
    ASSERT_TRUE(choose());
    fs::resize_file(config_db, 100);
    EXPECT_FALSE(choose(DatabaseChoice::ConfigDb));
    EXPECT_EQ(open_version(), 70U);
    EXPECT_EQ(folders(), 0U);
}

TEST_F(DatabaseChoiceTest, OneCannotChooseWhatIsNotThere) {
    EXPECT_EQ(choose(DatabaseChoice::ConfigDb).error().code, Errno::NotFound);
    EXPECT_EQ(choose(DatabaseChoice::Store).error().code, Errno::NotFound);
}

TEST_F(DatabaseChoiceTest, AnExportIntoTheDirectoryIsKnown) {
    EXPECT_EQ(open_version(), 1U);
    write_config_db(1);
    ASSERT_TRUE(store::mark_as_known(options.directory, config_db));
    EXPECT_TRUE(choose());
}

}  // namespace
}  // namespace cfsgate::gateway::daemon
