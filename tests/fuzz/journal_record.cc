// SPDX-License-Identifier: Apache-2.0
// One journal record's payload, both kinds. What decodes encodes to the same bytes, and is applied
// or refused without harm to the tree.
#include "store/journal_record.h"

#include <cstdint>
#include <memory>
#include <string>

#include "store/replay.h"
#include "store/scratch_tree.h"
#include "tests/fuzz/expect.h"

namespace {

using namespace cfsgate;
using namespace cfsgate::store;
using fuzz::expect;

/// d, d/f, nodes/a/lxc/100.conf
std::unique_ptr<ScratchTree> make_tree() {
    SavedTree tree;
    tree.head.version = Version(7);
    std::uint64_t number = 1;
    const auto add = [&](std::uint64_t parent, const std::string& name, bool directory) {
        Entry entry;
        entry.inode.number = InodeNumber(++number);
        entry.inode.parent = InodeNumber(parent);
        entry.inode.version = Version(number);
        entry.inode.type = directory ? EntryType::Directory : EntryType::File;
        entry.inode.name = name;
        entry.content = directory ? "" : "content of " + name;
        entry.inode.size = static_cast<std::uint32_t>(entry.content.size());
        tree.entries.push_back(entry);
        return number;
    };
    add(add(0, "d", true), "f", false);
    add(add(add(add(0, "nodes", true), "a", true), "lxc", true), "100.conf", false);
    auto made = ScratchTree::make(tree);
    expect(made.has_value(), "a tree to apply to");
    return std::move(*made);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string bytes(reinterpret_cast<const char*>(data), size);
    bool decoded = false;
    if (is_takeover_record(bytes)) {
        const auto record = decode_takeover_record(bytes);
        decoded = record.has_value();
        if (record) {
            const auto again = decode_takeover_record(encode_takeover_record(*record));
            expect(again && again->entries == record->entries && again->removed == record->removed,
                   "a takeover comes back");
        } else {
            expect(record.error().code == Errno::BadMessage, "a bad record is a BadMessage");
        }
    } else {
        const auto record = decode_journal_record(bytes);
        decoded = record.has_value();
        if (record) {
            const std::string once = encode_journal_record(*record);
            const auto again = decode_journal_record(once);
            expect(again && encode_journal_record(*again) == once, "a record comes back");
        } else {
            expect(record.error().code == Errno::BadMessage, "a bad record is a BadMessage");
        }
    }
    if (!decoded) return 0;
    static const std::unique_ptr<ScratchTree> scratch = make_tree();
    const auto tree = scratch->write();
    expect(tree.has_value(), "a transaction");
    if (!replay_record(**tree, bytes, [] { return 1700000000U; })) return 0;
    const auto checked = check_tree_and_tables(**tree);
    expect(checked.has_value(), "what applies leaves a tree that can be read");
    // A takeover is believed when its index fits; here that may have been switched off.
    if (is_takeover_record(bytes)) return 0;
    for (const Finding& finding : checked->findings) {
        // A replay does not judge guests again, and those who make records know what a name is.
        const bool expected = finding.what.find("is configured twice") != std::string::npos ||
                              finding.what == "has a name that cannot be";
        expect(expected, "what applies leaves a good tree");
    }
    return 0;
}
