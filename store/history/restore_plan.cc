// SPDX-License-Identifier: Apache-2.0
#include "store/history/restore_plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "store/model/path.h"

namespace cfsgate::store {
namespace {

constexpr std::string_view kLockDirectory = "priv/lock";
constexpr std::string_view kCorosyncConf = "corosync.conf";

/// By path, so that what is above comes first and its entries right behind it.
using Subtree = std::map<std::string, Inode>;

std::string clean_path(std::string_view path) {
    std::string clean;
    for (const std::string_view component : path_components(path)) {
        clean = join_path(clean, component);
    }
    return clean;
}

class Planner {
public:
    Planner(const ReadView& now, const ReadView& then, const RestoreRequest& request)
        : now_view_(now), then_view_(then), request_(request), path_(clean_path(request.path)) {}

    Result<RestorePlan> run() {
        if (is_below_lock_directory(path_)) {
            return fail(Errno::Invalid, path_ + ": locks are not restored");
        }
        now_ = CFSGATE_TRY(collect(now_view_));
        then_ = CFSGATE_TRY(collect(then_view_));
        if (then_.empty() && !path_.empty()) {
            return fail(Errno::NotFound, path_ + ": was not there then");
        }
        find_files();
        leave_purged();
        CFSGATE_TRY(leave_corosync_conf());
        CFSGATE_TRY(make_way());
        make_directories(false);
        move_files();
        remove_entries();
        make_directories(true);
        CFSGATE_TRY(fill_files());
        set_times();
        return std::move(plan_);
    }

private:
    void add(Operation operation) { plan_.operations.push_back(std::move(operation)); }

    bool is_left_out(const std::string& path) const {
        if (is_below_lock_directory(path)) return true;
        return path_.empty() && path == kCorosyncConf;
    }

    /// The root is in none.
    Result<Subtree> collect(const ReadView& view) const {
        Subtree found;
        const auto top = view.resolve(path_);
        if (!top && top.error().code == Errno::NotFound) return found;
        std::vector<std::pair<std::string, InodeNumber>> waiting{
            {path_, CFSGATE_TRY(Result<InodeNumber>(top))}};
        if (!path_.empty()) found.emplace(path_, CFSGATE_TRY(view.inode(waiting[0].second)));
        while (!waiting.empty()) {
            const std::string directory = std::move(waiting.back().first);
            const InodeNumber number = waiting.back().second;
            waiting.pop_back();
            if (directory == kLockDirectory) continue;
            if (!CFSGATE_TRY(view.inode(number)).is_directory()) continue;
            CFSGATE_TRY(view.headers(number, kRootInode, [&](const Inode& inode) {
                std::string path = join_path(directory, inode.name);
                if (is_left_out(path)) return true;
                if (inode.is_directory()) waiting.emplace_back(path, inode.number);
                found.emplace(std::move(path), inode);
                return true;
            }));
        }
        return found;
    }

    /// What is not known any more stays as it is, and where it is.
    void leave_purged() {
        if (!request_.is_purged) return;
        for (auto entry = then_.begin(); entry != then_.end();) {
            if (entry->second.is_directory() || !request_.is_purged(entry->second)) {
                ++entry;
                continue;
            }
            plan_.left.push_back({entry->first, "its content of that time was purged"});
            now_.erase(entry->first);
            if (const auto moved = files_now_.find(entry->second.number);
                moved != files_now_.end()) {
                now_.erase(moved->second);
                files_now_.erase(moved);
            }
            entry = then_.erase(entry);
        }
    }

    /// Who belongs to the cluster is nothing that files can undo.
    Status leave_corosync_conf() {
        if (!path_.empty()) return {};
        const auto text = [](const ReadView& view) -> Result<std::optional<std::string>> {
            const auto number = view.lookup(kRootInode, kCorosyncConf);
            if (!number && number.error().code == Errno::NotFound) {
                return std::optional<std::string>();
            }
            const Inode inode = CFSGATE_TRY(view.inode(CFSGATE_TRY(Result<InodeNumber>(number))));
            return std::optional<std::string>(CFSGATE_TRY(view.content(inode)));
        };
        if (CFSGATE_TRY(text(now_view_)) == CFSGATE_TRY(text(then_view_))) return {};
        plan_.left.push_back({std::string(kCorosyncConf), "restore it by its name"});
        return {};
    }

    /// Directories above the subtree that are not there any more.
    Status make_way() {
        std::string above;
        for (const std::string_view component : path_components(split_path(path_).directory)) {
            if (component == ".") break;
            above = join_path(above, component);
            const auto number = now_view_.resolve(above);
            if (number) {
                if (CFSGATE_TRY(now_view_.inode(*number)).is_directory()) continue;
                return fail(Errno::NotDirectory, above + ": is a file now, and was a directory");
            }
            if (number.error().code != Errno::NotFound) return tl::unexpected(number.error());
            const Inode was = CFSGATE_TRY(then_view_.inode(CFSGATE_TRY(then_view_.resolve(above))));
            add(MakeDirectory{above});
            add(SetMtime{above, was.mtime});
        }
        return {};
    }

    void find_files() {
        for (const auto& [path, inode] : now_) {
            if (!inode.is_directory()) files_now_.emplace(inode.number, path);
        }
    }

    bool is_there(const std::string& path) const { return now_.contains(path); }
    bool is_directory_now(const std::string& path) const {
        if (!path_.empty() && (path.empty() || path_.starts_with(path + "/"))) return true;
        if (path.empty()) return true;
        const auto found = now_.find(path);
        return found != now_.end() && found->second.is_directory();
    }
    static std::string parent_of(const std::string& path) {
        return clean_path(split_path(path).directory == "." ? "" : split_path(path).directory);
    }

    /// At first only where nothing is in the way, since files may move into them.
    void make_directories(bool way_is_free) {
        for (const auto& [path, was] : then_) {
            if (!was.is_directory() || is_there(path)) continue;
            if (!way_is_free && !is_directory_now(parent_of(path))) continue;
            add(MakeDirectory{path});
            Inode made = was;
            made.number = InodeNumber(UINT64_MAX);
            made.mtime = 0;
            changed_.insert(path);
            now_.emplace(path, made);
        }
    }

    /// A file that is now under another name, where its own one is free.
    void move_files() {
        for (const auto& [path, was] : then_) {
            if (was.is_directory() || is_there(path) || !is_directory_now(parent_of(path))) {
                continue;
            }
            const auto found = files_now_.find(was.number);
            if (found == files_now_.end()) continue;
            const std::string from = found->second;
            const auto at_source = then_.find(from);
            if (at_source != then_.end() && at_source->second.number == was.number) continue;
            add(Rename{from, path});
            now_.emplace(path, now_.at(from));
            now_.erase(from);
            changed_.insert(path);
            files_now_.erase(found);
        }
    }

    /// What was not there, or was something else; from below.
    void remove_entries() {
        std::vector<std::string> gone;
        for (auto entry = now_.rbegin(); entry != now_.rend(); ++entry) {
            const auto was = then_.find(entry->first);
            if (was != then_.end() && was->second.type == entry->second.type) continue;
            if (holds_what_stays(entry->first)) continue;
            gone.push_back(entry->first);
        }
        for (const std::string& path : gone) {
            add(Delete{path});
            now_.erase(path);
        }
    }

    /// Above something that is left as it is.
    bool holds_what_stays(const std::string& path) const {
        const std::string below = path + "/";
        if (path == kLockDirectory || kLockDirectory.starts_with(below)) {
            return now_view_.resolve(kLockDirectory).has_value();
        }
        return std::any_of(plan_.left.begin(), plan_.left.end(), [&](const auto& left) {
            return left.path.starts_with(below) && now_view_.resolve(left.path);
        });
    }

    Status fill_files() {
        for (const auto& [path, was] : then_) {
            if (was.is_directory()) continue;
            const std::string_view content = CFSGATE_TRY(then_view_.content(was));
            const auto is = now_.find(path);
            if (is != now_.end() && is->second.is_directory()) {
                plan_.left.push_back({path, "a directory that holds what stays is in its place"});
                continue;
            }
            if (is == now_.end()) {
                add(CreateFile{path});
                if (!content.empty()) add(WriteFile{path, std::string(content), 0, true});
            } else if (CFSGATE_TRY(now_view_.content(is->second)) != content) {
                add(WriteFile{path, std::string(content), 0, true});
            } else if (!changed_.contains(path)) {
                if (is->second.mtime != was.mtime) add(SetMtime{path, was.mtime});
                continue;
            }
            add(SetMtime{path, was.mtime});
            changed_.erase(path);
        }
        return {};
    }

    /// Of directories, when all that goes on in them is over.
    void set_times() {
        for (const auto& [path, was] : then_) {
            if (!was.is_directory() || path == kLockDirectory) continue;
            const auto is = now_.find(path);
            if (changed_.contains(path) || is == now_.end() || is->second.mtime != was.mtime) {
                add(SetMtime{path, was.mtime});
            }
        }
    }

    const ReadView& now_view_;
    const ReadView& then_view_;
    const RestoreRequest& request_;
    std::string path_;
    Subtree now_;
    Subtree then_;
    std::unordered_map<InodeNumber, std::string> files_now_;
    std::set<std::string> changed_;  ///< their time is another one afterwards
    RestorePlan plan_;
};

struct Text {
    OperationText operator()(const CreateFile& op) const { return {"create", op.path, ""}; }
    OperationText operator()(const WriteFile& op) const {
        return {"write", op.path, std::to_string(op.data.size()) + " bytes"};
    }
    OperationText operator()(const MakeDirectory& op) const { return {"mkdir", op.path, ""}; }
    OperationText operator()(const Delete& op) const { return {"delete", op.path, ""}; }
    OperationText operator()(const Rename& op) const {
        return {"rename", op.path, "to " + op.target};
    }
    OperationText operator()(const SetMtime& op) const {
        return {"mtime", op.path, std::to_string(op.mtime)};
    }
    OperationText operator()(const Unlock& op) const { return {"unlock", op.path, ""}; }
};

}  // namespace

Result<RestorePlan> plan_restore(const ReadView& now, const ReadView& then,
                                 const RestoreRequest& request) {
    return Planner(now, then, request).run();
}

OperationText describe(const Operation& operation) { return std::visit(Text{}, operation); }

}  // namespace cfsgate::store
