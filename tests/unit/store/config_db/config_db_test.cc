// SPDX-License-Identifier: Apache-2.0
#include "store/config_db/config_db.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "store/model/digest.h"
#include "store/model/index.h"
#include "store/model/limits.h"
#include "store/model/path.h"
#include "tests/support/temp_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::uint64_t kTopBit = 1ULL << 63;

/// A connection of the test's own; failures throw.
class Sqlite {
public:
    explicit Sqlite(const std::string& file) {
        if (sqlite3_open(file.c_str(), &database_) != SQLITE_OK) {
            throw std::runtime_error(sqlite3_errmsg(database_));
        }
    }
    ~Sqlite() { sqlite3_close(database_); }
    Sqlite(const Sqlite&) = delete;
    Sqlite& operator=(const Sqlite&) = delete;

    sqlite3* get() const { return database_; }

    /// The rows of the answer, columns joined by '|'.
    std::vector<std::string> run(const std::string& sql) {
        std::vector<std::string> rows;
        if (sqlite3_exec(database_, sql.c_str(), add_row, &rows, nullptr) != SQLITE_OK) {
            throw std::runtime_error(sqlite3_errmsg(database_));
        }
        return rows;
    }

private:
    static int add_row(void* rows, int count, char** values, char** /*names*/) {
        std::string row;
        for (int i = 0; i < count; ++i) {
            if (i > 0) row += '|';
            row += values[i] == nullptr ? "NULL" : values[i];
        }
        static_cast<std::vector<std::string>*>(rows)->push_back(row);
        return 0;
    }

    sqlite3* database_ = nullptr;
};

std::vector<std::string> names_in(const std::string& directory) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

void write_file(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

ConfigDb without_root(std::vector<Entry> entries) {
    const Inode root = entries.at(0).inode;
    entries.erase(entries.begin());
    return {{root.version, root.writer, root.mtime}, std::move(entries)};
}

/// Root first, as members compare it.
std::vector<Entry> with_root(const ConfigDb& tree) {
    std::vector<Entry> entries(1);
    entries[0].inode.type = EntryType::Directory;
    entries[0].inode.version = tree.head.version;
    entries[0].inode.writer = tree.head.writer;
    entries[0].inode.mtime = tree.head.mtime;
    entries.insert(entries.end(), tree.entries.begin(), tree.entries.end());
    return entries;
}

std::string index_hex(const ConfigDb& tree) {
    Index index;
    index.head = tree.head;
    for (const Entry& entry : with_root(tree)) {
        index.entries.push_back({entry.inode.number, index_digest(entry.inode, entry.content)});
        index.last_inode = entry.inode.number;
    }
    return test::to_hex(encode_index(index));
}

std::string checksum_hex(const ConfigDb& tree) {
    Sha256 sum;
    for (const Entry& entry : with_root(tree)) {
        add_to_tree_checksum(sum, entry.inode, entry.content);
    }
    return to_hex(sum.finish());
}

Entry make_entry(std::uint64_t inode, std::uint64_t parent, EntryType type, std::string name,
                 std::string content = {}) {
    Entry entry;
    entry.inode.number = InodeNumber(inode);
    entry.inode.parent = InodeNumber(parent);
    entry.inode.version = Version(inode);
    entry.inode.writer = NodeId(7);
    entry.inode.mtime = 1700000000;
    entry.inode.type = type;
    entry.inode.name = std::move(name);
    entry.inode.size = static_cast<std::uint32_t>(content.size());
    entry.content = std::move(content);
    return entry;
}

Entry make_directory(std::uint64_t inode, std::uint64_t parent, std::string name) {
    return make_entry(inode, parent, EntryType::Directory, std::move(name));
}

Entry make_file(std::uint64_t inode, std::uint64_t parent, std::string name,
                std::string content = {}) {
    return make_entry(inode, parent, EntryType::File, std::move(name), std::move(content));
}

/// Values that only fit if numbers are kept as bit patterns, and bytes that are no text.
ConfigDb unusual_tree() {
    ConfigDb tree;
    tree.head = {Version(~0ULL), NodeId(~0U), ~0U};
    tree.entries = {make_directory(2, kTopBit + 5, "sub"), make_file(3, 0, "empty"),
                    make_file(4, 2, "bytes", std::string("\0\xff\n'", 4)),
                    make_directory(kTopBit + 5, 0, "\xc3\xa4 \xff"),
                    make_file(~0ULL, kTopBit + 5, std::string(255, 'n'),
                              std::string(limits::kFileBytesMax, 'x'))};
    tree.entries[1].inode.mtime = ~0U;
    tree.entries[1].inode.writer = NodeId(~0U);
    tree.entries[1].inode.version = Version(~0ULL);
    return tree;
}

void expect_equal(const ConfigDb& actual, const ConfigDb& expected) {
    EXPECT_EQ(actual.head, expected.head);
    ASSERT_EQ(actual.entries.size(), expected.entries.size());
    for (std::size_t i = 0; i < actual.entries.size(); ++i) {
        EXPECT_EQ(actual.entries[i], expected.entries[i])
            << "inode " << expected.entries[i].inode.number.value();
    }
}

class ConfigDbTest : public testing::Test {
protected:
    /// A database that is made from SQL.
    std::string make_database(const std::string& sql) {
        std::filesystem::remove(file_);
        Sqlite(file_).run(sql);
        return file_;
    }

    ConfigDb read(const std::string& file) {
        auto tree = read_config_db(file);
        if (!tree) throw std::runtime_error(tree.error().detail);
        return *std::move(tree);
    }

    const test::TempDirectory directory_;
    const std::string file_ = directory_.file("config.db");
};

using ImportTest = ConfigDbTest;

TEST_F(ImportTest, TreeOfTheOriginal) {
    const auto expected = test::load_vectors("tree-basic.json");
    const auto tree = read(test::data_path("vectors/config-db/tree-basic.db"));
    expect_equal(tree, without_root(test::vector_entries(expected)));
    EXPECT_EQ(index_hex(tree), expected.at("index_hex").get<std::string>());
    EXPECT_EQ(checksum_hex(tree), expected.at("verify_checksum").get<std::string>());
}

TEST_F(ImportTest, HeaderOfTypeDirectoryIsAccepted) {
    const auto tree = read(test::data_path("vectors/config-db/after-sync.db"));
    ConfigDb expected;
    expected.head = {Version(5), NodeId(1), 1700000003};
    expected.entries = {make_directory(2, 0, "priv"), make_directory(3, 0, "nodes"),
                        make_file(4, 0, "storage.cfg", "dir: local")};
    expected.entries[0].inode.writer = NodeId(1);
    expected.entries[1].inode.writer = NodeId(2);
    expected.entries[1].inode.mtime = 1700000001;
    expected.entries[2].inode.version = Version(5);
    expected.entries[2].inode.writer = NodeId(1);
    expected.entries[2].inode.mtime = 1700000003;
    expect_equal(tree, expected);
}

TEST_F(ImportTest, DatabaseMadeFromItsDumpIsTheSame) {
    for (const std::string name : {"tree-basic", "after-sync"}) {
        const auto base = test::data_path("vectors/config-db/" + name);
        expect_equal(read(make_database(test::read_file(base + ".sql"))), read(base + ".db"));
    }
}

TEST_F(ImportTest, RealisticTreeOfTheOriginal) {
    const auto tree = read(test::data_path("pmxcfs-9.1.6/config.db"));
    EXPECT_EQ(tree.head.version, Version(558));
    EXPECT_EQ(tree.entries.size(), 290U);
    std::map<InodeNumber, const Inode*> by_number;
    for (const Entry& entry : tree.entries) by_number[entry.inode.number] = &entry.inode;
    std::vector<std::string> lines;
    for (const Entry& entry : tree.entries) {
        std::string path = entry.inode.name;
        for (auto up = entry.inode.parent; up != kRootInode; up = by_number.at(up)->parent) {
            path = join_path(by_number.at(up)->name, path);
        }
        lines.push_back(
            (entry.inode.is_directory() ? "dir -" : "file " + to_hex(Sha256::of(entry.content))) +
            " " + path);
    }
    std::vector<std::string> expected;
    std::istringstream listing(test::read_file(test::data_path("pmxcfs-9.1.6/tree-listing.txt")));
    std::string kind, mode, owner, digest, path;
    while (listing >> kind >> mode >> owner >> digest >> path) {
        if (path != ".") expected.push_back(kind + " " + digest + " " + path);
    }
    EXPECT_THAT(lines, testing::UnorderedElementsAreArray(expected));
}

TEST_F(ImportTest, ChangesNothing) {
    std::filesystem::copy_file(test::data_path("pmxcfs-9.1.6/config.db"), file_);
    const auto bytes = test::read_file(file_);
    const auto time = std::filesystem::last_write_time(file_);
    read(file_);
    EXPECT_EQ(test::read_file(file_), bytes);
    EXPECT_EQ(std::filesystem::last_write_time(file_), time);
    EXPECT_THAT(names_in(directory_.path()), ElementsAre("config.db"));
}

TEST_F(ImportTest, WriteAheadLogIsReadAndLeftAlone) {
    const auto original = directory_.file("original.db");
    std::filesystem::copy_file(test::data_path("vectors/config-db/tree-basic.db"), original);
    Sqlite writer(original);
    writer.run("PRAGMA journal_mode = WAL; UPDATE tree SET mtime = 1800000000 WHERE inode = 4");
    // As a crash leaves it: the change is in the log only.
    std::filesystem::copy_file(original, file_);
    std::filesystem::copy_file(original + "-wal", file_ + "-wal");
    const auto bytes = test::read_file(file_);
    const auto log = test::read_file(file_ + "-wal");
    ASSERT_FALSE(log.empty());

    const auto tree = read(file_);
    EXPECT_EQ(tree.entries.at(2).inode.mtime, 1800000000U);
    EXPECT_EQ(test::read_file(file_), bytes);
    EXPECT_EQ(test::read_file(file_ + "-wal"), log);
    // And while somebody has it open.
    EXPECT_EQ(read(original).entries.at(2).inode.mtime, 1800000000U);
    EXPECT_THAT(writer.run("UPDATE tree SET mtime = 1 WHERE inode = 4"), IsEmpty());
}

TEST_F(ImportTest, NameWithTheCharactersOfAnUri) {
    const auto file = directory_.file("a?b#c%41.db");
    std::filesystem::copy_file(test::data_path("vectors/config-db/tree-basic.db"), file);
    EXPECT_EQ(read(file).entries.size(), 4U);
}

TEST_F(ImportTest, MissingFile) {
    const auto tree = read_config_db(file_);
    ASSERT_FALSE(tree);
    EXPECT_EQ(tree.error().code, Errno::NotFound);
    EXPECT_THAT(tree.error().detail, HasSubstr(file_));
    EXPECT_THAT(names_in(directory_.path()), IsEmpty());
}

TEST_F(ImportTest, WhatIsNoDatabaseIsCorrupt) {
    const auto good = test::read_file(test::data_path("pmxcfs-9.1.6/config.db"));
    const auto expect_corrupt = [&](const std::string& bytes) {
        write_file(file_, bytes);
        const auto tree = read_config_db(file_);
        ASSERT_FALSE(tree);
        EXPECT_EQ(tree.error().code, Errno::Corrupt);
        EXPECT_THAT(tree.error().detail, HasSubstr(file_));
    };
    expect_corrupt("");
    expect_corrupt("hello");
    expect_corrupt(std::string(8192, 'x'));
    expect_corrupt(good.substr(0, good.size() / 2));
    auto damaged = good;
    damaged.replace(3 * 4096, 4096, 4096, '\xff');
    expect_corrupt(damaged);
}

TEST_F(ImportTest, DirectoryIsCorrupt) {
    const auto tree = read_config_db(directory_.path());
    ASSERT_FALSE(tree);
    EXPECT_EQ(tree.error().code, Errno::Corrupt);
}

// A page that is never read while all rows are: only a check of the whole file sees it.
TEST_F(ImportTest, DamageThatHidesRowsIsFound) {
    make_database(test::read_file(test::data_path("vectors/config-db/tree-basic.sql")));
    auto bytes = test::read_file(file_);
    // Page 2 is the table's only page; its cell count is at offset 3. One row less:
    bytes.at(4096 + 4) = static_cast<char>(bytes.at(4096 + 4) - 1);
    write_file(file_, bytes);
    const auto tree = read_config_db(file_);
    ASSERT_FALSE(tree);
    EXPECT_EQ(tree.error().code, Errno::Corrupt);
    EXPECT_THAT(tree.error().detail, HasSubstr("damaged"));
}

constexpr const char* kLooseTable =
    "CREATE TABLE tree (inode, parent, version, writer, mtime, type, name, data);";
constexpr const char* kHeader = "INSERT INTO tree VALUES (0,0,100,1,1,8,'__version__',NULL);";

class RefusalTest : public ConfigDbTest {
protected:
    /// Why a database with these rows (without constraints) is refused; empty if it is not.
    std::string refusal(const std::string& rows, const char* header = kHeader) {
        make_database(std::string(kLooseTable) + header + rows);
        const auto tree = read_config_db(file_);
        if (tree) return {};
        EXPECT_EQ(tree.error().code, Errno::Corrupt);
        EXPECT_TRUE(tree.error().detail.starts_with(file_ + ": "));
        return tree.error().detail.substr(file_.size() + 2);
    }

    static std::string row(const std::string& values) {
        return "INSERT INTO tree VALUES (" + values + ");";
    }
};

TEST_F(RefusalTest, SoundRowsAreNotRefused) {
    EXPECT_EQ(refusal(row("3,2,3,1,1,8,'f',x'00'") + row("2,0,2,1,1,4,'d',NULL")), "");
    EXPECT_EQ(refusal(""), "");
}

TEST_F(RefusalTest, NoTable) {
    make_database("CREATE TABLE other (x)");
    EXPECT_THAT(read_config_db(file_).error().detail, HasSubstr("no table 'tree'"));
    make_database("CREATE VIEW tree AS SELECT 0 AS inode");
    EXPECT_THAT(read_config_db(file_).error().detail, HasSubstr("no table 'tree'"));
}

TEST_F(RefusalTest, MissingColumn) {
    const std::vector<std::string> all{"inode", "parent", "version", "writer",
                                       "mtime", "type",   "name",    "data"};
    for (const auto& left_out : all) {
        std::string columns = "other";
        for (const auto& name : all) {
            if (name != left_out) columns += ", " + name;
        }
        make_database("CREATE TABLE tree (" + columns + ")");
        const auto tree = read_config_db(file_);
        ASSERT_FALSE(tree);
        EXPECT_EQ(tree.error().code, Errno::Corrupt);
        EXPECT_THAT(tree.error().detail, HasSubstr("no column '" + left_out + "'"));
    }
}

TEST_F(RefusalTest, ValuesOfTheWrongKind) {
    EXPECT_EQ(refusal(row("'x',0,2,1,1,8,'f',NULL")),
              "a row named 'f': the inode is not an integer");
    EXPECT_EQ(refusal(row("2,'0',2,1,1,8,'f',NULL")), "inode 2 'f': parent is not an integer");
    EXPECT_EQ(refusal(row("2,0,2.5,1,1,8,'f',NULL")), "inode 2 'f': version is not an integer");
    EXPECT_EQ(refusal(row("2,0,2,NULL,1,8,'f',NULL")), "inode 2 'f': writer is not an integer");
    EXPECT_EQ(refusal(row("2,0,2,1,x'01',8,'f',NULL")), "inode 2 'f': mtime is not an integer");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,7,NULL")), "inode 2 '7': the name is not text");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,x'61',NULL")), "inode 2 'a': the name is not text");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'f',7")), "inode 2 'f': data is neither bytes nor NULL");
}

TEST_F(RefusalTest, NumbersOutOfRange) {
    EXPECT_EQ(refusal(row("2,0,2,-1,1,8,'f',NULL")), "inode 2 'f': writer -1 is out of range");
    EXPECT_EQ(refusal(row("2,0,2,1,4294967296,8,'f',NULL")),
              "inode 2 'f': mtime 4294967296 is out of range");
    EXPECT_EQ(refusal(row("2,0,2,4294967295,4294967295,8,'f',NULL")), "");
}

TEST_F(RefusalTest, Names) {
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,NULL,NULL")), "inode 2 '': the name is NULL");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'',NULL")), "inode 2 '': the name is empty");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'.',NULL")), "inode 2 '.': the name is reserved");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'..',NULL")), "inode 2 '..': the name is reserved");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'a/b',NULL")),
              "inode 2 'a/b': the name holds a slash or a NUL");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,CAST(x'610062' AS TEXT),NULL")),
              "inode 2 'a\\x00b': the name holds a slash or a NUL");
    const std::string longest(limits::kNameBytesStoredMax, 'n');
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'" + longest + "',NULL")), "");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'" + longest + "n',NULL")),
              "inode 2 '" + std::string(80, 'n') + "...': the name is too long");
}

TEST_F(RefusalTest, Types) {
    EXPECT_EQ(refusal(row("2,0,2,1,1,10,'f',x'00'")), "inode 2 'f': type 10 is neither 4 nor 8");
    EXPECT_EQ(refusal(row("2,0,2,1,1,'8','f',NULL")),
              "inode 2 'f': type is not an integer; inode 2 'f': type 0 is neither 4 nor 8");
}

TEST_F(RefusalTest, DirectoryWithData) {
    EXPECT_EQ(refusal(row("2,0,2,1,1,4,'d',x'00'")), "inode 2 'd': a directory has data");
    EXPECT_EQ(refusal(row("2,0,2,1,1,4,'d',x''")), "");
}

TEST_F(RefusalTest, FileSize) {
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'f',zeroblob(1048576)")), "");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'f',zeroblob(1048577)")),
              "inode 2 'f': 1048577 bytes of data are too many");
}

TEST_F(RefusalTest, Header) {
    EXPECT_EQ(refusal("", "INSERT INTO tree VALUES (0,0,1,0,0,8,'version',NULL);"),
              "inode 0 'version': inode 0 must have the name __version__");
    EXPECT_EQ(refusal(row("2,0,2,1,1,4,'d',NULL"),
                      "INSERT INTO tree VALUES (0,2,9,0,0,8,'__version__',NULL);"),
              "inode 0 '__version__': inode 0 must have parent 0");
    EXPECT_EQ(refusal("", "INSERT INTO tree VALUES (0,0,0,0,0,8,'__version__',NULL);"),
              "inode 0 '__version__': the root's version is 0");
    EXPECT_EQ(refusal("", "INSERT INTO tree VALUES (0,0,1,0,0,4,'__version__',x'00');"),
              "inode 0 '__version__': inode 0 has data");
    EXPECT_EQ(refusal("", "INSERT INTO tree VALUES (0,0,1,0,0,7,'__version__',NULL);"),
              "inode 0 '__version__': type 7 is neither 4 nor 8");
    EXPECT_EQ(refusal(kHeader), "inode 0 '__version__': the inode is there twice");
}

TEST_F(RefusalTest, Parents) {
    EXPECT_EQ(refusal(row("2,9,2,1,1,8,'f',NULL")), "inode 2 'f': parent 9 does not exist");
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'f',NULL") + row("3,2,3,1,1,8,'g',NULL")),
              "inode 3 'g': parent 2 is a file");
}

TEST_F(RefusalTest, Circles) {
    EXPECT_EQ(refusal(row("2,2,2,1,1,4,'d',NULL")),
              "inode 2 'd': parent 2 is the entry itself or lies below it");
    // The file below the circle is not to blame.
    EXPECT_EQ(refusal(row("2,4,2,1,1,8,'f',NULL") + row("3,5,3,1,1,4,'a',NULL") +
                      row("4,3,4,1,1,4,'b',NULL") + row("5,4,5,1,1,4,'c',NULL")),
              "inode 4 'b': parent 3 is the entry itself or lies below it; "
              "inode 3 'a': parent 5 is the entry itself or lies below it; "
              "inode 5 'c': parent 4 is the entry itself or lies below it");
}

TEST_F(RefusalTest, SameNameTwice) {
    EXPECT_EQ(refusal(row("2,0,2,1,1,4,'x',NULL") + row("3,0,3,1,1,8,'x',NULL")),
              "inode 3 'x': inode 2 has the same name in directory 0");
    EXPECT_EQ(refusal(row("2,0,2,1,1,4,'x',NULL") + row("3,2,3,1,1,8,'x',NULL")), "");
}

TEST_F(RefusalTest, SameInodeTwice) {
    EXPECT_EQ(refusal(row("2,0,2,1,1,8,'x',NULL") + row("2,0,2,1,1,8,'y',NULL")),
              "inode 2 'y': the inode is there twice");
}

TEST_F(RefusalTest, AboveTheVersionOfTheRoot) {
    EXPECT_EQ(refusal(row("100,0,100,1,1,8,'f',NULL")), "");
    EXPECT_EQ(refusal(row("101,0,100,1,1,8,'f',NULL")),
              "inode 101 'f': the inode is above the root's version 100");
    EXPECT_EQ(refusal(row("2,0,101,1,1,8,'f',NULL")),
              "inode 2 'f': version 101 is above the root's version 100");
    // Negative in the table is large here.
    EXPECT_THAT(refusal(row("-1,0,100,1,1,8,'f',NULL")), HasSubstr("inode 18446744073709551615 "));
}

TEST_F(RefusalTest, NoHeaderIsANewDatabase) {
    EXPECT_EQ(refusal("", ""), "");
    EXPECT_EQ(read(file_).head, TreeHead{});
    EXPECT_EQ(refusal(row("2,0,1,1,1,8,'f',NULL"), ""),
              "inode 2 'f': the inode is above the root's version 1");
}

class GuestRefusalTest : public RefusalTest {
protected:
    std::string tree(const std::string& rows) {
        return refusal(row("2,0,2,1,1,4,'nodes',NULL") + row("3,2,3,1,1,4,'a',NULL") +
                       row("4,2,4,1,1,4,'b',NULL") + row("5,3,5,1,1,4,'qemu-server',NULL") +
                       row("6,4,6,1,1,4,'lxc',NULL") + rows);
    }
};

TEST_F(GuestRefusalTest, SameVmidTwice) {
    EXPECT_EQ(tree(row("7,5,7,1,1,8,'100.conf',NULL") + row("8,6,8,1,1,8,'100.conf',NULL")),
              "inode 8 '100.conf': VMID 100 is also that of inode 7 '100.conf'");
    EXPECT_EQ(tree(row("7,5,7,1,1,8,'100.conf',NULL") + row("8,6,8,1,1,8,'101.conf',NULL")), "");
}

TEST_F(GuestRefusalTest, OnlyRegularFilesInTheirPlaceCount) {
    const auto guest = row("7,5,7,1,1,8,'100.conf',NULL");
    EXPECT_EQ(tree(guest + row("8,6,8,1,1,4,'100.conf',NULL")), "");
    EXPECT_EQ(tree(guest + row("8,6,8,1,1,8,'0100.conf',NULL")), "");
    EXPECT_EQ(tree(guest + row("8,4,8,1,1,8,'100.conf',NULL")), "");
    EXPECT_EQ(tree(guest + row("8,6,8,1,1,4,'deep',NULL") + row("9,8,9,1,1,8,'100.conf',NULL")),
              "");
    EXPECT_EQ(tree(guest + row("8,2,8,1,1,4,'-c',NULL") + row("9,8,9,1,1,4,'lxc',NULL") +
                   row("10,9,10,1,1,8,'100.conf',NULL")),
              "");
    EXPECT_EQ(tree(guest + row("8,6,8,1,1,4,'nodes',NULL") + row("9,8,9,1,1,4,'c',NULL") +
                   row("10,9,10,1,1,4,'lxc',NULL") + row("11,10,11,1,1,8,'100.conf',NULL")),
              "");
}

TEST_F(GuestRefusalTest, GuestInACircleDoesNotHang) {
    EXPECT_EQ(tree(row("7,7,7,1,1,4,'lxc',NULL") + row("8,7,8,1,1,8,'100.conf',NULL")),
              "inode 7 'lxc': parent 7 is the entry itself or lies below it");
}

TEST_F(GuestRefusalTest, FileNamedLikeAGuestDirectoryIsAccepted) {
    EXPECT_EQ(tree(row("7,3,7,1,1,8,'lxc',NULL")), "");
}

TEST_F(RefusalTest, EveryFaultIsListedUpToALimit) {
    std::string rows;
    for (int i = 2; i < 25; ++i) {
        const auto number = std::to_string(i);
        rows += row(number + ",99,2,1,1,8,'f" + number + "',NULL");
    }
    const auto text = refusal(rows);
    EXPECT_THAT(text, HasSubstr("inode 2 'f2': parent 99 does not exist; inode 3 'f3': "));
    EXPECT_THAT(text, HasSubstr("inode 21 'f21'"));
    EXPECT_THAT(text, Not(HasSubstr("inode 22")));
    EXPECT_TRUE(text.ends_with("; and 3 more")) << text;
}

TEST_F(ImportTest, EmptyFilesMayBeNullOrEmpty) {
    make_database(std::string(kLooseTable) + kHeader +
                  "INSERT INTO tree VALUES (2,0,2,1,1,8,'a',NULL),(3,0,3,1,1,8,'b',x'')");
    const auto tree = read(file_);
    ASSERT_EQ(tree.entries.size(), 2U);
    EXPECT_EQ(tree.entries[0].content, "");
    EXPECT_EQ(tree.entries[1].content, "");
}

TEST_F(ImportTest, TextInPlaceOfDataIsTheContent) {
    make_database(std::string(kLooseTable) + kHeader +
                  "INSERT INTO tree VALUES (2,0,2,1,1,8,'a','edited by hand')");
    const auto tree = read(file_);
    ASSERT_EQ(tree.entries.size(), 1U);
    EXPECT_EQ(tree.entries[0].content, "edited by hand");
    EXPECT_EQ(tree.entries[0].inode.size, 14U);
}

TEST_F(ImportTest, EntriesAscendByUnsignedInode) {
    make_database(std::string(kLooseTable) +
                  "INSERT INTO tree VALUES (-1,9,5,1,1,8,'z',NULL),(9,3,5,1,1,4,'y',NULL),"
                  "(3,0,3,1,1,4,'x',NULL),(0,0,-1,1,1,8,'__version__',NULL)");
    const auto tree = read(file_);
    ASSERT_EQ(tree.entries.size(), 3U);
    EXPECT_EQ(tree.entries[0].inode.number, InodeNumber(3));
    EXPECT_EQ(tree.entries[1].inode.number, InodeNumber(9));
    EXPECT_EQ(tree.entries[2].inode.number, InodeNumber(~0ULL));
    EXPECT_EQ(tree.head.version, Version(~0ULL));
}

class ExportTest : public ConfigDbTest {
protected:
    void write(const ConfigDb& tree) {
        const auto status = write_config_db(file_, tree);
        ASSERT_TRUE(status) << status.error().detail;
    }
};

TEST_F(ExportTest, ReadsBackEqual) {
    for (const auto& tree :
         {read(test::data_path("pmxcfs-9.1.6/config.db")),
          read(test::data_path("vectors/config-db/tree-basic.db")), unusual_tree(), ConfigDb{}}) {
        std::filesystem::remove(file_);
        write(tree);
        expect_equal(read(file_), tree);
    }
}

TEST_F(ExportTest, TableIsThatOfTheOriginal) {
    const auto copy = directory_.file("copy.db");
    std::filesystem::copy_file(test::data_path("pmxcfs-9.1.6/config.db"), copy);
    write(read(copy));
    Sqlite ours(file_);
    Sqlite theirs(copy);
    for (const char* sql :
         {"SELECT * FROM tree ORDER BY inode", "SELECT typeof(data) FROM tree ORDER BY inode",
          "SELECT type, name, tbl_name, sql FROM sqlite_master", "PRAGMA table_info(tree)",
          "PRAGMA user_version", "PRAGMA application_id", "PRAGMA page_size", "PRAGMA encoding",
          "PRAGMA auto_vacuum"}) {
        EXPECT_EQ(ours.run(sql), theirs.run(sql)) << sql;
    }
    EXPECT_THAT(ours.run("PRAGMA user_version"), ElementsAre("0"));
    EXPECT_THAT(ours.run("PRAGMA integrity_check"), ElementsAre("ok"));
    EXPECT_THAT(ours.run("SELECT * FROM tree WHERE inode = 0"),
                ElementsAre("0|0|558|0|1795229159|8|__version__|NULL"));
}

TEST_F(ExportTest, OnlyTheOwnerMayRead) {
    const mode_t old = ::umask(0);
    write(unusual_tree());
    ::umask(old);
    struct stat status {};
    ASSERT_EQ(::stat(file_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U);
    EXPECT_THAT(names_in(directory_.path()), ElementsAre("config.db"));
}

TEST_F(ExportTest, ModeDoesNotDependOnTheUmask) {
    const mode_t old = ::umask(0777);
    write(unusual_tree());
    ::umask(old);
    struct stat status {};
    ASSERT_EQ(::stat(file_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(ExportTest, ExistingFileIsNotTouched) {
    write_file(file_, "precious");
    const auto status = write_config_db(file_, unusual_tree());
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Errno::Exists);
    EXPECT_THAT(status.error().detail, HasSubstr(file_));
    EXPECT_EQ(test::read_file(file_), "precious");
    EXPECT_THAT(names_in(directory_.path()), ElementsAre("config.db"));
}

TEST_F(ExportTest, DanglingLinkIsAnExistingFile) {
    std::filesystem::create_symlink("nowhere", file_);
    EXPECT_EQ(write_config_db(file_, unusual_tree()).error().code, Errno::Exists);
    EXPECT_THAT(names_in(directory_.path()), ElementsAre("config.db"));
}

TEST_F(ExportTest, LogOfAnOlderDatabaseIsRefused) {
    for (const char* suffix : {"-wal", "-journal"}) {
        write_file(file_ + suffix, "old");
        const auto status = write_config_db(file_, unusual_tree());
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error().code, Errno::Exists);
        EXPECT_THAT(status.error().detail, HasSubstr(file_ + suffix));
        std::filesystem::remove(file_ + suffix);
    }
}

TEST_F(ExportTest, LeftoverOfACrashDoesNotDisturb) {
    write_file(file_ + ".tmp-aaaaaa", "half");
    write_file(file_ + ".tmp-aaaaaa-journal", "half");
    write(unusual_tree());
    expect_equal(read(file_), unusual_tree());
    EXPECT_EQ(test::read_file(file_ + ".tmp-aaaaaa"), "half");
}

TEST_F(ExportTest, MissingDirectoryFails) {
    const auto status = write_config_db(directory_.file("missing/config.db"), unusual_tree());
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Errno::InputOutput);
}

TEST_F(ExportTest, TreeThatBreaksTheTableLeavesNothing) {
    auto tree = unusual_tree();
    tree.entries.push_back(tree.entries.back());
    const auto status = write_config_db(file_, tree);
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error().detail, HasSubstr("UNIQUE"));
    EXPECT_THAT(names_in(directory_.path()), IsEmpty());
}

TEST_F(ExportTest, FailingWriteLeavesNothing) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit old{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
    const rlimit small{64 * 1024, old.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto status = write_config_db(file_, unusual_tree());
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Errno::InputOutput);
    EXPECT_THAT(names_in(directory_.path()), IsEmpty());
}

}  // namespace
}  // namespace cfsgate::store
