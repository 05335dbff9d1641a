// SPDX-License-Identifier: Apache-2.0
// One group on the wire: its machine, the connection to corosync, what waits to be sent, and the
// way back after leaving.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "replication/core/group_machine.h"
#include "replication/corosync/cpg_group.h"
#include "store/base/clock.h"
#include "store/base/log.h"

namespace cfsgate::replication {

/// What a link needs of its owner. Called on the link's thread, from within its methods.
class LinkOwner {
public:
    virtual ~LinkOwner() = default;
    /// Any effect but Multicast.
    virtual void perform(GroupKind kind, Effect effect) = 0;
    /// The message was not sent, and will not be.
    virtual void not_sent(GroupKind kind, std::uint64_t own_count) = 0;
    /// A message is about to be taken: what this node's quorum is by now must be told before.
    virtual void before_message(GroupKind kind) = 0;
    /// The machine has got a new view.
    virtual void view_changed(GroupKind kind) = 0;
    /// The group was left, and may be joined again: get ready, then call GroupLink::join().
    virtual void prepare_to_join(GroupKind kind) = 0;
};

/// Threads: one.
class GroupLink {
public:
    using SteadyTime = std::chrono::steady_clock::time_point;

    /// Borrows the owner.
    GroupLink(GroupKind kind, LinkOwner& owner, WallClock clock, Logger log);

    /// To poll for reading; -1 while there is no connection.
    int descriptor() const { return group_ ? group_->descriptor() : -1; }
    /// Nothing before corosync was first seen.
    const GroupMachine* machine() const { return machine_ ? &*machine_ : nullptr; }

    /// Takes what has arrived, at most `most` callbacks, so that others have their turn. Returns
    /// whether there may be more.
    bool dispatch(int most);
    void feed(const Event& event);
    /// Sends what can be sent now.
    void flush();
    /// Connects, joins and gives up where time says so.
    void tick(SteadyTime now);
    /// The owner is ready, or is not: it is asked again later.
    void join();
    void not_ready() { preparing_ = false; }
    /// For the end: leaves and disconnects.
    void stop();

    /// Out of the group until the daemon is updated and started anew.
    bool is_out_for_good() const;
    bool connected() const { return group_ != nullptr; }
    /// Whether something waits because corosync could not take it; try flush() again soon.
    bool blocked() const { return blocked_since_.has_value(); }
    std::size_t unsent() const { return sync_out_.size() + normal_out_.size(); }
    /// Why the group was last left; empty: it never was.
    const std::string& last_leave() const { return last_leave_; }
    std::uint64_t leaves() const { return leaves_; }

private:
    void carry_out(Effects effects);
    void put_normal(Multicast message);
    void leave(const std::string& reason);
    void leave_handle();
    void lose_connection(const std::string& reason);
    void connect();
    /// False: corosync does not take it now.
    bool send_one(const std::string& bytes, Status& sent);
    bool flush_sync();
    void flush_normal();

    const GroupKind kind_;
    LinkOwner& owner_;
    WallClock clock_;
    Logger log_;

    std::unique_ptr<CpgGroup> group_;
    std::optional<GroupMachine> machine_;
    bool joined_ = false;
    bool preparing_ = false;  // the owner was asked
    bool leaving_ = false;    // the handle is to be given up, outside its callbacks
    std::optional<SteadyTime> last_attempt_;
    SteadyTime now_{};

    std::deque<Multicast> sync_out_;
    std::deque<Multicast> normal_out_;  // ascending by own count
    std::uint64_t highest_sent_ = 0;    // own count
    std::optional<SteadyTime> blocked_since_;
    std::string last_leave_;
    std::uint64_t leaves_ = 0;
};

}  // namespace cfsgate::replication
