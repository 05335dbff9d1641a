// SPDX-License-Identifier: Apache-2.0
// The reader of snapshots: the bytes as they are, and the bytes with the checksum that fits them.
#include "store/snapshot.h"

#include <cstdint>
#include <string>

#include "store/base/bytes.h"
#include "store/entry_codec.h"
#include "store/saved_tree.h"
#include "tests/fuzz/expect.h"

namespace {

using namespace cfsgate;
using namespace cfsgate::store;
using fuzz::expect;

void try_bytes(std::string_view bytes) {
    SavedTree tree;
    const auto header =
        decode_snapshot(bytes, "snapshot", [&](const Inode& inode, std::string_view content) {
            tree.entries.push_back({inode, std::string(content)});
            return Status();
        });
    if (!header) {
        expect(header.error().code == Errno::Corrupt, "a bad snapshot is Corrupt");
        return;
    }
    expect(header->entries == tree.entries.size(), "what is counted is handed out");
    ByteWriter out;
    for (const Entry& entry : tree.entries) put_entry(out, entry.inode, entry.content);
    const std::size_t end = bytes.size() - 32;
    const std::string_view entries = bytes.substr(end - out.bytes().size(), out.bytes().size());
    expect(entries.size() == out.bytes().size(), "entries come from the bytes");
    tree.head = header->head;
    mend_tree(tree);
    expect(mend_tree(tree).nothing(), "what is mended is well");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string bytes(reinterpret_cast<const char*>(data), size);
    try_bytes(bytes);
    for (const unsigned char byte : Sha256::of(bytes)) bytes.push_back(static_cast<char>(byte));
    try_bytes(bytes);
    return 0;
}
