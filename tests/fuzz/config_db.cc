// SPDX-License-Identifier: Apache-2.0
// The importer: any bytes as a config.db. What it lets pass is a tree that nobody finds wrong.
#include "store/config_db/config_db.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "store/saved_tree.h"
#include "tests/fuzz/expect.h"
#include "tests/support/store_directory.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cfsgate;
    using fuzz::expect;
    // SQLite follows links, so a file without a name is none to it.
    static const test::TempDirectory folder;
    static const std::string file = folder.file("config.db");
    test::write_file(file, {reinterpret_cast<const char*>(data), size});
    auto database = store::read_config_db(file);
    if (!database) {
        expect(!database.error().detail.empty(), "a refusal says why");
        return 0;
    }
    store::SavedTree tree{database->head, {}, database->entries};
    expect(store::mend_tree(tree).nothing(), "what is imported needs no mending");
    expect(tree.entries == database->entries, "and is in order");
    return 0;
}
