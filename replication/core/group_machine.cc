// SPDX-License-Identifier: Apache-2.0
#include "replication/core/group_machine.h"

#include <algorithm>
#include <utility>

#include "replication/core/state_sync.h"
#include "store/base/bytes.h"
#include "store/base/check.h"

namespace cfsgate::replication {
namespace {

/// The order of messages that wait for the end of a sync: by the senders' private counters, all
/// senders together, as signed 32-bit difference. WIRE.md, "Queue order".
bool counts_before(std::uint64_t a, std::uint64_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a - b)) < 0;
}

/// One index lists at most this many entries.
std::size_t entries_of(const std::string& index) { return index.size() / 40; }

}  // namespace

std::string_view to_string(const Mode& mode) {
    struct Name {
        std::string_view operator()(const Joining&) const { return "joining"; }
        std::string_view operator()(const CollectingIndexes&) const { return "collecting indexes"; }
        std::string_view operator()(const AwaitingUpdates&) const { return "awaiting updates"; }
        std::string_view operator()(const Synced&) const { return "synced"; }
        std::string_view operator()(const Left&) const { return "left"; }
    };
    return std::visit(Name(), mode);
}

GroupMachine::GroupMachine(GroupKind kind, Member self, Conduct conduct)
    : kind_(kind), self_(self), conduct_(conduct) {}

Effects GroupMachine::step(const Event& event, std::uint32_t now) {
    effects_.clear();
    std::visit([this, now](const auto& one) { on(one, now); }, event);
    return std::exchange(effects_, {});
}

bool GroupMachine::can_send() const {
    const bool may = kind_ == GroupKind::Status || quorate_;
    if (conduct_ == Conduct::AsTheOriginal) return may && member_ && !is_left();
    return may && is_synced() && !commit_;
}

void GroupMachine::leave(std::string reason, Left::Why why) {
    const auto* const left = std::get_if<Left>(&mode_);
    if (left != nullptr && (left->why == why || left->why == Left::Why::NewerProtocol)) return;
    mode_ = Left{why, reason};
    effects_.push_back(Leave{std::move(reason)});
}

void GroupMachine::become_synced() {
    if (is_synced()) return;
    mode_ = Synced();
    effects_.push_back(BecameSynced());
}

void GroupMachine::send(MessageType type, std::string body, std::uint32_t now) {
    const SyncMessage message{static_cast<std::uint16_t>(type), now, epoch_, std::move(body)};
    effects_.push_back(Multicast{encode_message(message, protocol()), {}});
}

void GroupMachine::multicast_normal(std::uint16_t subtype, std::string body, std::uint32_t now) {
    const NormalMessage message{subtype, now, ++sent_, std::move(body)};
    effects_.push_back(Multicast{encode_message(message, protocol()), message.count});
}

// --- Views ---

void GroupMachine::on(const ViewChanged& event, std::uint32_t now) {
    member_ = false;
    // Only a candidate: everybody takes the one that the lowest node sends.
    epoch_ = Epoch{++epochs_made_, now, self_};
    verification_.reset();
    verification_id_ = verifications_;
    by_arrival_.clear();
    if (is_left()) return;
    had_view_ = true;
    view_ = View(event.members);
    member_ = view_.contains(self_);
    synced_.clear();
    sending_updates_ = false;
    if (!member_) {
        if (!std::holds_alternative<Joining>(mode_)) leave("this node is not in the view any more");
        return;
    }
    if (view_.size() > 1) return begin_round(event.joined, now);
    synced_ = {self_};
    become_synced();
    deliver_by_count();
}

void GroupMachine::begin_round(bool joined, std::uint32_t now) {
    if (joined) send_again_what_is_ours();
    mode_ = CollectingIndexes();
    if (view_.lowest() == self_.node) send(MessageType::SyncStart, {}, now);
}

/// Those who have joined have not seen what waits here. Every sender repeats its own.
void GroupMachine::send_again_what_is_ours() {
    for (const Queued& queued : std::exchange(by_count_, {})) {
        if (queued.from != self_) continue;
        effects_.push_back(
            Multicast{encode_message(queued.message, protocol()), queued.message.count});
    }
}

void GroupMachine::on(const QuorumChanged& event, std::uint32_t) { quorate_ = event.quorate; }

void GroupMachine::on(const Restarted&, std::uint32_t) {
    const auto* const left = std::get_if<Left>(&mode_);
    if (left != nullptr && left->why == Left::Why::NewerProtocol) return;
    mode_ = Joining();
    member_ = false;
    by_count_.clear();
    by_arrival_.clear();
    synced_.clear();
    commit_.reset();
    sending_updates_ = false;
    verification_.reset();
}

void GroupMachine::on(const ApplierFailed& event, std::uint32_t) { leave(event.reason); }

void GroupMachine::on(const SendFailed& event, std::uint32_t) {
    leave("a message could not be sent: " + event.reason);
}

// --- Messages ---

void GroupMachine::on(const Delivered& event, std::uint32_t now) {
    if (is_left()) return;
    if (!had_view_) return leave("a message came before any view");
    auto decoded = decode_message(event.bytes, protocol());
    if (!decoded) return leave(decoded.error().detail);
    if (std::holds_alternative<OlderProtocol>(*decoded)) return;
    if (std::holds_alternative<NewerProtocol>(*decoded)) {
        return leave("a member speaks a newer protocol", Left::Why::NewerProtocol);
    }
    if (auto* normal = std::get_if<NormalMessage>(&*decoded)) {
        return on_normal(event.from, std::move(*normal));
    }
    on_sync(event.from, std::get<SyncMessage>(std::move(*decoded)), now);
}

void GroupMachine::on_normal(Member from, NormalMessage message) {
    if (is_synced()) return apply(from, std::move(message));
    if (!view_.contains(from)) return leave("a message from one that is not a member");
    // While we wait for updates, the synced members apply what arrives at once, whoever sent it;
    // so it has its place in the order of arrival here too.
    const bool like_the_synced = conduct_ == Conduct::Careful || synced_.contains(from);
    if (std::holds_alternative<AwaitingUpdates>(mode_) && like_the_synced) {
        by_arrival_.push_back({from, std::move(message)});
    } else {
        queue_by_count({from, std::move(message)});
    }
}

void GroupMachine::queue_by_count(Queued queued) {
    // Behind the last one that does not come after it.
    auto place = by_count_.end();
    while (place != by_count_.begin() &&
           counts_before(queued.message.count, std::prev(place)->message.count)) {
        --place;
    }
    by_count_.insert(place, std::move(queued));
}

void GroupMachine::apply(const Member& from, NormalMessage message) {
    const bool own = from == self_;
    if (kind_ == GroupKind::Status) {
        effects_.push_back(
            ApplyStatus{message.subtype, std::move(message.body), from, message.time, own});
        return;
    }
    auto operation = decode_operation(message.subtype, message.body);
    if (!operation || !quorate_) {
        if (own) effects_.push_back(Refuse{message.count, Errno::NotPermitted});
        return leave(operation ? "a change came while this node has no quorum"
                               : operation.error().detail);
    }
    Apply effect{std::move(*operation), from, message.time, {}, view_.lowest() == self_.node};
    if (own) effect.own_count = message.count;
    effects_.push_back(std::move(effect));
}

void GroupMachine::deliver_by_count() {
    std::deque<Queued> waiting = std::exchange(by_count_, {});
    for (Queued& queued : waiting) {
        if (is_left()) return;
        if (!view_.contains(queued.from)) continue;
        const bool from_synced = synced_.contains(queued.from);
        if (!from_synced) {
            by_count_.push_back(std::move(queued));
        } else if (is_synced()) {
            apply(queued.from, std::move(queued.message));
        } else {
            by_arrival_.push_back(std::move(queued));
        }
    }
}

void GroupMachine::deliver_by_arrival() {
    std::deque<Queued> waiting = std::exchange(by_arrival_, {});
    for (Queued& queued : waiting) {
        if (is_left()) return;
        apply(queued.from, std::move(queued.message));
    }
}

// --- Submissions ---

void GroupMachine::on(const Submit& event, std::uint32_t now) {
    CFSGATE_CHECK(kind_ == GroupKind::Configuration && can_send());
    EncodedOperation encoded = encode_operation(event.operation);
    multicast_normal(encoded.subtype, std::move(encoded.body), now);
}

void GroupMachine::on(const SubmitStatus& event, std::uint32_t now) {
    CFSGATE_CHECK(kind_ == GroupKind::Status && can_send());
    multicast_normal(event.subtype, event.body, now);
}

// --- State sync ---

void GroupMachine::on_sync(Member from, SyncMessage message, std::uint32_t now) {
    const bool start = message.type == static_cast<std::uint16_t>(MessageType::SyncStart);
    if (!start && message.epoch != epoch_) return;  // of another round
    if (std::holds_alternative<Joining>(mode_)) return leave("a sync message while joining");
    if (message.type > static_cast<std::uint16_t>(MessageType::Verify)) {
        if (!is_synced()) leave("a message of unknown type " + std::to_string(message.type));
        return;
    }
    switch (static_cast<MessageType>(message.type)) {
        case MessageType::Normal: return;  // has another frame
        case MessageType::SyncStart: return on_sync_start(message);
        case MessageType::State: return on_state(from, std::move(message), now);
        case MessageType::Update: return on_update(message);
        case MessageType::UpdateComplete: return on_update_complete();
        case MessageType::VerifyRequest: return on_verify_request(from, message);
        case MessageType::Verify: return on_verify(message);
    }
}

/// Also from another node than the lowest: peers obey that, so must we.
void GroupMachine::on_sync_start(const SyncMessage& message) {
    if (is_synced()) return;
    auto* const collecting = std::get_if<CollectingIndexes>(&mode_);
    if (collecting == nullptr) return leave("a state sync began while updates are awaited");
    epoch_ = message.epoch;
    collecting->received.clear();
    effects_.push_back(ReadState{epoch_});
}

void GroupMachine::on(const StateRead& event, std::uint32_t now) {
    if (event.epoch != epoch_ || !std::holds_alternative<CollectingIndexes>(mode_)) return;
    if (event.state.empty()) return leave("this node's state cannot be read");
    send(MessageType::State, event.state, now);
}

void GroupMachine::on_state(Member from, SyncMessage message, std::uint32_t now) {
    if (is_synced()) return;
    auto* const collecting = std::get_if<CollectingIndexes>(&mode_);
    if (collecting == nullptr) return leave("a state came while updates are awaited");
    if (!view_.contains(from)) return leave("a state from one that is not a member");
    if (!collecting->received.emplace(from, std::move(message.body)).second) {
        return leave("a second state from one member");
    }
    if (collecting->received.size() < view_.size()) return;
    conclude(std::move(collecting->received), now);
}

void GroupMachine::conclude(std::map<Member, std::string> states, std::uint32_t now) {
    if (kind_ == GroupKind::Status) {
        synced_.insert(view_.members().begin(), view_.members().end());
        effects_.push_back(MergeStates{std::move(states)});
        become_synced();
        return deliver_by_count();
    }
    auto decision = decide_sync(states);
    if (!decision) return leave(decision.error().detail);
    synced_ = std::move(decision->synced);
    last_leader_ = decision->leader;
    if (decision->leader == self_) {
        sending_updates_ = !decision->send.empty();
        if (sending_updates_) {
            effects_.push_back(ReadUpdates{epoch_, std::move(decision->send)});
        } else {
            send(MessageType::UpdateComplete, {}, now);
        }
    }
    if (synced_.contains(self_)) {
        become_synced();
    } else {
        mode_ = AwaitingUpdates{decision->leader,
                                std::move(states.at(self_)),
                                std::move(states.at(decision->leader)),
                                {}};
    }
    deliver_by_count();
}

void GroupMachine::on(const UpdatesRead& event, std::uint32_t now) {
    if (event.epoch != epoch_ || !is_synced() || !sending_updates_) return;
    for (const std::string& update : event.updates) send(MessageType::Update, update, now);
    if (!event.last) return;
    sending_updates_ = false;
    send(MessageType::UpdateComplete, {}, now);
}

/// Whoever sends it: peers do not compare the sender with the leader.
void GroupMachine::on_update(const SyncMessage& message) {
    if (is_synced()) return;
    auto* const awaiting = std::get_if<AwaitingUpdates>(&mode_);
    if (awaiting == nullptr) return leave("an update that nobody awaits");
    auto update = decode_update(message.body);
    if (!update) return leave(update.error().detail);
    if (awaiting->updates.size() >= entries_of(awaiting->leader_index)) {
        return leave("more updates than the leader has entries");
    }
    awaiting->updates.push_back(std::move(*update));
}

void GroupMachine::on_update_complete() {
    if (std::holds_alternative<CollectingIndexes>(mode_)) {
        return leave("the end of updates that nobody awaits");
    }
    synced_.insert(view_.members().begin(), view_.members().end());
    if (auto* awaiting = std::get_if<AwaitingUpdates>(&mode_)) {
        commit_ = epoch_;
        effects_.push_back(Commit{epoch_, awaiting->leader, std::move(awaiting->own_index),
                                  std::move(awaiting->leader_index), std::move(awaiting->updates)});
        become_synced();
        deliver_by_arrival();
    }
    deliver_by_count();
}

void GroupMachine::on(const Committed& event, std::uint32_t) {
    if (commit_ == event.epoch) commit_.reset();
}

// --- Verification ---

void GroupMachine::on(const VerifyDue&, std::uint32_t now) {
    const bool acts = kind_ == GroupKind::Configuration && is_synced() &&
                      view_.lowest() == self_.node && verifications_ == verification_id_;
    if (!acts) return;
    ByteWriter body;
    body.put(++verifications_);
    send(MessageType::VerifyRequest, body.take(), now);
}

void GroupMachine::on_verify_request(Member from, const SyncMessage& message) {
    if (!is_synced() || kind_ == GroupKind::Status) return;
    ByteReader in(message.body);
    const auto number = in.take<std::uint64_t>();
    if (!in.finish("verify request")) return leave("a malformed verify request");
    verification_ = Verification{number, message.epoch, {}, from == self_, {}};
    verification_id_ = number;
    effects_.push_back(ComputeChecksum{message.epoch, number});
}

void GroupMachine::on(const ChecksumComputed& event, std::uint32_t now) {
    if (!verification_ || verification_->number != event.number ||
        verification_->epoch != event.epoch || !is_synced()) {
        return;
    }
    verification_->own = event.digest;
    if (verification_->ours) {
        ByteWriter body;
        body.put(event.number);
        body.put_bytes({reinterpret_cast<const char*>(event.digest.data()), event.digest.size()});
        send(MessageType::Verify, body.take(), now);
    }
    compare_verification();
}

void GroupMachine::on_verify(const SyncMessage& message) {
    if (!is_synced() || kind_ == GroupKind::Status) return;
    ByteReader in(message.body);
    const auto number = in.take<std::uint64_t>();
    Digest digest{};
    const auto bytes = in.take_bytes(digest.size());
    if (!in.finish("verify")) return leave("a malformed verify message");
    if (!verification_ || verification_->number != number ||
        verification_->epoch != message.epoch) {
        return;
    }
    std::copy(bytes.begin(), bytes.end(), digest.begin());
    verification_->requester = digest;
    compare_verification();
}

void GroupMachine::compare_verification() {
    if (!verification_->own || !verification_->requester) return;
    const bool equal = *verification_->own == *verification_->requester;
    effects_.push_back(VerifyFinished{verification_->number, equal});
    verification_.reset();
    if (!equal) leave("the checksum of this node's tree is not that of the lowest node");
}

}  // namespace cfsgate::replication
