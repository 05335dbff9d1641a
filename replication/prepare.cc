// SPDX-License-Identifier: Apache-2.0
#include "replication/prepare.h"

#include "store/model/path.h"

namespace cfsgate::replication {
namespace {

/// Puts the paths of an operation where its inodes now are.
class Resolver {
public:
    Resolver(const store::ReadView& view, Submission& submission)
        : view_(view), submission_(submission) {}

    Status run() {
        if (submission_.entry) CFSGATE_TRY(follow_entry());
        if (submission_.parent) CFSGATE_TRY(follow_parent(path(), *submission_.parent));
        if (auto* rename = std::get_if<Rename>(&submission_.operation)) {
            if (submission_.target_parent) {
                CFSGATE_TRY(follow_parent(rename->target, *submission_.target_parent));
            }
        }
        if (submission_.append) CFSGATE_TRY(seek_to_end());
        if (submission_.check) CFSGATE_TRY(submission_.check(view_, submission_.operation));
        return {};
    }

private:
    std::string& path() {
        return std::visit([](auto& operation) -> std::string& { return operation.path; },
                          submission_.operation);
    }

    Status follow_entry() {
        const auto found = view_.resolve(path());
        if (found && *found == *submission_.entry) return {};
        auto moved = view_.path_of(*submission_.entry);
        if (!moved) return fail(Errno::StaleHandle);
        path() = std::move(*moved);
        return {};
    }

    Status follow_parent(std::string& path, InodeNumber parent) {
        const SplitPath split = split_path(path);
        const auto found = view_.resolve(split.directory);
        if (found && *found == parent) return {};
        const auto moved = view_.path_of(parent);
        if (!moved) return fail(Errno::NotFound);
        path = join_path(*moved, split.name);
        return {};
    }

    Status seek_to_end() {
        auto& write = std::get<WriteFile>(submission_.operation);
        write.offset = CFSGATE_TRY(view_.inode(*submission_.entry)).size;
        return {};
    }

    const store::ReadView& view_;
    Submission& submission_;
};

}  // namespace

Status prepare(const store::ReadView& view, Submission& submission) {
    return Resolver(view, submission).run();
}

}  // namespace cfsgate::replication
