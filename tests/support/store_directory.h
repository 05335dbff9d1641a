// SPDX-License-Identifier: Apache-2.0
// A state directory of a test, and short words for working on the store in it. For tests that link
// cfsgate_store.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "store/checker.h"
#include "store/model/digest.h"
#include "store/state_file.h"
#include "store/store.h"
#include "tests/support/temp_directory.h"

namespace cfsgate::test {

inline void write_file(const std::string& path, std::string_view bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

/// The value, or a failed test with the error's text.
template <class T>
T take(Result<T> result) {
    if (!result) {
        throw std::runtime_error(std::string(to_string(result.error().code)) + ": " +
                                 result.error().detail);
    }
    return std::move(*result);
}
inline void take(const Status& status) {
    if (!status) throw std::runtime_error(status.error().detail);
}

class StoreDirectory {
public:
    StoreDirectory() {
        options.directory = directory_.path();
        options.durability = store::Durability::Relaxed;
        options.map_bytes = 64ULL << 20;
        options.segment_bytes = 64ULL << 10;
        options.clock = [this] { return now; };
    }

    const std::string& path() const { return directory_.path(); }
    std::string file(const std::string& name) const { return directory_.file(name); }

    Result<std::unique_ptr<store::Store>> try_open(Logger log = null_logger()) const {
        return store::Store::open(options, std::move(log));
    }
    std::unique_ptr<store::Store> open(Logger log = null_logger()) const {
        return take(try_open(std::move(log)));
    }

    /// What is left after the machine lost its power: the next start is another boot, and nobody
    /// knows which of the pages of tree.mdb had reached the disk. For a store that is not open.
    void pretend_power_cut() const {
        store::StateFile state = take(store::read_state_file(path()));
        state.word = store::StateFile::Word::InUse;
        state.boot_id = "an earlier boot";
        take(store::write_state_file(path(), state));
        write_file(file("tree.mdb"), std::string(8192, '\xa5'));
    }

    /// The findings of the checker as text, "" where there are none.
    std::string findings() const {
        const auto report = store::check_directory(path());
        if (!report) return report.error().detail;
        std::string text;
        for (const auto& finding : report->findings) {
            text += finding.where + ": " + finding.what + "\n";
        }
        return text;
    }

    std::vector<std::string> files(const std::string& prefix) const {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator(path())) {
            const std::string name = entry.path().filename().string();
            if (name.starts_with(prefix)) names.push_back(name);
        }
        std::sort(names.begin(), names.end());
        return names;
    }

    std::uint32_t now = 1700000000;
    store::StoreOptions options;

private:
    TempDirectory directory_;
};

/// One operation in a batch of its own.
inline store::Applied apply_alone(store::Store& store, const Operation& operation,
                                  const Stamp& stamp = {NodeId(1), 1700000000}) {
    const auto batch = take(store.begin());
    store::Applied applied = batch->apply(operation, stamp);
    if (!applied.broken) take(batch->commit());
    return applied;
}

/// As the wire carries a result: bytes or 0, or a negative POSIX errno.
inline int result_of(store::Store& store, const Operation& operation,
                     const Stamp& stamp = {NodeId(1), 1700000000}) {
    return apply_alone(store, operation, stamp).wire_result();
}

inline std::string checksum_of(const store::Store& store) {
    return cfsgate::to_hex(take(store.tree_checksum()));
}

inline std::string content_of(const store::Store& store, std::string_view path) {
    const auto view = take(store.read());
    const Inode inode = take(view->inode(take(view->resolve(path))));
    return std::string(take(view->content(inode)));
}

inline Inode inode_of(const store::Store& store, std::string_view path) {
    const auto view = take(store.read());
    return take(view->inode(take(view->resolve(path))));
}

inline bool exists_in(const store::Store& store, std::string_view path) {
    return take(store.read())->resolve(path).has_value();
}

}  // namespace cfsgate::test
