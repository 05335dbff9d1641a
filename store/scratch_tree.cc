// SPDX-License-Identifier: Apache-2.0
#include "store/scratch_tree.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "store/file_io.h"

namespace cfsgate::store {
namespace {

constexpr std::uint64_t kMapBytes = 8ULL << 30;
constexpr std::size_t kPieceBytes = 1 << 20;
/// Zeros behind the copy: a page number beyond its end then leads to an empty page, not to a signal.
constexpr std::uint64_t kMarginBytes = 64ULL << 20;

Result<UniqueFd> make_memory() {
    UniqueFd fd(::memfd_create("cfsgate", MFD_CLOEXEC));
    if (!fd.valid()) return fail_posix(errno, "memory for a copy of the tree");
    return fd;
}

Status copy_file(const std::string& path, int to) {
    const UniqueFd from = CFSGATE_TRY(open_file(path, O_RDONLY));
    std::string piece(kPieceBytes, '\0');
    std::uint64_t offset = 0;
    for (;;) {
        const ssize_t count =
            ::pread(from.get(), piece.data(), piece.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_posix(errno, path);
        if (count == 0) break;
        const auto bytes = static_cast<std::size_t>(count);
        CFSGATE_TRY(write_all(to, std::string_view(piece).substr(0, bytes), offset, "memory"));
        offset += bytes;
    }
    if (offset == 0) return fail(Errno::Corrupt, path + ": is empty");
    if (::ftruncate(to, static_cast<off_t>(offset + kMarginBytes)) != 0) {
        return fail_posix(errno, "memory for a copy of the tree");
    }
    return {};
}

}  // namespace

Status ScratchTree::open() {
    const std::string path = "/proc/self/fd/" + std::to_string(memory_.get());
    environment_ =
        CFSGATE_TRY(lmdb::Environment::open({.file = path, .map_bytes = kMapBytes, .alone = true}));
    return {};
}

Result<std::unique_ptr<ScratchTree>> ScratchTree::make(const SavedTree& saved) {
    std::unique_ptr<ScratchTree> scratch(new ScratchTree(CFSGATE_TRY(make_memory())));
    CFSGATE_TRY(scratch->open());
    auto txn = CFSGATE_TRY(lmdb::Transaction::write(*scratch->environment_));
    auto tree = CFSGATE_TRY(TreeWriter::make_new(std::move(txn), StoreIds{1, 1}, saved.head));
    for (const Entry& entry : saved.entries) CFSGATE_TRY(tree->add(entry.inode, entry.content));
    CFSGATE_TRY(tree->set_all_names_versions(saved.head.version));
    tree->set_journal(saved.journal);
    CFSGATE_TRY(tree->commit());
    return scratch;
}

Result<std::unique_ptr<ScratchTree>> ScratchTree::copy_of(const std::string& tree_file) {
    std::unique_ptr<ScratchTree> scratch(new ScratchTree(CFSGATE_TRY(make_memory())));
    CFSGATE_TRY(copy_file(tree_file, scratch->memory_.get()));
    CFSGATE_TRY(scratch->open());
    return scratch;
}

Result<std::unique_ptr<TreeReader>> ScratchTree::read() const {
    return TreeReader::make(CFSGATE_TRY(lmdb::Transaction::read(*environment_)));
}

Result<std::unique_ptr<TreeWriter>> ScratchTree::write() {
    return TreeWriter::make(CFSGATE_TRY(lmdb::Transaction::write(*environment_)));
}

Result<SavedTree> copy_tree(const TreeReader& tree) {
    SavedTree saved = CFSGATE_TRY(copy_tree(static_cast<const ReadView&>(tree)));
    saved.journal = tree.journal();
    return saved;
}

}  // namespace cfsgate::store
