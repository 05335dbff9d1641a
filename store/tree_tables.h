// SPDX-License-Identifier: Apache-2.0
// How the tree lies in LMDB: keys, records, and a reader and a writer over one transaction.
//
//   Meta    "head"                -> TreeState, "ids" -> StoreIds
//   Inode   inode                 -> header, name, and content where it is small
//   Content inode                 -> content, where it is not in the header's record
//   Dirent  parent ‖ name         -> inode, and the full name where the key holds its hash
//   Child   parent ‖ inode        -> type, name: the stable, resumable order of readdir
//   Child   parent ‖ 0            -> names version: when a name in this directory last changed
//
// Numbers in keys are big-endian, so that their order is numeric; in records little-endian.
#pragma once

#include <memory>
#include <string>

#include "store/lmdb/environment.h"
#include "store/store.h"

namespace cfsgate::store {

/// Names longer than this are hashed in Dirent keys: LMDB keys end at 511 bytes.
inline constexpr std::size_t kNameBytesInKey = 400;
/// Content up to this size lies in the Inode record, so that a small file is one page.
inline constexpr std::size_t kInlineBytesMax = 1024;

/// What one commit says about the whole tree.
struct TreeState {
    TreeHead head;
    Usage usage;
    Sequence journal;  ///< last applied journal record
};

struct StoreIds {
    std::uint64_t store = 0;        ///< in every journal segment and snapshot
    std::uint64_t file_system = 0;  ///< in file handles
};

std::string inode_key(InodeNumber inode);
std::string dirent_key(InodeNumber parent, std::string_view name);
std::string child_key(InodeNumber parent, InodeNumber inode);
Result<Inode> decode_inode_record(InodeNumber number, std::string_view record,
                                  std::string_view* inline_content, bool* is_inline);

/// A ReadView over a transaction that somebody owns.
class TreeReader : public ReadView {
public:
    /// Reads the state; Corrupt where it is missing.
    static Result<std::unique_ptr<TreeReader>> make(std::unique_ptr<lmdb::Transaction> txn);

    TreeHead head() const override { return state_.head; }
    Usage usage() const override { return state_.usage; }
    Sequence journal() const { return state_.journal; }
    Result<Inode> inode(InodeNumber number) const override;
    Result<std::string_view> content(const Inode& inode) const override;
    Result<InodeNumber> lookup(InodeNumber parent, std::string_view name) const override;
    Result<InodeNumber> resolve(std::string_view path) const override;
    Result<std::string> path_of(InodeNumber number) const override;
    Status children(InodeNumber directory, InodeNumber after,
                    const std::function<bool(const Child&)>& sink) const override;
    Status headers(InodeNumber directory, InodeNumber after,
                   const std::function<bool(const Inode&)>& sink) const override;
    Result<Version> names_version(InodeNumber directory) const override;
    Status for_each(
        const std::function<Status(const Inode&, std::string_view content)>& sink) const override;

    /// As stored: empty where the entry is unbacked.
    Result<std::string_view> stored_content(const Inode& inode) const;
    Result<bool> has_children(InodeNumber directory) const;
    const lmdb::Transaction& transaction() const { return *txn_; }

protected:
    explicit TreeReader(std::unique_ptr<lmdb::Transaction> txn) : txn_(std::move(txn)) {}
    Inode root() const;

    std::unique_ptr<lmdb::Transaction> txn_;
    TreeState state_;
};

/// Changes the tree. An error leaves the transaction unusable: drop it.
class TreeWriter : public TreeReader {
public:
    static Result<std::unique_ptr<TreeWriter>> make(std::unique_ptr<lmdb::Transaction> txn);
    /// For an environment without a tree: writes an empty one.
    static Result<std::unique_ptr<TreeWriter>> make_new(std::unique_ptr<lmdb::Transaction> txn,
                                                        const StoreIds& ids, const TreeHead& head);

    /// A new entry below its parent, which must be a directory without that name.
    Status add(const Inode& inode, std::string_view content);
    /// Header only: version, writer, mtime.
    Status update(const Inode& inode);
    /// Header and content; `before` is the header as stored. inode.size says the length.
    Status replace_content(const Inode& before, const Inode& after, std::string_view content);
    Status remove(const Inode& inode);
    /// Takes an entry out and leaves no trace of it, whatever else is there of its directory. For
    /// a tree that is put together anew; set_all_names_versions() must follow.
    Status take_out(const Inode& inode);
    /// The entry as stored under `before`, now with the parent and name of `after`.
    Status move(const Inode& before, const Inode& after);
    /// For a tree that comes from elsewhere: nobody knows when the names of its directories last
    /// changed, so all of them count as changed at `version`.
    Status set_all_names_versions(Version version);

    void set_head(const TreeHead& head) { state_.head = head; }
    void set_journal(Sequence sequence) { state_.journal = sequence; }
    /// Writes the state and commits.
    Status commit();

private:
    using TreeReader::TreeReader;
    Status put_inode(const Inode& inode, std::string_view inline_content, bool is_inline);
    Status put_names(const Inode& inode);
    Status erase_names(const Inode& inode);
    Status put_names_version(InodeNumber directory, Version version);
};

Result<StoreIds> read_ids(const lmdb::Transaction& txn);

}  // namespace cfsgate::store
