// SPDX-License-Identifier: Apache-2.0
// The store against a model of plain maps, over every kind of restart; then single faults.
#include "store/store.h"

#include <cerrno>
#include <map>

#include <gtest/gtest.h>

#include "store/journal.h"
#include "store/model/limits.h"
#include "store/model/path.h"
#include "tests/support/prng.h"
#include "tests/support/store_directory.h"
#include "tests/support/vectors.h"

namespace cfsgate::store {
namespace {

using test::apply_alone;
using test::checksum_of;
using test::content_of;
using test::exists_in;
using test::result_of;
using test::take;

// --- The model ---

/// The rules of the operations, written down a second time in the plainest form.
class Model {
public:
    Model() {
        Entry root;
        root.inode.type = EntryType::Directory;
        root.inode.version = Version(1);
        entries_[0] = root;
    }

    int apply(const Operation& operation, const Stamp& stamp) {
        stamp_ = stamp;
        return std::visit([this](const auto& op) { return run(op); }, operation);
    }

    /// The guest list of a daemon that starts with this tree.
    void restart() {
        guests_.clear();
        list_version_ = find(0, "nodes") != nullptr ? 1 : 0;
        guest_version_ = 0;
        for (const auto& [number, entry] : entries_) {
            const std::string path = path_of(number);
            const auto guest = parse_guest_path(path);
            if (guest && !entry.inode.is_directory()) add_guest(*guest);
        }
        if (list_version_ != 0) list_version_ = 1;
    }

    const std::map<std::uint64_t, Entry>& entries() const { return entries_; }
    std::uint64_t version() const { return entries_.at(0).inode.version.value(); }
    const std::map<std::uint32_t, Guest>& guests() const { return guests_; }
    std::uint32_t list_version() const { return list_version_; }

    Index index() const {
        Index index;
        const Inode& root = entries_.at(0).inode;
        index.head = {root.version, root.writer, root.mtime};
        for (const auto& [number, entry] : entries_) {
            index.entries.push_back(
                {InodeNumber(number), index_digest(entry.inode, entry.content)});
        }
        index.last_inode = index.entries.back().inode;
        return index;
    }
    Digest tree_checksum() const {
        Sha256 sum;
        for (const auto& [number, entry] : entries_) {
            add_to_tree_checksum(sum, entry.inode, entry.content);
        }
        return sum.finish();
    }
    std::string path_of(std::uint64_t number) const {
        std::string path;
        for (; number != 0; number = entries_.at(number).inode.parent.value()) {
            const std::string& name = entries_.at(number).inode.name;
            path = path.empty() ? name : name + "/" + path;
        }
        return path;
    }

private:
    Entry* find(std::uint64_t parent, std::string_view name) {
        for (auto& [number, entry] : entries_) {
            if (number != 0 && entry.inode.parent.value() == parent && entry.inode.name == name) {
                return &entry;
            }
        }
        return nullptr;
    }
    Entry* resolve(std::string_view path) {
        Entry* at = &entries_.at(0);
        for (const auto component : path_components(path)) {
            at = find(at->inode.number.value(), component);
            if (at == nullptr) return nullptr;
        }
        return at;
    }
    bool has_children(const Entry& entry) const {
        for (const auto& [number, other] : entries_) {
            if (number != 0 && other.inode.parent == entry.inode.number) return true;
        }
        return false;
    }
    static std::string name_of(std::string_view path) { return std::string(split_path(path).name); }
    /// 0, or why nothing can be at `path`.
    int check_parent(std::string_view path) {
        const Entry* parent = resolve(split_path(path).directory);
        if (parent == nullptr) return -ENOENT;
        return parent->inode.is_directory() ? 0 : -ENOTDIR;
    }
    int check_place(std::string_view path) {
        if (const int result = check_parent(path)) return result;
        const std::string name = name_of(path);
        return name.empty() || name == "." || name == ".." ? -EACCES : 0;
    }
    bool is_taken(std::string_view path) const {
        const auto guest = parse_guest_path(path);
        if (!guest) return false;
        const auto known = guests_.find(guest->vmid);
        return known != guests_.end() &&
               (known->second.node != guest->node || known->second.type != guest->type);
    }
    void add_guest(const GuestPath& path) {
        guests_[path.vmid] = {std::string(path.node), path.type, ++guest_version_};
        ++list_version_;
    }
    void register_guest(std::string_view path) {
        if (const auto guest = parse_guest_path(path)) add_guest(*guest);
    }
    void drop_guest(std::string_view path) {
        if (const auto guest = parse_guest_path(path)) {
            guests_.erase(guest->vmid);
            ++list_version_;
        }
    }
    Version bump(std::uint32_t time) {
        Inode& root = entries_.at(0).inode;
        root.version = Version(root.version.value() + 1);
        stamp(root, time);
        return root.version;
    }
    void stamp(Inode& inode, std::uint32_t time) const {
        inode.version = entries_.at(0).inode.version;
        inode.writer = stamp_.node;
        inode.mtime = time;
    }
    int add(std::string_view path, EntryType type) {
        Entry entry;
        entry.inode.parent = resolve(split_path(path).directory)->inode.number;
        entry.inode.number = InodeNumber(bump(stamp_.time).value());
        entry.inode.type = type;
        entry.inode.name = name_of(path);
        stamp(entry.inode, stamp_.time);
        entries_[entry.inode.number.value()] = entry;
        return 0;
    }

    int run(const CreateFile& op) {
        if (const int result = check_place(op.path)) return result;
        if (is_taken(op.path)) return -EEXIST;
        if (const Entry* entry = resolve(op.path)) {
            return entry->inode.is_directory() ? -ENOTDIR : -EEXIST;
        }
        add(op.path, EntryType::File);
        register_guest(op.path);
        return 0;
    }
    int run(const MakeDirectory& op) {
        if (const int result = check_place(op.path)) return result;
        if (resolve(op.path) != nullptr) return -EEXIST;
        return add(op.path, EntryType::Directory);
    }
    int run(const WriteFile& op) {
        const std::size_t end = op.offset + op.data.size();
        if (end > 1048576) return -EFBIG;
        if (const int result = check_place(op.path)) return result;
        if (is_taken(op.path)) return -EEXIST;
        Entry* entry = resolve(op.path);
        if (entry == nullptr) return -ENOENT;
        if (entry->inode.is_directory()) return -ENOTDIR;
        bump(stamp_.time);
        stamp(entry->inode, stamp_.time);
        const bool unbacked =
            entry->inode.size == 0 && op.data.empty() && op.truncate && op.offset > 0;
        std::string& content = entry->content;
        if (entry->inode.unbacked) content.assign(entry->inode.size, '\0');
        if (content.size() < end || op.truncate) content.resize(end, '\0');
        for (std::size_t i = 0; i < op.data.size(); ++i) content[op.offset + i] = op.data[i];
        entry->inode.size = static_cast<std::uint32_t>(content.size());
        entry->inode.unbacked = unbacked;
        if (unbacked) content.clear();
        register_guest(op.path);
        return static_cast<int>(op.data.size());
    }
    int run(const Delete& op) {
        const Entry* entry = resolve(op.path);
        if (entry == nullptr) return -ENOENT;
        if (entry->inode.number == kRootInode) return -EACCES;
        if (has_children(*entry)) return -ENOTEMPTY;
        if (!entry->inode.is_directory()) drop_guest(op.path);
        entries_.erase(entry->inode.number.value());
        bump(stamp_.time);
        return 0;
    }
    int run(const Rename& op) {
        Entry* source = resolve(op.path);
        if (source == nullptr) return -ENOENT;
        if (source->inode.number == kRootInode) return -EACCES;
        const bool is_directory = source->inode.is_directory();
        const auto from = parse_guest_path(op.path);
        const auto to = parse_guest_path(op.target);
        const bool same_vmid = from && to && from->vmid == to->vmid;
        if (!is_directory && is_taken(op.target) && !same_vmid) return -EEXIST;
        if (is_directory && op.path.starts_with("priv/lock/")) return -EACCES;
        const Entry* target = resolve(op.target);
        if (target != nullptr) {
            if (target->inode.number == kRootInode) return -EACCES;
            if (has_children(*target)) return -ENOTEMPTY;
        } else if (const int result = check_place(op.target)) {
            return result;
        }
        if (has_children(*source)) return -ENOTEMPTY;
        const InodeNumber directory = resolve(split_path(op.target).directory)->inode.number;
        if (directory == source->inode.number) return -EINVAL;
        bump(stamp_.time);
        if (target != nullptr && target != source) entries_.erase(target->inode.number.value());
        source->inode.parent = directory;
        source->inode.name = name_of(op.target);
        stamp(source->inode, stamp_.time);
        if (!is_directory) {
            drop_guest(op.path);
            register_guest(op.target);
        }
        return 0;
    }
    int run(const SetMtime& op) {
        if (const int result = check_place(op.path)) return result;
        Entry* entry = resolve(op.path);
        if (entry == nullptr) return -ENOENT;
        const bool is_lock =
            entry->inode.is_directory() && split_path(op.path).directory == "priv/lock";
        if (is_lock && (op.mtime < entry->inode.mtime || stamp_.node != entry->inode.writer)) {
            return -EACCES;
        }
        bump(op.mtime);
        stamp(entry->inode, op.mtime);
        return 0;
    }
    int run(const Unlock& op) {
        const Entry* entry = resolve(op.path);
        const bool fits = entry != nullptr && entry->inode.is_directory() &&
                          op.path.starts_with("priv/lock/") &&
                          entry_checksum(entry->inode, {}) == op.checksum;
        return fits ? run(Delete{op.path}) : 0;
    }

    std::map<std::uint64_t, Entry> entries_;
    std::map<std::uint32_t, Guest> guests_;
    std::uint32_t list_version_ = 0;
    std::uint32_t guest_version_ = 0;
    Stamp stamp_;
};

/// Operations that often meet: few names, and those that have rules of their own.
class Choice {
public:
    Choice(test::Prng& prng, const Model& model) : prng_(prng), model_(model) {}

    Operation operation() {
        switch (prng_.below(12)) {
            case 0:
            case 1: return CreateFile{path()};
            case 2:
            case 3: return MakeDirectory{path()};
            case 4:
            case 5:
            case 6: return write();
            case 7: return Delete{path()};
            case 8:
            case 9: return Rename{path(), path()};
            case 10:
                return SetMtime{path(), static_cast<std::uint32_t>(prng_.below(2) * 1800000000)};
            default: return unlock();
        }
    }

private:
    std::string path() {
        static const std::vector<std::string> names = {"a",
                                                       "b",
                                                       "nodes",
                                                       "nodes/n1",
                                                       "nodes/n2",
                                                       "nodes/n1/lxc",
                                                       "nodes/n2/lxc",
                                                       "nodes/n1/qemu-server",
                                                       "priv",
                                                       "priv/lock",
                                                       "priv/lock/l",
                                                       "priv/lock/m",
                                                       "nodes/n1/lxc/100.conf",
                                                       "nodes/n2/lxc/100.conf",
                                                       "nodes/n1/qemu-server/100.conf",
                                                       "nodes/n1/lxc/101.conf",
                                                       "nodes/n2/lxc/101.conf",
                                                       "user.cfg",
                                                       std::string(255, 'x'),
                                                       std::string(600, 'y'),
                                                       std::string(600, 'y') + "z"};
        static const std::vector<std::string> odd = {"",     "/",   ".",   "..",
                                                     "a/..", "a/.", "b//", "missing/x"};
        if (prng_.one_in(20)) return prng_.pick(odd);
        if (prng_.one_in(2)) return prng_.pick(names);
        return prng_.one_in(2) ? existing() : join_path(existing(), prng_.pick(names));
    }
    std::string existing() {
        auto at = model_.entries().begin();
        std::advance(at, static_cast<std::ptrdiff_t>(prng_.below(model_.entries().size())));
        return model_.path_of(at->first);
    }
    WriteFile write() {
        static const std::vector<std::size_t> sizes = {0,    1,    10,   100,  1023,
                                                       1024, 1025, 5000, 40000};
        WriteFile op{prng_.one_in(3) ? path() : existing(), {}, 0, prng_.one_in(2)};
        if (!prng_.one_in(4)) {
            op.data.assign(prng_.pick(sizes), static_cast<char>('a' + prng_.below(26)));
        }
        if (prng_.one_in(2)) op.offset = static_cast<std::uint32_t>(prng_.pick(sizes));
        if (prng_.one_in(50)) op.offset = limits::kFileBytesMax;
        return op;
    }
    Unlock unlock() {
        Unlock op{path(), {}};
        for (const auto& [number, entry] : model_.entries()) {
            if (number == 0 || !prng_.one_in(3)) continue;
            op = {model_.path_of(number), entry_checksum(entry.inode, {})};
        }
        return op;
    }

    test::Prng& prng_;
    const Model& model_;
};

void expect_same(const Store& store, const Model& model) {
    const auto view = take(store.read());
    std::uint64_t bytes = 0;
    auto expected = model.entries().begin();
    take(view->for_each([&](const Inode& inode, std::string_view content) -> Status {
        if (expected == model.entries().end()) return fail(Errno::Corrupt, "more entries");
        EXPECT_EQ(inode, expected->second.inode);
        EXPECT_EQ(content, expected->second.content) << inode.name;
        bytes += inode.size;
        ++expected;
        return {};
    }));
    EXPECT_EQ(expected, model.entries().end());
    EXPECT_EQ(view->usage().entries, model.entries().size());
    EXPECT_EQ(view->usage().content_bytes, bytes);
    for (const auto& [number, entry] : model.entries()) {
        EXPECT_EQ(take(view->resolve(model.path_of(number))).value(), number);
        EXPECT_EQ(take(view->path_of(InodeNumber(number))), model.path_of(number));
    }
    EXPECT_EQ(take(store.index()), model.index());
    EXPECT_EQ(take(store.tree_checksum()), model.tree_checksum());
    const auto listing = store.guests().list();
    EXPECT_EQ(listing.version, model.list_version());
    ASSERT_EQ(listing.guests.size(), model.guests().size());
    for (const auto& [vmid, guest] : model.guests()) {
        EXPECT_EQ(listing.guests.at(vmid).node, guest.node);
        EXPECT_EQ(listing.guests.at(vmid).type, guest.type);
        EXPECT_EQ(listing.guests.at(vmid).version, guest.version);
    }
    EXPECT_TRUE(take(check_tree(*view)).findings.empty());
}

class StoreModelTest : public testing::TestWithParam<std::uint64_t> {
protected:
    StoreModelTest() {
        // Small enough that segments and snapshots come and go all the time.
        directory.options.segment_bytes = 16ULL << 10;
        directory.options.snapshot_after_bytes = 48ULL << 10;
        directory.options.journal_keep_bytes = 64ULL << 10;
        directory.options.boot_id = system_boot_id;
    }

    void restart() {
        const std::size_t how = prng.below(3);
        SCOPED_TRACE(how);
        if (how == 0) take(store->close());
        store.reset();
        EXPECT_EQ(directory.findings(), "");
        if (how == 2) directory.pretend_power_cut();
        auto opened = directory.try_open();
        ASSERT_TRUE(opened) << opened.error().detail;
        store = std::move(*opened);
        const StartKind kinds[] = {StartKind::Clean, StartKind::Resumed, StartKind::Rebuilt};
        EXPECT_EQ(store->start_kind(), kinds[how]);
        model.restart();
    }
    /// Up to five operations in one batch.
    void run_batch() {
        const std::size_t operations = prng.one_in(3) ? 1 + prng.below(5) : 1;
        const auto batch = take(store->begin());
        for (std::size_t i = 0; i < operations; ++i) {
            const Operation operation = Choice(prng, model).operation();
            const Stamp stamp{NodeId(static_cast<std::uint32_t>(prng.below(3))),
                              static_cast<std::uint32_t>(1700000000 + prng.below(10))};
            const Applied applied = batch->apply(operation, stamp);
            ASSERT_FALSE(applied.broken);
            ASSERT_EQ(applied.wire_result(), model.apply(operation, stamp)) << operation.index();
            ASSERT_EQ(applied.version.value(), model.version());
        }
        take(batch->commit());
    }

    test::Prng prng{GetParam()};
    test::StoreDirectory directory;
    Model model;
    std::unique_ptr<Store> store;
};

TEST_P(StoreModelTest, SameAsTheModelOverAllRestarts) {
    std::printf("seed %llu\n", static_cast<unsigned long long>(GetParam()));
    store = directory.open();
    for (int step = 0; step < 400 && !HasFailure(); ++step) {
        SCOPED_TRACE("step " + std::to_string(step));
        run_batch();
        expect_same(*store, model);
        if (prng.one_in(25)) {
            restart();
            if (HasFatalFailure()) return;
            expect_same(*store, model);
        }
        if (prng.one_in(60)) take(store->write_snapshot());
    }
    EXPECT_GT(store->journal_status().appended.value(), 100U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, StoreModelTest, testing::Values(1, 2, 3, 4, 5));

// --- Restarts and damage ---

class StoreTest : public testing::Test {
protected:
    StoreTest() { directory.options.boot_id = system_boot_id; }

    static std::string name(int i) { return "f" + std::to_string(i); }
    /// Files with some content, one record for each; returns the checksum.
    std::string fill(int first, int count, std::size_t bytes = 10) {
        auto store = directory.open();
        for (int i = first; i < first + count; ++i) {
            EXPECT_EQ(result_of(*store, CreateFile{name(i)}), 0);
            EXPECT_EQ(result_of(*store, WriteFile{name(i), std::string(bytes, 'x'), 0, false}),
                      static_cast<int>(bytes));
        }
        return checksum_of(*store);
    }
    std::string segment(std::size_t i) const {
        return directory.file(directory.files("journal.").at(i));
    }

    test::StoreDirectory directory;
};

TEST_F(StoreTest, ABootThatCannotBeNamedIsNeverTheSameOne) {
    directory.options.boot_id = [] { return std::string(); };
    auto store = take(Store::open(directory.options, null_logger()));
    store.reset();
    store = take(Store::open(directory.options, null_logger()));
    EXPECT_EQ(store->start_kind(), StartKind::Rebuilt);
}

TEST_F(StoreTest, StartKinds) {
    const auto kind = [&] { return directory.open()->start_kind(); };
    EXPECT_FALSE(Store::exists(directory.path()));
    EXPECT_EQ(kind(), StartKind::Fresh);
    EXPECT_TRUE(Store::exists(directory.path()));
    EXPECT_EQ(kind(), StartKind::Resumed);
    take(directory.open()->close());
    EXPECT_EQ(kind(), StartKind::Clean);
    directory.options.boot_id = [] { return "the next boot"; };
    EXPECT_EQ(kind(), StartKind::Rebuilt);
    EXPECT_EQ(kind(), StartKind::Resumed);
    take(directory.open()->close());
    directory.options.boot_id = system_boot_id;
    EXPECT_EQ(kind(), StartKind::Clean);  // a clean stop holds over boots
}

TEST_F(StoreTest, IdentityStays) {
    const std::uint64_t id = directory.open()->file_system_id();
    EXPECT_NE(id, 0U);
    EXPECT_EQ(directory.open()->file_system_id(), id);
    directory.pretend_power_cut();
    EXPECT_EQ(directory.open()->file_system_id(), id);
}

TEST_F(StoreTest, FormerFileSystemIdsStayKnown) {
    auto store = directory.open();
    const std::uint64_t first = store->file_system_id();
    EXPECT_EQ(test::read_file(directory.file("state")).find("former"), std::string::npos);
    EXPECT_TRUE(store->is_own_file_system_id(first));
    EXPECT_FALSE(store->is_own_file_system_id(100));
    EXPECT_FALSE(store->is_own_file_system_id(0));
    const auto zero = store->set_file_system_id(0);
    ASSERT_FALSE(zero);
    EXPECT_EQ(zero.error().code, Errno::Invalid);
    for (std::uint64_t id = 100; id < 117; ++id) take(store->set_file_system_id(id));
    take(store->set_file_system_id(116));  // no other id, so nothing is pushed out
    for (const bool power_cut : {false, true}) {
        store.reset();
        if (power_cut) directory.pretend_power_cut();
        store = directory.open();
        EXPECT_EQ(store->file_system_id(), 116U);
        EXPECT_FALSE(store->is_own_file_system_id(first)) << "16 newer ones";
        for (std::uint64_t id = 100; id < 117; ++id) EXPECT_TRUE(store->is_own_file_system_id(id));
    }
    // Back to a former one.
    take(store->set_file_system_id(105));
    EXPECT_TRUE(store->is_own_file_system_id(100));
    EXPECT_TRUE(store->is_own_file_system_id(116));
    take(store->close());
    EXPECT_EQ(directory.open()->file_system_id(), 105U);
}

TEST_F(StoreTest, AnEntryForAPeerIsWhatIsStored) {
    const auto store = directory.open();
    ASSERT_EQ(result_of(*store, CreateFile{"f"}), 0);
    ASSERT_EQ(result_of(*store, WriteFile{"f", "text", 0, false}), 4);
    ASSERT_EQ(result_of(*store, CreateFile{"unbacked"}), 0);
    ASSERT_EQ(result_of(*store, WriteFile{"unbacked", "", 9, true}), 0);
    const auto view = take(store->read());
    EXPECT_EQ(take(entry_as_stored(*view, InodeNumber(2))).content, "text");
    const Entry unbacked = take(entry_as_stored(*view, test::inode_of(*store, "unbacked").number));
    EXPECT_EQ(unbacked.inode.size, 9U);
    EXPECT_EQ(unbacked.content, "");
    EXPECT_EQ(take(entry_as_stored(*view, kRootInode)).inode.version, view->head().version);
    EXPECT_EQ(entry_as_stored(*view, InodeNumber(99)).error().code, Errno::NotFound);
}

TEST_F(StoreTest, CreateFromAndOpen) {
    const auto vector = test::load_vectors("tree-basic.json");
    auto entries = test::vector_entries(vector);
    const Inode root = entries.front().inode;
    entries.erase(entries.begin());
    const TreeHead head{root.version, root.writer, root.mtime};
    take(Store::create_from(directory.options, head, entries, null_logger()));
    EXPECT_EQ(directory.findings(), "");
    for (const bool power_cut : {false, true}) {
        if (power_cut) directory.pretend_power_cut();
        const auto store = directory.open();
        EXPECT_EQ(store->start_kind(), power_cut ? StartKind::Rebuilt : StartKind::Clean);
        EXPECT_EQ(checksum_of(*store), vector["verify_checksum"]);
        EXPECT_EQ(take(store->read())->head(), head);
    }
    const auto again = Store::create_from(directory.options, head, entries, null_logger());
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, Errno::Exists);
    EXPECT_EQ(checksum_of(*directory.open()), vector["verify_checksum"]);
}

TEST_F(StoreTest, AnImportWhoseSnapshotIsLostIsNotTakenForAnEmptyTree) {
    Entry entry;
    entry.inode.number = InodeNumber(2);
    entry.inode.version = Version(2);
    entry.inode.name = "f";
    take(Store::create_from(directory.options, {Version(2), NodeId(0), 0}, {entry}, null_logger()));
    test::write_file(directory.file(directory.files("snapshot.").at(0)), "damaged");
    directory.pretend_power_cut();
    const auto store = directory.try_open();
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errno::Corrupt);
    EXPECT_NE(store.error().detail.find("snapshot"), std::string::npos) << store.error().detail;
}

TEST_F(StoreTest, ATornTailCostsTheLastRecordOnly) {
    directory.options.segment_bytes = 4096;
    const std::string before = fill(0, 3);
    const auto end_of_journal = [&] {
        const StateFile state = take(read_state_file(directory.path()));
        return take(Journal::scan_segment(directory.path(), 1, state.ids.store, nullptr)).end;
    };
    const std::uint64_t begin = end_of_journal();
    {
        const auto store = directory.open();
        ASSERT_EQ(result_of(*store, Rename{"f0", "moved"}), 0);
    }
    const std::uint64_t end = end_of_journal();
    ASSERT_GT(end, begin + 20);
    const std::string whole = test::read_file(segment(0));

    const auto expect_state_before = [&](const std::string& bytes, std::uint64_t at) {
        for (const auto& later : directory.files("journal.")) {
            std::filesystem::remove(directory.file(later));
        }
        test::write_file(Journal::segment_path(directory.path(), 1), bytes);
        directory.pretend_power_cut();
        const auto store = directory.try_open();
        ASSERT_TRUE(store) << at << ": " << store.error().detail;
        ASSERT_EQ(checksum_of(**store), before) << at;
        // And it can go on from there.
        ASSERT_EQ(result_of(**store, CreateFile{"new"}), 0) << at;
    };
    for (std::uint64_t at = begin; at < end; ++at) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x41);
        expect_state_before(damaged, at);
        std::string cut = whole;
        std::fill(cut.begin() + static_cast<std::ptrdiff_t>(at), cut.end(), '\0');
        if (cut != whole) expect_state_before(cut, at);
        if (HasFatalFailure()) return;
    }
    for (const std::uint64_t size : {begin, begin + 1, begin + 19, begin + 20, end - 1}) {
        expect_state_before(whole.substr(0, size), size);
        if (HasFatalFailure()) return;
    }
    // The whole file, for comparison, gives the state after it.
    if (directory.files("journal.").size() > 1) std::filesystem::remove(segment(1));
    test::write_file(segment(0), whole);
    directory.pretend_power_cut();
    EXPECT_NE(checksum_of(*directory.open()), before);
}

TEST_F(StoreTest, StaleRecordsBehindATornOneStayDead) {
    const StateFile state = [&] {
        fill(0, 1);
        return take(read_state_file(directory.path()));
    }();
    const std::uint64_t torn_at =
        take(Journal::scan_segment(directory.path(), 1, state.ids.store, nullptr)).end;
    const Stamp stamp{NodeId(1), 1700000009};
    {
        const auto store = directory.open();
        ASSERT_EQ(result_of(*store, CreateFile{"first"}, stamp), 0);
        ASSERT_EQ(result_of(*store, CreateFile{"stale"}, stamp), 0);
    }
    for (const bool zeroed : {false, true}) {
        SCOPED_TRACE(zeroed);
        std::string bytes = test::read_file(segment(0));
        const std::string whole = bytes;
        bytes.replace(torn_at, 20, std::string(20, zeroed ? '\0' : 'x'));
        test::write_file(segment(0), bytes);
        directory.pretend_power_cut();
        {
            const auto store = directory.open();
            ASSERT_FALSE(exists_in(*store, "first"));
            // The very same operation again: its record is the same to the byte.
            ASSERT_EQ(result_of(*store, CreateFile{"first"}, stamp), 0);
        }
        directory.pretend_power_cut();
        EXPECT_FALSE(exists_in(*directory.open(), "stale"));
        test::write_file(segment(0), whole);
    }
}

TEST_F(StoreTest, ADamagedSnapshotFallsBackToTheOlderOne) {
    fill(0, 3);
    take(directory.open()->write_snapshot());
    fill(3, 3);
    take(directory.open()->write_snapshot());
    const std::string expected = fill(6, 3);
    const auto snapshots = directory.files("snapshot.");
    ASSERT_EQ(snapshots.size(), 2U);
    std::string bytes = test::read_file(directory.file(snapshots[1]));
    bytes[bytes.size() / 2] ^= 1;
    test::write_file(directory.file(snapshots[1]), bytes);
    EXPECT_NE(directory.findings().find(snapshots[1]), std::string::npos);
    directory.pretend_power_cut();
    {
        const auto store = directory.open();
        EXPECT_EQ(store->start_kind(), StartKind::Rebuilt);
        EXPECT_EQ(checksum_of(*store), expected);
    }
    // Both damaged: the journal still holds everything from the first record on.
    test::write_file(directory.file(snapshots[0]), "nothing");
    directory.pretend_power_cut();
    EXPECT_EQ(checksum_of(*directory.open()), expected);
}

TEST_F(StoreTest, SnapshotsAndSegmentsAreBounded) {
    directory.options.segment_bytes = 4096;
    directory.options.snapshot_after_bytes = 8192;
    directory.options.journal_keep_bytes = 16384;
    {
        const auto store = directory.open();
        ASSERT_EQ(result_of(*store, CreateFile{"f"}), 0);
        for (int i = 0; i < 100; ++i) {
            ASSERT_EQ(result_of(*store, WriteFile{"f", std::string(1000, 'x'), 0, true}), 1000);
        }
        // Two that differ: the older one of them decides what may go.
        take(store->write_snapshot());
        ASSERT_EQ(result_of(*store, CreateFile{"g"}), 0);
        take(store->write_snapshot());
    }
    // Two, and one for each part of the journal that is kept.
    EXPECT_LE(directory.files("snapshot.").size(), 4U);
    EXPECT_LE(directory.files("journal.").size(), 6U);
    EXPECT_EQ(directory.findings(), "");
}

TEST_F(StoreTest, ARecordLargerThanASegment) {
    directory.options.segment_bytes = 4096;
    std::string expected;
    {
        const auto store = directory.open();
        ASSERT_EQ(result_of(*store, CreateFile{"f"}), 0);
        ASSERT_EQ(result_of(*store, WriteFile{"f", std::string(1 << 20, 'x'), 0, false}), 1 << 20);
        ASSERT_EQ(result_of(*store, CreateFile{"g"}), 0);
        expected = checksum_of(*store);
    }
    EXPECT_EQ(directory.findings(), "");
    directory.pretend_power_cut();
    EXPECT_EQ(checksum_of(*directory.open()), expected);
}

TEST_F(StoreTest, AMissingSegmentIsRefused) {
    directory.options.segment_bytes = 4096;
    fill(0, 20, 1000);
    ASSERT_GE(directory.files("journal.").size(), 4U);
    const std::string missing = segment(1);
    std::filesystem::remove(missing);
    EXPECT_NE(directory.findings().find("records are missing before it"), std::string::npos);
    directory.pretend_power_cut();
    const auto store = directory.try_open();
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errno::Corrupt);
    EXPECT_NE(store.error().detail.find("records are missing"), std::string::npos);
}

TEST_F(StoreTest, ADamagedRecordInTheMiddleIsRefused) {
    directory.options.segment_bytes = 4096;
    fill(0, 20, 1000);
    std::string bytes = test::read_file(segment(1));
    bytes[1000] ^= 1;
    test::write_file(segment(1), bytes);
    EXPECT_NE(directory.findings(), "");
    directory.pretend_power_cut();
    const auto store = directory.try_open();
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errno::Corrupt);
    EXPECT_NE(store.error().detail.find("record"), std::string::npos);
}

TEST_F(StoreTest, ADamagedHeaderOfTheLastSegmentIsRefusedWhereTheTreeIsNotTrusted) {
    directory.options.segment_bytes = 4096;
    const std::string expected = fill(0, 20, 1000);
    const std::string last = segment(directory.files("journal.").size() - 1);
    const std::string whole = test::read_file(last);
    std::string bytes = whole;
    ASSERT_NE(bytes.find_first_not_of('\0', 64), std::string::npos) << "holds no record";
    bytes[3] ^= 1;
    test::write_file(last, bytes);
    const std::string state = test::read_file(directory.file("state"));
    const std::string tree = test::read_file(directory.file("tree.mdb"));
    directory.pretend_power_cut();
    const std::string left = test::read_file(directory.file("tree.mdb"));
    for (int attempt = 0; attempt < 2; ++attempt) {
        const auto store = directory.try_open();
        ASSERT_FALSE(store);
        EXPECT_EQ(store.error().code, Errno::Corrupt);
        EXPECT_NE(store.error().detail.find(last), std::string::npos);
    }
    EXPECT_EQ(test::read_file(last), bytes) << "the evidence is gone";
    EXPECT_EQ(test::read_file(directory.file("tree.mdb")), left);

    // Where tree.mdb can be trusted it is all that is needed.
    test::write_file(directory.file("state"), state);
    test::write_file(directory.file("tree.mdb"), tree);
    {
        const auto store = directory.open();
        EXPECT_EQ(store->start_kind(), StartKind::Resumed);
        EXPECT_EQ(checksum_of(*store), expected);
        EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    }
    EXPECT_EQ(test::read_file(last), bytes);
    directory.pretend_power_cut();
    EXPECT_TRUE(exists_in(*directory.open(), "after"));
}

TEST_F(StoreTest, ASegmentThatWasNeverFilledIsBegunAnew) {
    directory.options.segment_bytes = 4096;
    const std::string expected = fill(0, 20, 1000);
    const std::uint64_t last = take(Journal::segment_numbers(directory.path())).back();
    for (const std::size_t size : {0UL, 10UL, 4096UL}) {
        test::write_file(Journal::segment_path(directory.path(), last + 1),
                         std::string(size, '\0'));
        directory.pretend_power_cut();
        EXPECT_EQ(checksum_of(*directory.open()), expected) << size;
        EXPECT_EQ(directory.findings(), "");
    }
    // Also the very first one.
    test::StoreDirectory fresh;
    fresh.options.boot_id = system_boot_id;
    fresh.open();
    test::write_file(Journal::segment_path(fresh.path(), 1), std::string(4096, '\0'));
    fresh.pretend_power_cut();
    EXPECT_EQ(result_of(*fresh.open(), CreateFile{"f"}), 0);
}

TEST_F(StoreTest, AMissingOrDamagedTreeIsRebuilt) {
    std::string expected = fill(0, 5);
    const auto expect_rebuilt = [&](const char* what) {
        const auto store = directory.try_open();
        ASSERT_TRUE(store) << what << ": " << store.error().detail;
        EXPECT_EQ((*store)->start_kind(), StartKind::Rebuilt) << what;
        EXPECT_EQ(checksum_of(**store), expected) << what;
        take((*store)->close());
    };
    std::filesystem::remove(directory.file("tree.mdb"));
    expect_rebuilt("missing");
    test::write_file(directory.file("tree.mdb"), "");
    expect_rebuilt("empty");
    test::write_file(directory.file("tree.mdb"), std::string(100000, 'x'));
    expect_rebuilt("garbage");
    test::write_file(directory.file("tree.mdb"), std::string(100000, '\0'));
    expect_rebuilt("zeros");
    std::filesystem::remove(directory.file("tree.mdb-lock"));
    EXPECT_EQ(checksum_of(*directory.open()), expected);

    // Of another store.
    test::StoreDirectory other;
    other.open();
    std::filesystem::copy_file(other.file("tree.mdb"), directory.file("tree.mdb"),
                               std::filesystem::copy_options::overwrite_existing);
    expect_rebuilt("another store's");
}

TEST_F(StoreTest, AJournalBehindTheTreeCostsHistoryAlone) {
    directory.options.segment_bytes = 4096;
    fill(0, 2);
    const std::string journal = test::read_file(segment(0));
    const std::string expected = fill(2, 2);
    test::write_file(segment(0), journal);
    EXPECT_NE(directory.findings().find("ahead of the journal"), std::string::npos);
    {
        const auto store = directory.open();
        EXPECT_EQ(store->start_kind(), StartKind::Resumed);
        EXPECT_EQ(checksum_of(*store), expected);
        EXPECT_EQ(result_of(*store, CreateFile{"after"}), 0);
    }
    EXPECT_EQ(directory.findings(), "");
    EXPECT_EQ(test::read_file(segment(0)), journal);
    directory.pretend_power_cut();
    EXPECT_TRUE(exists_in(*directory.open(), "after"));
}

TEST_F(StoreTest, AMissingOrDamagedStateFileIsRefused) {
    fill(0, 2);
    const std::string good = test::read_file(directory.file("state"));
    const auto refused = [&](const std::string& what) {
        const auto store = directory.try_open();
        ASSERT_FALSE(store) << what;
        EXPECT_NE(store.error().detail.find(directory.file("state")), std::string::npos)
            << what << ": " << store.error().detail;
        const auto report = check_directory(directory.path());
        EXPECT_FALSE(report) << what;
    };
    for (const std::string& text :
         {std::string(), std::string("garbage\n"), std::string(300, '\0'),
          "format 2" + good.substr(8), good.substr(0, good.find("state"))}) {
        test::write_file(directory.file("state"), text);
        refused(text);
    }
    std::filesystem::remove(directory.file("state"));
    refused("missing");
    EXPECT_TRUE(Store::exists(directory.path()));
    test::write_file(directory.file("state"), good);
    EXPECT_TRUE(directory.try_open());
}

TEST_F(StoreTest, AFullMapRefusesAndChangesNothing) {
    directory.options.map_bytes = 512ULL << 10;
    std::string expected;
    {
        const auto store = directory.open();
        ASSERT_EQ(result_of(*store, CreateFile{"small"}), 0);
        ASSERT_EQ(result_of(*store, CreateFile{"f"}), 0);
        int refused = 0;
        for (std::size_t bytes = 20000; refused < 3; bytes += 20000) {
            ASSERT_LT(bytes, 1UL << 20);
            const std::string before = checksum_of(*store);
            const Sequence appended = store->journal_status().appended;
            const auto batch = take(store->begin());
            const Applied applied =
                batch->apply(WriteFile{"f", std::string(bytes, 'x'), 0, false}, {});
            const auto committed =
                applied.broken ? Result<Sequence>(fail(applied.error)) : batch->commit();
            if (committed) continue;
            ++refused;
            EXPECT_EQ(committed.error().code, Errno::NoSpace);
            EXPECT_EQ(checksum_of(*store), before);
            EXPECT_EQ(store->journal_status().appended, appended);
            EXPECT_FALSE(store->failure());
        }
        // What fits still goes.
        EXPECT_EQ(result_of(*store, WriteFile{"small", "here", 0, false}), 4);
        EXPECT_EQ(result_of(*store, Delete{"f"}), 0);
        EXPECT_EQ(result_of(*store, CreateFile{"g"}), 0);
        expected = checksum_of(*store);
    }
    EXPECT_EQ(directory.findings(), "");
    EXPECT_EQ(checksum_of(*directory.open()), expected);
    directory.pretend_power_cut();
    EXPECT_EQ(checksum_of(*directory.open()), expected);
}

// --- Batches ---

TEST_F(StoreTest, ABatchIsSeenWholeAndOnlyAfterCommit) {
    const auto store = directory.open();
    {
        const auto batch = take(store->begin());
        ASSERT_TRUE(batch->apply(MakeDirectory{"d"}, {}).ok);
        ASSERT_TRUE(batch->apply(CreateFile{"d/f"}, {}).ok);
        EXPECT_TRUE(batch->view().resolve("d/f"));
        EXPECT_FALSE(exists_in(*store, "d"));
        const auto old_view = take(store->read());
        EXPECT_EQ(take(batch->commit()), Sequence(2));
        EXPECT_FALSE(old_view->resolve("d"));  // a view stays what it was
    }
    EXPECT_TRUE(exists_in(*store, "d/f"));
    {
        const auto batch = take(store->begin());
        ASSERT_TRUE(batch->apply(CreateFile{"dropped"}, {}).ok);
    }
    EXPECT_FALSE(exists_in(*store, "dropped"));
    EXPECT_EQ(store->journal_status().appended, Sequence(2));
    {
        const auto batch = take(store->begin());
        EXPECT_FALSE(batch->apply(CreateFile{"d"}, {}).ok);
        EXPECT_EQ(take(batch->commit()), Sequence(2));  // nothing changed, nothing is recorded
    }
    EXPECT_EQ(apply_alone(*store, CreateFile{"next"}).version, Version(4));
    EXPECT_EQ(store->journal_status().appended, Sequence(3));
}

TEST_F(StoreTest, SyncMakesDurableWhatWasAppended) {
    directory.options.durability = Durability::Durable;
    const auto store = directory.open();
    ASSERT_EQ(result_of(*store, CreateFile{"f"}), 0);
    EXPECT_LT(store->journal_status().synced, Sequence(1));
    take(store->sync(Sequence(1)));
    EXPECT_EQ(store->journal_status().synced, Sequence(1));
    take(store->sync(Sequence(1)));
}

TEST_F(StoreTest, ChildrenGoOnBehindAnInode) {
    const auto store = directory.open();
    ASSERT_EQ(result_of(*store, MakeDirectory{"d"}), 0);
    for (int i = 0; i < 5; ++i) ASSERT_EQ(result_of(*store, CreateFile{"d/" + name(i)}), 0);
    ASSERT_EQ(result_of(*store, CreateFile{"outside"}), 0);
    const auto view = take(store->read());
    const auto names_behind = [&](std::uint64_t after, std::size_t count) {
        std::vector<std::string> names;
        take(view->children(InodeNumber(2), InodeNumber(after), [&](const ReadView::Child& child) {
            names.emplace_back(child.name);
            return names.size() < count;
        }));
        return names;
    };
    using Names = std::vector<std::string>;
    EXPECT_EQ(names_behind(0, 9), (Names{"f0", "f1", "f2", "f3", "f4"}));
    EXPECT_EQ(names_behind(4, 2), (Names{"f2", "f3"}));
    EXPECT_EQ(names_behind(7, 9), Names{});
    EXPECT_EQ(names_behind(UINT64_MAX, 9), Names{}) << "must not start anew";
}

// --- What this node keeps beside the replicated format ---

class LocalKnowledgeTest : public testing::Test {
protected:
    Version names_version(std::string_view path) const {
        const auto view = take(store->read());
        return take(view->names_version(take(view->resolve(path))));
    }
    void apply_with_note(const Operation& operation, const std::string& note) {
        const auto batch = take(store->begin());
        ASSERT_TRUE(batch
                        ->apply(operation, {NodeId(1), directory.now},
                                [&](const ReadView&, const Applied&) { return note; })
                        .ok);
        take(batch->commit());
    }
    std::vector<std::string> notes(std::uint32_t since = 0, std::size_t most = 100) const {
        std::vector<std::string> texts;
        for (const auto& note : take(store->notes(since, most))) texts.push_back(note.bytes);
        return texts;
    }

    test::StoreDirectory directory;
    std::unique_ptr<Store> store = directory.open();
};

TEST_F(LocalKnowledgeTest, NamesVersionFollowsTheNamesOfADirectoryAndNothingElse) {
    apply_alone(*store, MakeDirectory{"d"});
    apply_alone(*store, MakeDirectory{"e"});
    const Version root = names_version("");
    EXPECT_EQ(root, take(store->read())->head().version);
    apply_alone(*store, CreateFile{"d/f"});
    const Version created = names_version("d");
    EXPECT_EQ(created, take(store->read())->head().version);
    apply_alone(*store, WriteFile{"d/f", "text", 0, false});
    apply_alone(*store, SetMtime{"d/f", 5});
    apply_alone(*store, SetMtime{"d", 5});
    EXPECT_EQ(names_version("d"), created);
    EXPECT_EQ(names_version(""), root);
    apply_alone(*store, Rename{"d/f", "e/f"});
    const Version moved = take(store->read())->head().version;
    EXPECT_EQ(names_version("d"), moved);
    EXPECT_EQ(names_version("e"), moved);
    apply_alone(*store, Delete{"e/f"});
    EXPECT_EQ(names_version("e"), take(store->read())->head().version);
    EXPECT_EQ(names_version("d"), moved);
    EXPECT_FALSE(take(store->read())->names_version(InodeNumber(999)));
    apply_alone(*store, Delete{"e"});
    take(store->close());
    EXPECT_EQ(directory.findings(), "");
}

TEST_F(LocalKnowledgeTest, NamesVersionNeverGoesBackWhenTheTreeIsRebuilt) {
    apply_alone(*store, MakeDirectory{"d"});
    apply_alone(*store, CreateFile{"d/f"});
    const Version before = names_version("d");
    apply_alone(*store, CreateFile{"g"});
    take(store->write_snapshot());
    take(store->close());
    store.reset();
    directory.pretend_power_cut();
    store = directory.open();
    EXPECT_GE(names_version("d"), before);
    EXPECT_GE(names_version(""), before);
    take(store->close());
    EXPECT_EQ(directory.findings(), "");
}

TEST_F(LocalKnowledgeTest, NotesComeBackAfterEveryKindOfEnd) {
    apply_with_note(CreateFile{"a"}, "first");
    apply_alone(*store, CreateFile{"b"});
    directory.now += 100;
    apply_with_note(WriteFile{"a", "x", 0, false}, "second");
    EXPECT_EQ(notes(), (std::vector<std::string>{"first", "second"}));
    EXPECT_EQ(notes(0, 1), std::vector<std::string>{"second"});
    EXPECT_EQ(notes(directory.now), std::vector<std::string>{"second"});

    store.reset();  // killed
    store = directory.open();
    EXPECT_EQ(notes(), (std::vector<std::string>{"first", "second"}));

    take(store->write_snapshot());
    store.reset();
    directory.pretend_power_cut();
    store = directory.open();
    EXPECT_EQ(notes(), (std::vector<std::string>{"first", "second"}));
    EXPECT_EQ(content_of(*store, "a"), "x");
}

TEST_F(LocalKnowledgeTest, NotesOfManySegmentsStayInOrder) {
    std::vector<std::string> expected;
    for (int i = 0; i < 40; ++i) {
        apply_alone(*store, CreateFile{"f" + std::to_string(i)});
        apply_with_note(WriteFile{"f" + std::to_string(i), std::string(8000, 'x'), 0, false},
                        std::to_string(i));
        expected.push_back(std::to_string(i));
    }
    ASSERT_GT(store->journal_status().segments, 3U);
    EXPECT_EQ(notes(), expected);
    expected.erase(expected.begin(), expected.begin() + 30);
    EXPECT_EQ(notes(0, 10), expected);
}

TEST_F(LocalKnowledgeTest, ARefusedChangeIsNotAnnotated) {
    const auto batch = take(store->begin());
    bool asked = false;
    const Applied applied =
        batch->apply(Delete{"missing"}, {NodeId(1), 1}, [&](const ReadView&, const Applied&) {
            asked = true;
            return std::string("note");
        });
    EXPECT_FALSE(applied.ok);
    EXPECT_FALSE(asked);
}

}  // namespace
}  // namespace cfsgate::store
