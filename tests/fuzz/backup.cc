// SPDX-License-Identifier: Apache-2.0
// The reader of backups: the bytes as they are, and the bytes with the checksum that fits them; and
// what recovery makes of the tree.
#include "store/backup.h"

#include <cstdint>
#include <string>

#include "store/recover.h"
#include "tests/fuzz/expect.h"

namespace {

using namespace cfsgate;
using namespace cfsgate::store;
using fuzz::expect;

void try_bytes(std::string_view bytes) {
    const auto backup = decode_backup(bytes, "backup");
    if (!backup) {
        expect(backup.error().code == Errno::Corrupt, "a bad backup is Corrupt");
        return;
    }
    const auto again = decode_backup(encode_backup(*backup), "backup");
    expect(again && again->tree.entries == backup->tree.entries, "a backup comes back");
    cluster_of(backup->tree);
    SavedTree tree = backup->tree;
    mend_tree(tree);
    const auto renamed = rename_node(tree, backup->header.node, "host", 1700000000);
    if (!renamed) expect(renamed.error().code != Errno::Corrupt, "a refusal is one");
    files_that_name(tree, backup->header.node);
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
