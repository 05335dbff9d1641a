// SPDX-License-Identifier: Apache-2.0
#include "store/model/index.h"

#include <gtest/gtest.h>

#include "store/model/digest.h"
#include "tests/support/vectors.h"

namespace cfsgate {
namespace {

Index index_of(const std::vector<Entry>& entries) {
    Index index;
    const Inode& root = entries.at(0).inode;
    index.head = {root.version, root.writer, root.mtime};
    index.last_inode = entries.back().inode.number;
    for (const Entry& entry : entries) {
        index.entries.push_back({entry.inode.number, index_digest(entry.inode, entry.content)});
    }
    return index;
}

class IndexVectorTest : public testing::TestWithParam<const char*> {
protected:
    const nlohmann::json tree_ = test::load_vectors(GetParam());
    const Index index_ = index_of(test::vector_entries(tree_));
    const std::string bytes_ = test::from_hex(tree_.at("index_hex").get<std::string>());
};

TEST_P(IndexVectorTest, Encodes) {
    EXPECT_EQ(test::to_hex(encode_index(index_)), test::to_hex(bytes_));
}

TEST_P(IndexVectorTest, Decodes) {
    const auto decoded = decode_index(bytes_);
    ASSERT_TRUE(decoded) << decoded.error().detail;
    EXPECT_EQ(*decoded, index_);
    const auto& expected = tree_.at("index");
    EXPECT_EQ(decoded->head.version.value(), expected.at("version").get<std::uint64_t>());
    EXPECT_EQ(decoded->last_inode.value(), expected.at("last_inode").get<std::uint64_t>());
    EXPECT_EQ(decoded->head.writer.value(), expected.at("writer").get<std::uint32_t>());
    EXPECT_EQ(decoded->head.mtime, expected.at("mtime").get<std::uint32_t>());
    EXPECT_EQ(decoded->entries.size(), expected.at("size").get<std::size_t>());
}

TEST_P(IndexVectorTest, EveryPrefixIsABadMessage) {
    for (std::size_t size = 0; size < bytes_.size(); ++size) {
        const auto decoded = decode_index(bytes_.substr(0, size));
        ASSERT_FALSE(decoded) << size;
        EXPECT_EQ(decoded.error().code, Errno::BadMessage);
    }
}

INSTANTIATE_TEST_SUITE_P(Vectors, IndexVectorTest,
                         testing::Values("tree-basic.json", "tree-fresh.json"));

constexpr std::size_t kCountOffset = 24;
constexpr std::size_t kTotalOffset = 28;

Index sample() {
    Index index;
    index.head = {Version(9), NodeId(2), 1700000000};
    index.last_inode = InodeNumber(1ULL << 63);
    index.entries = {{InodeNumber(0), {}}, {InodeNumber(5), {}}, {InodeNumber(1ULL << 63), {}}};
    return index;
}

void expect_refused(const std::string& bytes) {
    const auto decoded = decode_index(bytes);
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().code, Errno::BadMessage);
}

TEST(IndexTest, InodesAreUnsigned) {
    const auto decoded = decode_index(encode_index(sample()));
    ASSERT_TRUE(decoded) << decoded.error().detail;
    EXPECT_EQ(*decoded, sample());
}

TEST(IndexTest, WrongCountIsRefused) {
    const auto good = encode_index(sample());
    for (const char count : {'\0', '\2', '\4', '\xff'}) {
        auto bytes = good;
        bytes[kCountOffset] = count;
        expect_refused(bytes);
    }
}

TEST(IndexTest, LargestCountIsRefusedBeforeMemoryIsTaken) {
    auto bytes = encode_index(sample());
    bytes.replace(kCountOffset, 4, "\xff\xff\xff\xff");
    expect_refused(bytes);
    bytes.replace(kTotalOffset, 4, "\xff\xff\xff\xff");
    expect_refused(bytes);
}

TEST(IndexTest, WrongTotalIsRefused) {
    const auto good = encode_index(sample());
    for (const int change : {-40, -1, 1, 40}) {
        auto bytes = good;
        bytes[kTotalOffset] = static_cast<char>(bytes[kTotalOffset] + change);
        expect_refused(bytes);
    }
}

TEST(IndexTest, BytesLeftOverAreRefused) {
    expect_refused(encode_index(sample()) + '\0');
    expect_refused(encode_index(sample()) + std::string(40, '\xff'));
}

TEST(IndexTest, CountAndTotalMustAgreeWithEachOther) {
    // The blob is as long as its total says, but holds one byte more than its entries need.
    auto bytes = encode_index(sample()) + '\0';
    bytes[kTotalOffset] = static_cast<char>(bytes[kTotalOffset] + 1);
    expect_refused(bytes);
}

TEST(IndexTest, InodesMustAscend) {
    auto index = sample();
    index.entries[1].inode = InodeNumber(0);
    expect_refused(encode_index(index));
    index = sample();
    std::swap(index.entries[1], index.entries[2]);
    expect_refused(encode_index(index));
}

TEST(IndexTest, HundredFiles) {
    const auto expected = test::load_vectors("tree-100files.json");
    Index index;
    index.head = {Version(201), NodeId(0), 1234};
    index.last_inode = InodeNumber(200);
    Inode root;
    root.type = EntryType::Directory;
    root.version = index.head.version;
    root.mtime = 1234;
    index.entries.push_back({root.number, index_digest(root, {})});
    const std::string content(32768, '\0');
    for (std::uint64_t i = 0; i < 100; ++i) {
        Inode inode;
        inode.number = InodeNumber(2 + 2 * i);
        inode.version = Version(3 + 2 * i);
        inode.mtime = 1234;
        inode.size = 32768;
        inode.name = "testfile" + std::to_string(i);
        index.entries.push_back({inode.number, index_digest(inode, content)});
    }
    EXPECT_EQ(to_hex(Sha256::of(encode_index(index))), expected["index_sha256"].get<std::string>());
}

}  // namespace
}  // namespace cfsgate
