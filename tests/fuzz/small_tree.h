// SPDX-License-Identifier: Apache-2.0
// A file system with a few entries, made anew whenever an input has changed it.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/nfs/adapter.h"
#include "gateway/nfs/file_handle.h"
#include "store/model/digest.h"
#include "tests/support/store_directory.h"

namespace cfsgate::fuzz {

/// Nobody but unrestricted root may ever be told of these.
inline constexpr std::string_view kSecretName = "secret-name";
inline constexpr std::string_view kSecretContent = "secret-content";

class SmallTree {
public:
    SmallTree() {
        directory_.options.journal_keep_bytes = 1U << 20;
        directory_.options.journal_keep_seconds = 0;
        directory_.options.snapshot_after_bytes = 1U << 20;
        open();
    }

    /// With the entries that every input meets.
    void reset() {
        if (version() == made_) return;
        if (++resets_ % 5000 == 0) open();  // what it kept of the past goes
        const auto batch = test::take(store_->begin());
        for (const auto& path : paths()) batch->apply(Delete{path}, kStamp);
        for (const std::string_view path : {"priv", "d", "d/e", "nodes", "nodes/node1"}) {
            batch->apply(MakeDirectory{std::string(path)}, kStamp);
        }
        write(*batch, "user.cfg", "user:root@pam:1:0:::::\n");
        write(*batch, "d/f", std::string(5000, 'f'));
        write(*batch, "priv/" + std::string(kSecretName), kSecretContent);
        write(*batch, "nodes/node1/100.conf", "memory: 512\n");
        const auto gone = batch->apply(CreateFile{"gone"}, kStamp);
        gone_ = handle_of(gateway::to_file_id(gone.inode).value());
        batch->apply(Delete{"gone"}, kStamp);
        test::take(batch->commit());
        made_ = version();
    }

    /// The handle of one of the entries, or one that is no good.
    std::string handle(std::uint8_t index) const {
        constexpr std::array<std::string_view, 12> kPaths{"",
                                                          "user.cfg",
                                                          "d",
                                                          "d/f",
                                                          "d/e",
                                                          "priv",
                                                          "priv/secret-name",
                                                          "nodes/node1",
                                                          "local",
                                                          ".version",
                                                          ".debug",
                                                          "nodes/node1/100.conf"};
        constexpr std::size_t kKinds = kPaths.size() + 2;
        const std::size_t kind = index % kKinds;
        if (kind == kPaths.size()) return gone_;
        if (kind > kPaths.size()) {
            return gateway::nfs::encode_handle(files_->id() + 1, gateway::kRootId);
        }
        const auto id = files_->resolve(kPaths.at(kind));
        return id ? gateway::nfs::encode_handle(files_->id(), *id) : gone_;
    }
    std::string handle_of(std::uint64_t id) const {
        return gateway::nfs::encode_handle(files_->id(), gateway::FileId(id));
    }

    gateway::nfs::AdapterPtr adapter() const { return adapter_; }
    /// These hold until the next reset().
    store::Store& store() const { return *store_; }
    gateway::FileSystem& files() const { return *files_; }
    const std::string& directory() const { return directory_.path(); }
    Version version() const { return test::take(store_->read())->head().version; }

private:
    static constexpr Stamp kStamp{NodeId(1), 1700000000};

    void open() {
        adapter_.reset();
        files_.reset();
        sequencer_.reset();
        store_.reset();
        store_ = directory_.open();
        const auto clock = [] { return 1700000000U; };
        sequencer_ = replication::make_local_sequencer(*store_, clock);
        gateway::FileSystemOptions options;
        options.node_name = "node1";
        options.www_data = 33;
        options.clock = clock;
        files_ =
            std::make_unique<gateway::FileSystem>(*store_, *sequencer_, options, null_logger());
        adapter_ = std::make_shared<gateway::nfs::Adapter>(*files_, gateway::nfs::ExportRules());
    }

    /// Deepest first.
    std::vector<std::string> paths() const {
        std::vector<std::string> all;
        const auto view = test::take(store_->read());
        test::take(view->for_each([&](const Inode& inode, std::string_view) -> Status {
            if (inode.number != kRootInode) all.push_back(test::take(view->path_of(inode.number)));
            return {};
        }));
        std::sort(all.begin(), all.end(), std::greater<>());
        return all;
    }
    static void write(store::Store::Batch& batch, const std::string& path,
                      std::string_view content) {
        batch.apply(CreateFile{path}, kStamp);
        WriteFile write;
        write.path = path;
        write.data = content;
        batch.apply(write, kStamp);
    }
    // First of all, since OpenSSL ends before what is older than its first use, and the store writes
    // a snapshot at its end.
    const Sha256 first_use_;
    test::StoreDirectory directory_;
    std::unique_ptr<store::Store> store_;
    std::unique_ptr<replication::Sequencer> sequencer_;
    std::unique_ptr<gateway::FileSystem> files_;
    gateway::nfs::AdapterPtr adapter_;
    Version made_;
    std::string gone_;
    std::size_t resets_ = 0;
};

}  // namespace cfsgate::fuzz
