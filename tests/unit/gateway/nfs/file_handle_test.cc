// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/file_handle.h"

#include <gtest/gtest.h>

#include "store/base/crc32c.h"
#include "tests/support/vectors.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::uint64_t kFileSystem = 0x1122334455667788;

Errno code_of(const std::string& bytes, std::uint64_t file_system = kFileSystem) {
    const auto id = decode_handle(bytes, file_system);
    EXPECT_FALSE(id.has_value()) << id->value();
    return id ? Errno::TryAgain : id.error().code;
}

/// The handle with the checksum that belongs to its bytes.
std::string resealed(std::string bytes) {
    const std::uint32_t crc = Crc32c::of(std::string_view(bytes).substr(0, 20));
    for (std::size_t i = 0; i < 4; ++i) bytes[20 + i] = static_cast<char>(crc >> (8 * i));
    return bytes;
}

TEST(FileHandleTest, RoundTrip) {
    for (const std::uint64_t id : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1} << 40,
                                   kVirtualIdBase, kVirtualIdBase + 1023, UINT64_MAX}) {
        const std::string handle = encode_handle(kFileSystem, FileId(id));
        EXPECT_EQ(handle.size(), kHandleBytes);
        EXPECT_EQ(decode_handle(handle, kFileSystem).value(), FileId(id));
    }
}

TEST(FileHandleTest, TheBytesAreFrozen) {
    EXPECT_EQ(test::to_hex(encode_handle(kFileSystem, FileId(0x0102030405060708))),
              "01000000"
              "8877665544332211"
              "0807060504030201"
              "fbe4d60f");
}

TEST(FileHandleTest, EveryFlippedBitIsFound) {
    const std::string handle = encode_handle(kFileSystem, FileId(4711));
    for (std::size_t at = 0; at < handle.size(); ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string flipped = handle;
            flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
            EXPECT_EQ(code_of(flipped), Errno::BadMessage) << at << " " << bit;
        }
    }
}

TEST(FileHandleTest, EveryPrefixAndEveryLongerHandleIsRefused) {
    const std::string handle = encode_handle(kFileSystem, FileId(4711));
    for (std::size_t size = 0; size < handle.size(); ++size) {
        EXPECT_EQ(code_of(handle.substr(0, size)), Errno::BadMessage) << size;
    }
    EXPECT_EQ(code_of(handle + '\0'), Errno::BadMessage);
    EXPECT_EQ(code_of(handle + handle), Errno::BadMessage);
    EXPECT_EQ(code_of(handle + std::string(40, 'x')), Errno::BadMessage);
}

TEST(FileHandleTest, OfAnotherFileSystemItIsStale) {
    EXPECT_EQ(code_of(encode_handle(kFileSystem + 1, FileId(7))), Errno::StaleHandle);
    EXPECT_EQ(code_of(encode_handle(kFileSystem, FileId(7)), kFileSystem ^ (1ULL << 63)),
              Errno::StaleHandle);
}

TEST(FileHandleTest, AnotherFormatIsRefusedEvenWithARightChecksum) {
    const std::string handle = encode_handle(kFileSystem, FileId(7));
    ASSERT_EQ(resealed(handle), handle);
    for (std::size_t at = 0; at < 4; ++at) {
        std::string other = handle;
        other[at] = 2;
        EXPECT_EQ(code_of(resealed(other)), Errno::BadMessage) << at;
    }
}

// The root's number in the tree is 0; shown it is 1, and by any other number what is true of the
// root alone would not hold.
TEST(FileHandleTest, NoEntryIsShownUnderZero) {
    EXPECT_EQ(code_of(encode_handle(kFileSystem, FileId(0))), Errno::BadMessage);
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
