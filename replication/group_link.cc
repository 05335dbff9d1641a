// SPDX-License-Identifier: Apache-2.0
#include "replication/group_link.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace cfsgate::replication {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kBetweenAttempts{5000};  // strictly more
constexpr seconds kBlockedMax{10};

std::string_view group_name(GroupKind kind) {
    return kind == GroupKind::Configuration ? "pve_dcdb_v1" : "pve_kvstore_v1";
}

}  // namespace

GroupLink::GroupLink(GroupKind kind, LinkOwner& owner, WallClock clock, Logger log)
    : kind_(kind), owner_(owner), clock_(std::move(clock)), log_(std::move(log)) {}

// --- Events and effects ---

void GroupLink::feed(const Event& event) {
    if (!machine_) return;
    const std::string_view before = to_string(machine_->mode());
    Effects effects = machine_->step(event, clock_());
    const std::string_view after = to_string(machine_->mode());
    if (before != after) log_->info("{}: {}, was {}", group_name(kind_), after, before);
    carry_out(std::move(effects));
}

void GroupLink::carry_out(Effects effects) {
    for (Effect& effect : effects) {
        if (auto* multicast = std::get_if<Multicast>(&effect)) {
            if (multicast->own_count) {
                put_normal(std::move(*multicast));
            } else {
                sync_out_.push_back(std::move(*multicast));
            }
            continue;
        }
        if (const auto* left = std::get_if<Leave>(&effect)) leave(left->reason);
        owner_.perform(kind_, std::move(effect));
    }
}

/// What is sent again has smaller counts than what was never sent.
void GroupLink::put_normal(Multicast message) {
    const auto place = std::upper_bound(
        normal_out_.begin(), normal_out_.end(), *message.own_count,
        [](std::uint64_t count, const Multicast& other) { return count < *other.own_count; });
    normal_out_.insert(place, std::move(message));
}

// --- Sending ---

bool GroupLink::send_one(const std::string& bytes, Status& sent) {
    sent = group_->multicast(bytes);
    if (sent) {
        blocked_since_.reset();
        return true;
    }
    if (sent.error().code != Errno::TryAgain) return true;
    if (!blocked_since_) blocked_since_ = std::chrono::steady_clock::now();
    if (std::chrono::steady_clock::now() - *blocked_since_ < kBlockedMax) return false;
    blocked_since_.reset();
    sent = fail(Errno::Busy, "corosync has taken no message for ten seconds");
    return true;
}

bool GroupLink::flush_sync() {
    while (group_ && !sync_out_.empty()) {
        Status sent;
        if (!send_one(sync_out_.front().bytes, sent)) return false;
        sync_out_.pop_front();
        if (!sent) {
            feed(SendFailed{sent.error().detail});
            return false;
        }
    }
    return group_ != nullptr;
}

/// Only while nothing is being synchronised: what a node sends that waits for updates, members
/// would apply in different orders (WIRE.md, "Queue order").
void GroupLink::flush_normal() {
    while (group_ && machine_ && machine_->can_send() && !normal_out_.empty()) {
        Status sent;
        if (!send_one(normal_out_.front().bytes, sent)) return;
        const std::uint64_t count = *normal_out_.front().own_count;
        normal_out_.pop_front();
        if (sent) {
            highest_sent_ = std::max(highest_sent_, count);
            continue;
        }
        log_->warn("{}: a change could not be sent: {}", group_name(kind_), sent.error().detail);
        if (count > highest_sent_) owner_.not_sent(kind_, count);
    }
}

void GroupLink::flush() {
    if (joined_ && flush_sync()) flush_normal();
    leave_handle();
}

// --- Leaving and coming back ---

bool GroupLink::is_out_for_good() const {
    const auto* const left = machine_ ? std::get_if<Left>(&machine_->mode()) : nullptr;
    return left != nullptr && left->why == Left::Why::NewerProtocol;
}

void GroupLink::leave(const std::string& reason) {
    log_->warn("{}: leaving: {}", group_name(kind_), reason);
    last_leave_ = reason;
    ++leaves_;
    sync_out_.clear();
    // What was sent before, and was to be sent again, somebody may have.
    for (const Multicast& message : std::exchange(normal_out_, {})) {
        if (*message.own_count > highest_sent_) owner_.not_sent(kind_, *message.own_count);
    }
    blocked_since_.reset();
    leaving_ = joined_;  // done later: this may run within a callback of the handle
    joined_ = false;
}

/// A handle that was left must not join again (cpg_group.h, "Large messages").
void GroupLink::leave_handle() {
    if (!std::exchange(leaving_, false)) return;
    group_.reset();
}

void GroupLink::lose_connection(const std::string& reason) {
    group_.reset();
    feed(ApplierFailed{reason});
    leaving_ = false;
    joined_ = false;
}

bool GroupLink::dispatch(int most) {
    for (int i = 0; i < most; ++i) {
        if (!group_) return false;
        const Status dispatched = group_->dispatch_one();
        if (!dispatched && dispatched.error().code == Errno::TryAgain) return false;  // no more
        if (!dispatched) {
            lose_connection("corosync is gone: " + dispatched.error().detail);
            return false;
        }
        leave_handle();
    }
    return true;
}

void GroupLink::connect() {
    GroupEvents events;
    events.on_view = [this](std::vector<Member> members, bool joined,
                            const std::vector<Member>& left) {
        log_->info("{}: {} members{}{}", group_name(kind_), members.size(),
                   joined ? ", some joined" : "", left.empty() ? "" : ", some left");
        feed(ViewChanged{std::move(members), joined});
        owner_.view_changed(kind_);
    };
    events.on_message = [this](Member from, std::string_view bytes) {
        owner_.before_message(kind_);
        feed(Delivered{from, bytes});
    };
    auto group = CpgGroup::connect(group_name(kind_), std::move(events));
    if (!group) {
        log_->debug("{}: {}", group_name(kind_), group.error().detail);
        return;
    }
    group_ = std::move(*group);
    if (!machine_) machine_.emplace(kind_, group_->self());
    if (machine_->self() != group_->self()) {
        log_->error("{}: corosync calls this node {} now and {} before; restart the daemon",
                    group_name(kind_), group_->self().node.value(), machine_->self().node.value());
        group_.reset();
    }
}

void GroupLink::tick(SteadyTime now) {
    now_ = now;
    leave_handle();
    flush();
    if (joined_ || preparing_) return;
    if (is_out_for_good()) return;
    if (last_attempt_ && now - *last_attempt_ <= kBetweenAttempts) return;
    if (!group_) connect();
    if (!group_) return;
    last_attempt_ = now;
    preparing_ = true;
    owner_.prepare_to_join(kind_);
}

void GroupLink::join() {
    preparing_ = false;
    if (!group_) return;
    feed(Restarted());
    const Status joined = group_->join();
    if (joined) {
        joined_ = true;
        log_->info("{}: joining", group_name(kind_));
    } else if (joined.error().code == Errno::TryAgain) {
        last_attempt_.reset();  // the ring is forming, or has not noticed yet that we had left
    } else {
        lose_connection("joining failed: " + joined.error().detail);
    }
}

void GroupLink::stop() {
    group_.reset();  // the others see it at once
    joined_ = false;
}

}  // namespace cfsgate::replication
