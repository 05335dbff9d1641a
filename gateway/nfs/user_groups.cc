// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/user_groups.h"

#include <grp.h>
#include <pthread.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>

#include "store/base/mutex.h"

namespace cfsgate::gateway::nfs {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

constexpr std::size_t kGroupsMax = 65536;           // the kernel's own limit
constexpr std::size_t kPasswdBytesMax = 1UL << 20;  // of one user's entry

struct User {
    std::string name;
    gid_t gid = kNogroup;
};

/// Of a user that is not known: no name.
Result<User> find_user(uid_t uid) {
    std::vector<char> buffer(1024);
    for (;;) {
        passwd entry{};
        passwd* found = nullptr;
        const int error = getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
        if (error == 0) return found != nullptr ? User{entry.pw_name, entry.pw_gid} : User{};
        if (error == EINTR) continue;
        // What getpwuid_r(3) lists for "not found".
        if (error == ENOENT || error == ESRCH || error == EBADF || error == EPERM) return User{};
        if (error != ERANGE || buffer.size() >= kPasswdBytesMax) {
            return fail_posix(error, "user " + std::to_string(uid));
        }
        buffer.resize(buffer.size() * 2);
    }
}

}  // namespace

bool Groups::has(gid_t gid) const {
    return gid == primary || std::find(others.begin(), others.end(), gid) != others.end();
}

Result<Groups> system_groups(uid_t uid) {
    const User user = CFSGATE_TRY(find_user(uid));
    Groups groups;
    groups.primary = user.gid;
    if (user.name.empty()) return groups;
    for (std::size_t room = 64; room <= kGroupsMax; room *= 2) {
        groups.others.resize(room);
        int count = static_cast<int>(room);
        if (getgrouplist(user.name.c_str(), user.gid, groups.others.data(), &count) >= 0) {
            groups.others.resize(static_cast<std::size_t>(count));
            return groups;
        }
    }
    return fail(Errno::InputOutput, "user " + std::to_string(uid) + " is in too many groups");
}

/// Shared with the thread, which may outlive its owner.
class UserGroups::State {
public:
    explicit State(UserGroupsOptions options) : options_(std::move(options)) {}

    GroupsPtr find(uid_t uid) const CFSGATE_EXCLUDES(mutex_);
    Status request(uid_t uid, Callback done) CFSGATE_EXCLUDES(mutex_);
    /// The thread's life.
    void run() CFSGATE_EXCLUDES(mutex_);
    /// False if the thread is still at work.
    bool stop() CFSGATE_EXCLUDES(mutex_);

    std::thread thread;

private:
    struct Known {
        TimePoint since;
        GroupsPtr groups;
    };
    using Callbacks = std::vector<Callback>;

    std::optional<uid_t> next() CFSGATE_EXCLUDES(mutex_);
    Callbacks keep(uid_t uid, const GroupsPtr& groups) CFSGATE_EXCLUDES(mutex_);
    void make_room() CFSGATE_REQUIRES(mutex_);

    const UserGroupsOptions options_;
    mutable Mutex mutex_;
    CondVar changed_;
    std::unordered_map<uid_t, Known> known_ CFSGATE_GUARDED_BY(mutex_);
    std::deque<uid_t> queue_ CFSGATE_GUARDED_BY(mutex_);  // no user twice
    std::unordered_map<uid_t, Callbacks> waiting_ CFSGATE_GUARDED_BY(mutex_);
    std::size_t waiting_count_ CFSGATE_GUARDED_BY(mutex_) = 0;
    bool stopping_ CFSGATE_GUARDED_BY(mutex_) = false;
    bool ended_ CFSGATE_GUARDED_BY(mutex_) = false;
};

GroupsPtr UserGroups::State::find(uid_t uid) const {
    const TimePoint now = options_.clock();
    const MutexLock lock(mutex_);
    const auto found = known_.find(uid);
    if (found == known_.end() || now - found->second.since > options_.valid_for) return nullptr;
    return found->second.groups;
}

Status UserGroups::State::request(uid_t uid, Callback done) {
    const MutexLock lock(mutex_);
    if (stopping_) return fail(Errno::TryAgain, "no more users are looked up");
    if (waiting_count_ >= options_.waiting_max) {
        return fail(Errno::TryAgain, "too many wait for the user database");
    }
    Callbacks& callbacks = waiting_[uid];
    // Where there is one already, the user is in the queue, or is being looked up right now.
    if (callbacks.empty()) queue_.push_back(uid);
    callbacks.push_back(std::move(done));
    ++waiting_count_;
    changed_.notify_all();
    return {};
}

void UserGroups::State::run() {
    for (auto uid = next(); uid; uid = next()) {
        const Result<Groups> found = options_.look_up(*uid);
        const GroupsPtr groups = found ? std::make_shared<const Groups>(*found) : nullptr;
        for (const Callback& done : keep(*uid, groups)) done(groups);
    }
    const MutexLock lock(mutex_);
    ended_ = true;
    changed_.notify_all();
}

/// The next user to look up, once there is one; none when it is time to end.
std::optional<uid_t> UserGroups::State::next() {
    const MutexLock lock(mutex_);
    while (queue_.empty() && !stopping_) changed_.wait(mutex_);
    if (stopping_) return {};
    const uid_t uid = queue_.front();
    queue_.pop_front();
    return uid;
}

/// Whom to tell.
UserGroups::State::Callbacks UserGroups::State::keep(uid_t uid, const GroupsPtr& groups) {
    const TimePoint now = options_.clock();
    const MutexLock lock(mutex_);
    if (stopping_) return {};
    if (groups) {
        known_.erase(uid);
        make_room();
        known_.emplace(uid, Known{now, groups});
    }
    Callbacks callbacks = std::move(waiting_.extract(uid).mapped());
    waiting_count_ -= callbacks.size();
    return callbacks;
}

void UserGroups::State::make_room() {
    if (known_.size() < options_.users_max) return;
    known_.erase(std::min_element(known_.begin(), known_.end(), [](const auto& a, const auto& b) {
        return a.second.since < b.second.since;
    }));
}

bool UserGroups::State::stop() {
    std::unordered_map<uid_t, Callbacks> dropped;  // ends without the lock
    const auto deadline = std::chrono::steady_clock::now() + options_.stop_max;
    const MutexLock lock(mutex_);
    stopping_ = true;
    dropped.swap(waiting_);
    changed_.notify_all();
    while (!ended_) {
        if (!changed_.wait_until(mutex_, deadline)) break;
    }
    return ended_;
}

UserGroups::UserGroups(UserGroupsOptions options)
    : state_(std::make_shared<State>(std::move(options))) {
    state_->thread = std::thread([state = state_] {
        pthread_setname_np(pthread_self(), "nfs-users");
        state->run();
    });
}

UserGroups::~UserGroups() { stop(); }

GroupsPtr UserGroups::find(uid_t uid) const { return state_->find(uid); }

Status UserGroups::request(uid_t uid, Callback done) {
    return state_->request(uid, std::move(done));
}

void UserGroups::stop() {
    if (!state_->thread.joinable()) return;
    if (state_->stop()) {
        state_->thread.join();
    } else {
        state_->thread.detach();
    }
}

}  // namespace cfsgate::gateway::nfs
