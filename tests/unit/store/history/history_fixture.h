// SPDX-License-Identifier: Apache-2.0
// A store with a past, and short words for looking at that.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "store/history/history.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::store {

/// Every entry by its path: what it is, what it holds, and its time.
using Listing = std::map<std::string, std::string>;

inline Listing listing_of(const ReadView& view) {
    Listing listing;
    test::take(view.for_each([&](const Inode& inode, std::string_view content) -> Status {
        if (inode.number == kRootInode) return {};
        const std::string path = test::take(view.path_of(inode.number));
        listing[path] = (inode.is_directory() ? "directory" : "file " + std::string(content)) +
                        " " + std::to_string(inode.mtime);
        return {};
    }));
    return listing;
}

class HistoryTest : public testing::Test {
protected:
    HistoryTest() {
        directory.options.boot_id = system_boot_id;
        store = directory.open();
    }

    Version apply(const Operation& operation, std::uint32_t time = 1700000000) {
        const Applied applied = test::apply_alone(*store, operation, {NodeId(3), time});
        EXPECT_TRUE(applied.ok) << to_string(applied.error);
        return applied.version;
    }
    void put(const std::string& path, const std::string& content, std::uint32_t time = 1700000000) {
        if (!test::exists_in(*store, path)) apply(CreateFile{path}, time);
        apply(WriteFile{path, content, 0, true}, time);
    }
    Sequence last() const { return store->journal_status().appended; }
    Listing now() const { return listing_of(*test::take(store->read())); }

    History history() const { return test::take(History::open(directory.path())); }
    Listing at(const Position& position) const {
        const auto past = history();
        const auto tree = test::take(past.tree_at(test::take(past.locate(position))));
        return listing_of(*test::take(tree->read()));
    }
    /// The files of the state directory that have these bytes in them.
    std::vector<std::string> holders(const std::string& secret) const {
        std::vector<std::string> names = directory.files("");
        std::erase_if(names, [&](const std::string& name) {
            return !std::filesystem::is_regular_file(directory.file(name)) ||
                   test::read_file(directory.file(name)).find(secret) == std::string::npos;
        });
        return names;
    }
    /// A new store with small files, so that they come and go.
    void begin_anew(std::uint64_t segment_bytes, std::uint64_t snapshot_after_bytes,
                    std::uint64_t keep_bytes) {
        store.reset();
        for (const std::string& name : directory.files("")) {
            std::filesystem::remove_all(directory.file(name));
        }
        directory.options.segment_bytes = segment_bytes;
        directory.options.snapshot_after_bytes = snapshot_after_bytes;
        directory.options.journal_keep_bytes = keep_bytes;
        store = directory.open();
    }
    void restart(bool power_cut = false) {
        store.reset();
        EXPECT_EQ(directory.findings(), "");
        if (power_cut) directory.pretend_power_cut();
        store = directory.open();
    }

    test::StoreDirectory directory;
    std::unique_ptr<Store> store;
};

}  // namespace cfsgate::store
