// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/process.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "replication/core/message.h"

namespace cfsgate::simulation {
namespace {

using namespace replication;  // NOLINT(google-build-using-namespace): the types it is made of

template <class T>
T must(Result<T> result, const char* what) {
    if (!result) {
        throw Broken(std::string(what) + ": " + std::string(to_string(result.error().code)) + " " +
                     result.error().detail);
    }
    return std::move(*result);
}

void must(const Status& status, const char* what) {
    if (!status) throw Broken(std::string(what) + ": " + status.error().detail);
}

constexpr std::size_t kInFlightMax = 8;
/// The number of the call that RotationGate wants; those of callers begin with 1.
constexpr std::uint64_t kMarker = ~std::uint64_t{0};

}  // namespace

Process::Process(Setup setup, World& world, test::Prng& prng, History& history,
                 GroupService& configuration, GroupService* status)
    : setup_(std::move(setup)),
      world_(world),
      prng_(prng),
      history_(history),
      store_(must(store::Store::open(setup_.store, null_logger()), "the store does not open")),
      applier_(*store_,
               {{},
                {},
                [this](Unlock unlock) {
                    Call call;
                    call.raw = Operation(std::move(unlock));
                    call.prepared = true;
                    letter([this, call] { held_.push_back(call); });
                }},
               null_logger()),
      configuration_(GroupKind::Configuration, setup_.self, setup_.conduct, configuration) {
    recall_tree();
    configuration.connect(setup_.node, setup_.self, configuration_.inbox);
    if (status != nullptr) {
        status_ = std::make_unique<Link>(GroupKind::Status, setup_.self, setup_.conduct, *status);
        status->connect(setup_.node, setup_.self, status_->inbox);
    }
    say("starts: " + std::string(store::to_string(store_->start_kind())) + ", version " +
        std::to_string(tree_->version));
}

/// Which of the trees that were here this is.
void Process::recall_tree() {
    const Digest checksum = must(store_->tree_checksum(), "checksum");
    const std::uint64_t version = must(store_->read(), "read")->head().version.value();
    auto& trees = *setup_.trees;
    if (trees.empty()) {
        tree_ = history_.begin(checksum, version);
    } else {
        auto found = trees.end();
        while (found != trees.begin() && std::prev(found)->first >= setup_.durable) {
            --found;
            const Step& tree = *found->second;
            if (tree.version != version || (tree.checksum && *tree.checksum != checksum)) continue;
            tree_ = history_.arrive(&tree, checksum);
            trees.erase(std::next(found), trees.end());
            break;
        }
        if (tree_ == nullptr) {
            throw Broken("after its start (" + std::string(store::to_string(store_->start_kind())) +
                         ") node " + std::to_string(setup_.node + 1) + " has version " +
                         std::to_string(version) + ", and had version " +
                         std::to_string(trees.rbegin()->second->version));
        }
    }
    trees[appended()] = tree_;
}

void Process::boundary() {
    if (effects_to_live_ > 0 && --effects_to_live_ == 0) throw Killed();
}

std::string Process::describe() const {
    return std::string(to_string(machine().mode())) +
           (configuration_.joined ? "" : ", not joined") + (quorate_ ? "" : ", no quorum") +
           ", version " + std::to_string(tree_->version) + ", inbox " +
           std::to_string(configuration_.inbox.size()) + ", works " +
           std::to_string(works_.size()) + ", unsent " +
           std::to_string(configuration_.sync_out.size() + configuration_.normal_out.size()) +
           ", queued " + std::to_string(machine().queued()) + ", in flight " +
           std::to_string(in_flight_.size()) + ", held " + std::to_string(held_.size());
}

// --- Scheduling ---

bool Process::can(Action action) const {
    const auto can_send_one = [](const Link& link) {
        return link.joined &&
               (!link.sync_out.empty() || (link.machine.can_send() && !link.normal_out.empty()));
    };
    switch (action) {
        case Action::Inbox: return !configuration_.inbox.empty();
        case Action::StatusInbox: return status_ && !status_->inbox.empty();
        case Action::Quorum: return !quorum_inbox_.empty();
        case Action::Letter: return !letters_.empty();
        case Action::Work: return !works_.empty() || restart_asked_;
        case Action::Send: return can_send_one(configuration_);
        case Action::StatusSend: return status_ && can_send_one(*status_);
        case Action::Tick: return can_tick(configuration_) || (status_ && can_tick(*status_));
        case Action::SendHeld: return !held_.empty() || can_send_ != machine().can_send();
        case Action::Flush: return !durable_.empty();
    }
    return false;
}

bool Process::is_quiet() const {
    for (std::size_t i = 0; i < kActions; ++i) {
        if (can(static_cast<Action>(i))) return false;
    }
    return in_flight_.empty() && rotation_.empty();
}

void Process::perform(Action action) {
    switch (action) {
        case Action::Inbox: return process_inbox(configuration_);
        case Action::StatusInbox: return process_inbox(*status_);
        case Action::Quorum: return take_quorum();
        case Action::Letter: {
            const auto letter = std::move(letters_.front());
            letters_.pop_front();
            boundary();
            return letter();
        }
        case Action::Work: return work();
        case Action::Send: return send_one(configuration_);
        case Action::StatusSend: return send_one(*status_);
        case Action::Tick:
            if (can_tick(configuration_)) tick(configuration_);
            if (status_ && can_tick(*status_)) tick(*status_);
            return;
        case Action::SendHeld: return send_held();
        case Action::Flush: return flush();
    }
}

// --- As GroupLink ---

void Process::feed(Link& link, const Event& event) {
    const std::string_view before = to_string(link.machine.mode());
    Effects effects = link.machine.step(event, world_.next_time(setup_.node));
    const std::string_view after = to_string(link.machine.mode());
    if (before != after && &link == &configuration_) {
        say(std::string(after) + ", was " + std::string(before));
    }
    if (setup_.sabotage == Sabotage::ArrivalOrder) {
        std::stable_sort(effects.begin(), effects.end(), [&](const Effect& a, const Effect& b) {
            const auto* one = std::get_if<Apply>(&a);
            const auto* other = std::get_if<Apply>(&b);
            if (one == nullptr || other == nullptr) return false;
            return arrivals_[{one->from, one->time}] < arrivals_[{other->from, other->time}];
        });
    }
    for (Effect& effect : effects) {
        boundary();
        carry_out(link, std::move(effect));
    }
}

void Process::carry_out(Link& link, Effect effect) {
    if (auto* multicast = std::get_if<Multicast>(&effect)) {
        if (multicast->own_count) return put_normal(link, std::move(*multicast));
        link.sync_out.push_back(std::move(*multicast));
        return;
    }
    if (const auto* left = std::get_if<Leave>(&effect)) leave(link, left->reason);
    if (link.kind == GroupKind::Configuration) return take_configuration(std::move(effect));
    take_status(std::move(effect));
}

void Process::put_normal(Link& link, Multicast message) {
    const auto place = std::upper_bound(
        link.normal_out.begin(), link.normal_out.end(), *message.own_count,
        [](std::uint64_t count, const Multicast& other) { return count < *other.own_count; });
    // What is new has the highest count.
    const bool again = *message.own_count != link.machine.last_count();
    if (again && link.kind == GroupKind::Configuration) {
        say("sends again " + std::to_string(*message.own_count));
        if (sabotages(Sabotage::DropOneResent, 2) || setup_.sabotage == Sabotage::NoResend) return;
    }
    link.normal_out.insert(place, std::move(message));
}

void Process::leave(Link& link, const std::string& reason) {
    if (link.kind == GroupKind::Configuration) {
        say("leaves: " + reason);
        has_left_ = true;
    }
    link.sync_out.clear();
    for (const Multicast& message : std::exchange(link.normal_out, {})) {
        const bool sent = *message.own_count <= link.highest_sent;
        if (!sent && &link == &configuration_) answer_own(*message.own_count, Errno::Busy);
    }
    link.inbox.clear();
    link.service.disconnect(setup_.node);
    link.joined = false;
}

void Process::process_inbox(Link& link) {
    GroupEvent event = std::move(link.inbox.front());
    link.inbox.pop_front();
    if (&link == &configuration_) at_ = event.at;
    if (const auto* view = std::get_if<ViewEvent>(&event.what)) {
        if (&link == &configuration_) {
            round_.reset();
            std::string members;
            for (const Member& member : view->members) {
                members += " " + std::to_string(member.node.value());
            }
            say("sees view" + members + (view->joined ? ", some joined" : ""));
        }
        feed(link, ViewChanged{view->members, view->joined});
        if (&link == &configuration_ && setup_.rotation) consider_quorum();
        return;
    }
    // The notice of a ring is there before any message in it.
    while (&link == &configuration_ && setup_.conduct == Conduct::Careful && !quorum_inbox_.empty())
        take_quorum();
    if (!link.joined) return;
    const auto& message = std::get<MessageEvent>(event.what);
    if (&link == &configuration_ && setup_.sabotage == Sabotage::ArrivalOrder) {
        const auto decoded = decode_message(*message.bytes, 1);
        if (const auto* normal = std::get_if<NormalMessage>(&*decoded)) {
            arrivals_.emplace(Key{message.from, normal->time}, arrivals_.size());
        }
    }
    feed(link, Delivered{message.from, *message.bytes});
}

void Process::send_one(Link& link) {
    if (try_again_ && prng_.one_in(6)) {
        if (!gives_up()) return;
        if (!link.sync_out.empty()) {
            link.sync_out.pop_front();
            return feed(link, SendFailed{"the group takes nothing"});
        }
        const std::uint64_t count = *link.normal_out.front().own_count;
        link.normal_out.pop_front();
        say("cannot send " + std::to_string(count));
        if (link.kind == GroupKind::Configuration) answer_own(count, Errno::Busy);
        return;
    }
    auto& out = link.sync_out.empty() ? link.normal_out : link.sync_out;
    Multicast message = std::move(out.front());
    out.pop_front();
    if (message.own_count) link.highest_sent = std::max(link.highest_sent, *message.own_count);
    boundary();
    link.service.multicast(setup_.node, std::move(message.bytes));
}

bool Process::can_tick(const Link& link) const {
    if (setup_.sabotage == Sabotage::StayOut && has_left_) return false;
    const auto* const left = std::get_if<Left>(&link.machine.mode());
    const bool for_good = left != nullptr && left->why == Left::Why::NewerProtocol;
    return !link.joined && !link.preparing && !for_good &&
           link.service.ring_of(setup_.node).has_value();
}

void Process::tick(Link& link) {
    if (!link.service.connected(setup_.node)) {
        link.inbox.clear();
        link.service.connect(setup_.node, setup_.self, link.inbox);
    }
    link.preparing = true;
    if (link.kind == GroupKind::Configuration) {
        restart_asked_ = true;
    } else {
        join(link);
    }
}

void Process::join(Link& link) {
    link.preparing = false;
    if (!link.service.connected(setup_.node)) return;
    feed(link, Restarted());
    link.joined = link.service.join(setup_.node);
    if (link.joined && &link == &configuration_) say("joins");
}

/// corosync has ended, and with it the handles; it may be back before anything else happens here.
void Process::corosync_gone() {
    for (Link* link : {&configuration_, status_.get()}) {
        if (link == nullptr) continue;
        link->inbox.clear();
        feed(*link, ApplierFailed{"corosync is gone"});
        link->joined = false;
    }
    quorum_inbox_.clear();
    on_quorum(false);
}

// --- As ClusterSequencer ---

Completion Process::completion(std::uint64_t call) {
    return [this, call](const Result<Outcome>& result) {
        if (call == 0) return;
        if (call == kMarker) {
            const bool back = result || result.error().code == Errno::NotFound;
            letter([this, status = back ? Status() : Status(tl::unexpected(result.error()))] {
                rotation_.marker_back(status);
                send_marker();
            });
        } else if (result && setup_.rotation) {
            past_rotation(call, *result);
        } else {
            answer(call, result);
        }
    };
}

void Process::past_rotation(std::uint64_t call, const Outcome& outcome) {
    letter([this, call, outcome] {
        rotation_.add(outcome.sequence, [this, call, outcome](const Status& status) {
            answer(call, status ? Result<Outcome>(outcome) : tl::unexpected(status.error()));
        });
        send_marker();
    });
}

void Process::send_marker() {
    if (!rotation_.wants_marker()) return;
    rotation_.marker_sent();
    Call call;
    call.number = kMarker;
    call.raw = Operation(Delete{"../cfsgate-sync"});
    call.submission.need = Need::Applied;
    call.prepared = true;
    letter([this, call] { held_.push_back(call); });
}

void Process::answer(std::uint64_t call, const Result<Outcome>& result) {
    if (!result && sabotages(Sabotage::NeverAnswer, 2)) return;
    if (sabotages(Sabotage::AnswerTwice, 4)) world_.answered(call, result);
    world_.answered(call, result);
}

void Process::submit(Call call) {
    const Completion done = completion(call.number);
    if (!quorate_) return done(fail(Errno::NoAccess));
    if (refusing_) return done(fail(*refusing_));
    if (!call.raw && can_send_) {
        const auto view = must(store_->read(), "read");
        const Status ready = prepare(*view, call.submission);
        if (!ready) return done(tl::unexpected(ready.error()));
        call.prepared = true;
    }
    letter([this, call] { held_.push_back(call); });
}

void Process::verify() { feed(configuration_, VerifyDue()); }

void Process::time_out_first() {
    if (held_.empty()) return;
    const Call call = std::move(held_.front());
    held_.pop_front();
    completion(call.number)(fail(Errno::TimedOut));
}

void Process::take_quorum() {
    const bool quorate = quorum_inbox_.front();
    quorum_inbox_.pop_front();
    on_quorum(quorate);
}

void Process::on_quorum(bool quorate) {
    say(quorate ? "has quorum" : "has no quorum");
    ring_quorate_ = quorate;
    consider_quorum();
}

void Process::consider_quorum() {
    const bool few = setup_.rotation && (!configuration_.joined ||
                                         machine().view().members().size() < setup_.majority);
    quorate_ = ring_quorate_ && !few;
    feed(configuration_, QuorumChanged{quorate_});
    if (!quorate_) release_held(Errno::NoAccess);
}

void Process::on_applier_ready(bool ready) {
    if (!ready) {
        refusing_ = Errno::NoSpace;
        release_held(Errno::NoSpace);
        configuration_.preparing = false;
        return;
    }
    refusing_.reset();
    join(configuration_);
    feed(configuration_, QuorumChanged{quorate_});
}

void Process::take_configuration(Effect effect) {
    std::visit(
        [this](auto& one) {
            using T = std::decay_t<decltype(one)>;
            if constexpr (std::is_same_v<T, Apply>) {
                take_apply(std::move(one));
            } else if constexpr (std::is_same_v<T, Refuse>) {
                answer_own(one.own_count, one.error);
            } else if constexpr (std::is_same_v<T, ReadState>) {
                round_ = round_of(one.epoch);
                works_.emplace_back(one);
            } else if constexpr (std::is_same_v<T, ReadUpdates> || std::is_same_v<T, Commit> ||
                                 std::is_same_v<T, ComputeChecksum>) {
                works_.emplace_back(std::move(one));
            } else if constexpr (std::is_same_v<T, Leave>) {
                release_all();
            } else if constexpr (std::is_same_v<T, VerifyFinished>) {
                say("verification " + std::to_string(one.number) +
                    (one.equal ? ": equal" : ": not equal"));
                if (!one.equal) world_.unequal(setup_.node);
            }
        },
        effect);
}

void Process::take_status(Effect effect) {
    if (const auto* read = std::get_if<ReadState>(&effect)) {
        letter([this, epoch = read->epoch] { feed(*status_, StateRead{epoch, "state"}); });
    } else if (std::holds_alternative<BecameSynced>(effect)) {
        letter([this] {
            if (status_->machine.can_send()) feed(*status_, SubmitStatus{1, "address"});
        });
    }
}

void Process::take_apply(Apply effect) {
    Change change;
    change.key = Key{effect.from, effect.time};
    change.in_quorate_ring = configuration_.service.had_quorum(at_.first);
    change.round = round_;
    if (effect.own_count) {
        const auto found = in_flight_.find(*effect.own_count);
        if (found != in_flight_.end()) {
            change.ordered.own = std::move(found->second.own);
            change.call = found->second.call;
            in_flight_.erase(found);
        }
    }
    if (setup_.sabotage == Sabotage::LocalTime) effect.time = world_.clock(setup_.node);
    change.ordered.what = std::move(effect);
    if (change.call && setup_.sabotage == Sabotage::AnswerBeforeApply) {
        change.ordered.own->done(Outcome());
        change.ordered.own.reset();
    }
    const bool twice = sabotages(Sabotage::ApplyTwice, 10);
    works_.emplace_back(std::move(change));
    if (!twice) return;
    Change again;
    again.key = std::get<Change>(works_.back()).key;
    again.in_quorate_ring = true;
    again.ordered.what = std::get<Change>(works_.back()).ordered.what;
    works_.emplace_back(std::move(again));
}

void Process::answer_own(std::uint64_t count, Errno error) {
    const auto found = in_flight_.find(count);
    if (found == in_flight_.end()) return;
    const Completion done = std::move(found->second.own.done);
    in_flight_.erase(found);
    done(fail(error));
}

void Process::release_all() {
    for (const auto& [count, flying] : std::exchange(in_flight_, {})) {
        flying.own.done(fail(Errno::TimedOut));
    }
    release_held(Errno::Busy);
}

void Process::release_held(Errno error) {
    for (const Call& call : std::exchange(held_, {})) completion(call.number)(fail(error));
}

void Process::send_held() {
    can_send_ = machine().can_send();
    if (!quorate_) return release_held(Errno::NoAccess);
    if (refusing_) return release_held(*refusing_);
    if (!can_send_) {
        for (Call& call : held_) call.prepared = call.raw.has_value();
        return;
    }
    while (!held_.empty() && in_flight_.size() < kInFlightMax) {
        Call call = std::move(held_.front());
        held_.pop_front();
        if (call.prepared) {
            send_call(std::move(call));
        } else {
            works_.emplace_back(std::move(call));
        }
    }
}

void Process::send_call(Call call) {
    GroupOperation operation =
        call.raw ? std::move(*call.raw) : GroupOperation(std::move(call.submission.operation));
    feed(configuration_, Submit{std::move(operation)});
    say("submits change " + std::to_string(machine().last_count()) + " for call " +
        std::to_string(call.number));
    if (call.number == 0) return;
    in_flight_.emplace(machine().last_count(),
                       InFlight{{{}, call.submission.need, completion(call.number)}, call.number});
}

// --- As ApplierThread ---

void Process::work() {
    if (restart_asked_) return restart();
    std::size_t most = 1 + prng_.below(works_.size());
    while (most > 0 && !works_.empty()) {
        std::vector<Change> changes;
        while (most > 0 && !works_.empty() && std::holds_alternative<Change>(works_.front())) {
            changes.push_back(std::get<Change>(std::move(works_.front())));
            works_.pop_front();
            --most;
        }
        if (!changes.empty()) perform_changes(std::move(changes));
        if (most == 0 || works_.empty()) return;
        Work work = std::move(works_.front());
        works_.pop_front();
        --most;
        if (broken_) {
            drop(work);
            continue;
        }
        std::visit(
            [this](auto& one) {
                if constexpr (!std::is_same_v<std::decay_t<decltype(one)>, Change>) {
                    perform_work(std::move(one));
                }
            },
            work);
        boundary();
    }
}

void Process::restart() {
    restart_asked_ = false;
    for (Work& work : std::exchange(works_, {})) drop(work);
    bool ready = true;
    if (broken_ || store_->failure()) {
        ready = recoveries_to_fail_ == 0 && store_->try_recover().has_value();
        if (recoveries_to_fail_ > 0) --recoveries_to_fail_;
    }
    if (ready) broken_ = false;
    letter([this, ready] { on_applier_ready(ready); });
}

void Process::drop(Work& work) {
    if (auto* change = std::get_if<Change>(&work)) {
        if (change->ordered.own) change->ordered.own->done(fail(Errno::TimedOut));
    } else if (const auto* call = std::get_if<Call>(&work)) {
        completion(call->number)(fail(Errno::Busy));
    }
}

void Process::broken() {
    say("cannot apply what was ordered");
    fail_next_ = false;
    broken_ = true;
    letter([this] {
        refusing_ = Errno::NoSpace;
        feed(configuration_, ApplierFailed{"it cannot be stored here"});
    });
}

void Process::arrived() {
    tree_ = history_.arrive(tree_, must(store_->tree_checksum(), "checksum"));
    (*setup_.trees)[appended()] = tree_;
}

void Process::perform_changes(std::vector<Change> changes) {
    std::vector<OrderedChange> ordered;
    ordered.reserve(changes.size());
    for (Change& change : changes) ordered.push_back(std::move(change.ordered));
    bool well = !broken_;
    if (well && fail_next_) {
        well = false;
        broken();
    } else if (well) {
        must(applier_.apply(ordered), "ordered changes do not apply");
    }
    std::vector<const Step*> passed;
    for (std::size_t i = 0; i < changes.size(); ++i) {
        Change& change = changes[i];
        change.ordered = std::move(ordered[i]);
        if (!well) {
            change.ordered.result = fail(Errno::NoSpace);
            continue;
        }
        if (std::holds_alternative<UnlockRequest>(change.ordered.what.operation)) continue;
        if (!performed_.insert(change.key).second) world_.repeated(setup_.node, change.key);
        const Step* const before = tree_;
        tree_ = history_.apply(tree_, change.key, change.ordered.result, change.in_quorate_ring,
                               change.round);
        say("applied " + std::to_string(change.key.first.node.value()) + "/" +
            std::to_string(change.key.second) +
            (change.ordered.result
                 ? ": version " + std::to_string(tree_->version)
                 : ": " + std::string(to_string(change.ordered.result.error().code))));
        if (tree_ != before) passed.push_back(tree_);
        if (change.call && *change.call != kMarker) world_.applied(*change.call, tree_);
    }
    // One journal record each.
    for (std::size_t i = 0; i < passed.size(); ++i) {
        (*setup_.trees)[appended() + 1 + i - passed.size()] = passed[i];
    }
    if (well) arrived();
    for (Change& change : changes) {
        boundary();
        answer_change(change);
    }
}

void Process::answer_change(Change& change) {
    if (!change.ordered.own) return;
    OwnChange& own = *change.ordered.own;
    const Sequence upto = change.ordered.result ? change.ordered.result->sequence : Sequence();
    if (!change.ordered.result || own.need != Need::Durable) {
        const bool flush = change.ordered.result && own.need == Need::Flushing;
        own.done(std::move(change.ordered.result));
        if (flush) durable_.push_back({upto, [] {}});
        return;
    }
    durable_.push_back({upto, [done = std::move(own.done),
                               result = std::move(change.ordered.result)] { done(result); }});
}

void Process::flush() {
    Sequence upto;
    for (const Waiting& waiting : durable_) upto = std::max(upto, waiting.upto);
    must(store_->sync(upto), "sync");
    const bool kept = setup_.store.durability == store::Durability::Relaxed ||
                      store_->journal_status().synced >= upto;
    if (!kept) throw Broken("the store does not say that it is durable");
    for (const Waiting& waiting : std::exchange(durable_, {})) {
        boundary();
        waiting.done();
    }
}

void Process::perform_work(const ReadState& work) {
    arrived();
    history_.read(round_of(work.epoch), setup_.self, tree_);
    letter([this, read = applier_.read_state(work)] { feed(configuration_, read); });
}

void Process::perform_work(const ReadUpdates& work) {
    auto updates = must(applier_.read_updates(work), "updates");
    if (updates.updates.size() != work.inodes.size()) throw Broken("updates are missing");
    letter([this, updates = std::move(updates)] { feed(configuration_, updates); });
}

void Process::perform_work(Commit work) {
    if (fail_next_) return broken();
    const Step* const theirs = history_.tree_of(round_of(work.epoch), work.leader);
    const bool overwrites = work.own_index != work.leader_index;
    if (setup_.sabotage == Sabotage::KeepAtTakeover) work.own_index = work.leader_index;
    const Committed committed = must(applier_.commit(std::move(work)), "takeover");
    if (theirs == nullptr) throw Broken("a takeover from one whose tree was not read");
    say("took over version " + std::to_string(theirs->version));
    tree_ = theirs;
    performed_.clear();
    arrived();
    letter([this, committed, overwrites] {
        if (overwrites) rotation_.overwritten(Sequence(appended()));
        feed(configuration_, committed);
    });
}

void Process::perform_work(const ComputeChecksum& work) {
    letter([this, computed = must(applier_.compute_checksum(work), "checksum")] {
        feed(configuration_, computed);
    });
}

void Process::perform_work(Call call) {
    const auto view = must(store_->read(), "read");
    if (const Status ready = prepare(*view, call.submission); !ready) {
        return completion(call.number)(tl::unexpected(ready.error()));
    }
    call.prepared = true;
    letter([this, call] { held_.push_back(call); });
}

}  // namespace cfsgate::simulation
