// SPDX-License-Identifier: Apache-2.0
#include "replication/purge_message.h"

#include <gtest/gtest.h>

#include "replication/tree_applier.h"
#include "store/model/limits.h"
#include "tests/support/store_directory.h"

namespace cfsgate::replication {
namespace {

using test::take;

TEST(PurgeMessage, IsADeleteOfANameThatNobodyCanCreate) {
    const Operation message = purge_message("priv/key");
    ASSERT_TRUE(std::holds_alternative<Delete>(message));
    EXPECT_EQ(std::get<Delete>(message).path, "../cfsgate-purge/priv/key");
    EXPECT_EQ(purge_path_of(message), "priv/key");
}

TEST(PurgeMessage, EverythingElseIsNone) {
    const std::vector<Operation> others{
        Delete{"../cfsgate-sync"},           Delete{"../cfsgate-purge"},
        Delete{"cfsgate-purge/x"},           Delete{"/../cfsgate-purge/x"},
        Delete{"a/../cfsgate-purge/x"},      CreateFile{"../cfsgate-purge/x"},
        MakeDirectory{"../cfsgate-purge/x"}, Rename{"../cfsgate-purge/x", "y"},
    };
    for (const Operation& other : others) EXPECT_FALSE(purge_path_of(other));
    EXPECT_EQ(purge_path_of(Delete{"../cfsgate-purge/"}), "");
    EXPECT_EQ(purge_path_of(Delete{"../cfsgate-purge//x"}), "/x");
}

TEST(PurgeMessage, GoodPaths) {
    const std::string name(limits::kNameBytesMax, 'n');
    std::string longest = name;
    while (longest.size() + 1 + name.size() <= limits::kPathBytesMax) longest += "/" + name;
    for (const std::string& path :
         {std::string("a"), std::string("priv/key"), std::string("..."), std::string("a/.b/c..d"),
          std::string("\xc3\xa4 b"), name, longest}) {
        EXPECT_TRUE(check_purge_path(path)) << path;
    }
}

TEST(PurgeMessage, BadPaths) {
    for (const std::string& path :
         {std::string(), std::string("/"), std::string("."), std::string(".."), std::string("./a"),
          std::string("a/.."), std::string("a/../b"), std::string("a/./b"), std::string("/a"),
          std::string("a/"), std::string("a//b"), std::string("a\nb"), std::string("a\x7f"),
          std::string("a\0b", 3)}) {
        const Status good = check_purge_path(path);
        ASSERT_FALSE(good) << path;
        EXPECT_EQ(good.error().code, Errno::Invalid) << path;
    }
    const std::string name(limits::kNameBytesMax + 1, 'n');
    std::string path = "a";
    while (path.size() <= limits::kPathBytesMax) path += "/a";
    for (const std::string& one : {name, "a/" + name + "/b", path}) {
        const Status good = check_purge_path(one);
        ASSERT_FALSE(good);
        EXPECT_EQ(good.error().code, Errno::NameTooLong);
    }
}

OrderedChange ordered(Operation operation, bool own = false) {
    OrderedChange change;
    change.what.operation = std::move(operation);
    change.what.from = {NodeId(2), 77};
    change.what.time = 1700000000;
    if (own) change.what.own_count = 5;
    return change;
}

TEST(PurgeMessage, IsToldOnceDeliveredAndChangesNothing) {
    const test::StoreDirectory directory;
    const auto store = directory.open();
    test::apply_alone(*store, MakeDirectory{"priv"});
    test::apply_alone(*store, CreateFile{"priv/key"});
    const auto records = store->journal_status().appended;
    const auto version = take(store->read())->head().version;
    const std::string checksum = test::checksum_of(*store);
    std::vector<std::pair<std::string, NodeId>> told;
    TreeApplier::Listener listener;
    listener.purge_ordered = [&](std::string_view path, NodeId from) {
        told.emplace_back(path, from);
    };
    TreeApplier applier(*store, listener, null_logger());
    std::vector<OrderedChange> changes;
    changes.push_back(ordered(purge_message("priv/key")));
    changes.push_back(ordered(purge_message("not/../normalised")));
    changes.push_back(ordered(purge_message("")));
    changes.push_back(ordered(purge_message("own"), true));
    changes.push_back(ordered(Delete{"../cfsgate-sync"}));
    take(applier.apply(changes));
    for (const OrderedChange& change : changes) {
        ASSERT_FALSE(change.result);
        EXPECT_EQ(change.result.error().code, Errno::NotFound);
    }
    using Told = std::pair<std::string, NodeId>;
    EXPECT_EQ(told,
              (std::vector<Told>{
                  {"priv/key", NodeId(2)}, {"not/../normalised", NodeId(2)}, {"", NodeId(2)}}));
    EXPECT_EQ(store->journal_status().appended, records);
    EXPECT_EQ(take(store->read())->head().version, version);
    EXPECT_EQ(test::checksum_of(*store), checksum);
}

}  // namespace
}  // namespace cfsgate::replication
