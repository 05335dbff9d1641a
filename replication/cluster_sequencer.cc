// SPDX-License-Identifier: Apache-2.0
#include "replication/cluster_sequencer.h"

#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "replication/applier_thread.h"
#include "replication/corosync/node_list.h"
#include "replication/corosync/quorum_source.h"
#include "replication/group_link.h"
#include "replication/prepare.h"
#include "replication/purge_message.h"
#include "replication/rotation_gate.h"
#include "replication/status_store.h"
#include "store/base/check.h"
#include "store/base/mailbox.h"

namespace cfsgate::replication {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr seconds kTick{1};
constexpr milliseconds kBlockedWait{2};
constexpr int kDeliveriesAtOnce = 256;
constexpr seconds kVotesEvery{10};
/// Members, views and votes may be shown that late: to put them together costs as much as a message.
constexpr milliseconds kPublishEvery{20};
/// Nobody can create it, so deleting it has no effect on any node; but it has its place in the
/// order.
constexpr const char* kMarkerPath = "../cfsgate-sync";

/// A caller's change on its way to the group.
struct Item {
    Submission submission;
    std::optional<GroupOperation> raw;  ///< sent as it is; the submission says the rest
    Completion done;
    SteadyTime since;
    bool prepared = false;
    std::function<void()> delivered = {};  ///< called at its place in the order, by "cluster"
};

struct InFlight {
    OwnChange own;
    SteadyTime since;
    std::function<void()> delivered;
};

Votes to_votes(const VoteFacts& facts) {
    return {facts.expected, facts.total, facts.needed, facts.device, facts.device_state};
}

/// Whether `.members` would read otherwise.
bool shows_other_members(const ClusterStatus& a, const ClusterStatus& b) {
    const auto same = [](const ClusterNode& x, const ClusterNode& y) {
        return x.id == y.id && x.name == y.name && x.online == y.online && x.ip == y.ip;
    };
    return a.name != b.name || a.config_version != b.config_version || a.quorate != b.quorate ||
           !std::equal(a.nodes.begin(), a.nodes.end(), b.nodes.begin(), b.nodes.end(), same);
}

class Cluster final : public ClusterSequencer, private LinkOwner {
public:
    Cluster(store::Store& store, ClusterOptions options, std::shared_ptr<Mailbox> mailbox,
            Logger log)
        : store_(store),
          options_(std::move(options)),
          log_(std::move(log)),
          mailbox_(std::move(mailbox)),
          configuration_(GroupKind::Configuration, *this, options_.clock, log_),
          status_(GroupKind::Status, *this, options_.clock, log_),
          applier_(
              store_,
              {[this](const auto& changes) { tell_observer(changes); },
               [this](bool own) {
                   if (conf_observer_) conf_observer_(own);
               },
               [this](Unlock unlock) { send_raw(Operation(std::move(unlock))); },
               [this](std::string_view path, NodeId from) {
                   if (purge_observer_) purge_observer_(path, from);
               }},
              {[this](Event event) {
                   mailbox_->post([this, event = std::move(event)] { on_applier_answer(event); });
               },
               [this](const Error& error) {
                   mailbox_->post([this, error] { on_applier_broken(error); });
               },
               [this](const Status& ready) {
                   mailbox_->post([this, ready] { on_applier_ready(ready); });
               }},
              log_) {
        status_published_.why_not_quorate = "corosync is not there";
        status_published_.quorate_since = options_.clock();
    }

    ~Cluster() override { stop(); }

    void start() override {
        thread_ = std::thread([this] { run(); });
        ::pthread_setname_np(thread_.native_handle(), "cluster");
    }
    void stop() override;

    // --- Sequencer ---

    bool quorate() const override { return quorate_.load(std::memory_order_acquire); }
    void submit(Submission submission, Completion done) override;
    void sync(Sequence upto, SyncCompletion done) override;
    void catch_up(SyncCompletion done) override;
    bool request_unlock(std::string path, const Digest& checksum) override {
        send_raw(UnlockRequest{std::move(path), checksum});
        return true;
    }
    void observe_changes(ChangeObserver observer) override CFSGATE_EXCLUDES(observer_mutex_) {
        const MutexLock lock(observer_mutex_);
        observer_ = std::move(observer);
    }
    SequencerStatus status() const override;

    // --- ClusterSequencer ---

    ClusterStatus cluster_status() const override;
    Status verify() override;
    void observe_corosync_conf(CorosyncConfObserver observer) override {
        conf_observer_ = std::move(observer);
    }
    void order_purge(std::string_view path, OrderCompletion done) override;
    void observe_purges(PurgeObserver observer) override { purge_observer_ = std::move(observer); }

private:
    // LinkOwner
    void perform(GroupKind kind, Effect effect) override;
    void not_sent(GroupKind kind, std::uint64_t own_count) override;
    void before_message(GroupKind kind) override;
    void view_changed(GroupKind kind) override;
    void prepare_to_join(GroupKind kind) override;

    void tell_observer(const std::vector<store::Change>& changes)
        CFSGATE_EXCLUDES(observer_mutex_) {
        const MutexLock lock(observer_mutex_);
        if (observer_) observer_(changes);
    }

    /// What has something to take.
    struct Ready {
        bool mailbox;
        bool quorum;
        bool nodes;
        bool configuration;
        bool status;
    };
    void run();
    Ready wait();
    void tick(SteadyTime now);
    void connect_quorum();
    void connect_nodes();
    void read_nodes();
    void dispatch_quorum();
    void on_quorum(bool quorate, const std::vector<NodeId>& ring);
    void consider_quorum();
    void ask_votes();
    std::uint32_t votes_of(const std::vector<NodeId>& nodes) const;
    std::uint32_t group_votes() const;
    void on_applier_answer(const Event& event);
    void on_applier_ready(const Status& ready);
    void on_applier_broken(const Error& error);

    void perform_effect(Apply effect);
    void perform_effect(Refuse effect);
    void answer_own(std::uint64_t count, const Error& error);
    void release_all(const std::string& reason);
    void release_held(Errno code, const std::string& reason);
    void perform_status(Effect effect);

    void send_raw(GroupOperation operation, Completion done = {},
                  std::function<void()> delivered = {});
    void accept(Item item);
    void send_held(SteadyTime now);
    void prepare_item(Item item);
    void send(Item item);
    /// Ack::Rotation: keeps the answer back until the marker has been around.
    SyncCompletion past_rotation(Sequence record, SyncCompletion done);
    Completion past_rotation(Completion done);
    void send_marker();
    /// One append of a file at a time, so that each sees where the one before it ended.
    Completion in_turn(InodeNumber inode, Completion done);
    bool wait_for_turn(InodeNumber inode, Item& item) CFSGATE_EXCLUDES(turns_mutex_);
    void next_turn(InodeNumber inode) CFSGATE_EXCLUDES(turns_mutex_);

    void publish(SteadyTime now) CFSGATE_EXCLUDES(mutex_);
    void publish_all() CFSGATE_EXCLUDES(mutex_);
    void show_counts(ClusterStatus& status) const;
    static std::vector<NodeId> members_of(const GroupLink& link);
    static GroupStatus group_status(const GroupLink& link);
    std::string why_not_quorate() const;

    store::Store& store_;
    const ClusterOptions options_;
    Logger log_;
    std::shared_ptr<Mailbox> mailbox_;
    /// Others change the tree at any time, so also while the observer is set or taken away.
    Mutex observer_mutex_;
    ChangeObserver observer_ CFSGATE_GUARDED_BY(observer_mutex_);
    CorosyncConfObserver conf_observer_;
    PurgeObserver purge_observer_;
    std::atomic<bool> quorate_{false};
    std::atomic<bool> can_send_{false};
    std::atomic<std::uint64_t> submitted_{0};
    std::atomic<std::uint64_t> completed_{0};

    bool stopped_ = false;  // of who calls stop()

    // Of the thread "cluster".
    bool stopping_ = false;
    std::unique_ptr<QuorumSource> quorum_;
    std::unique_ptr<NodeList> node_list_;
    ClusterConfig config_;
    StatusStore status_store_;
    GroupLink configuration_;
    GroupLink status_;
    std::vector<Work> works_;
    std::deque<Item> held_;
    std::map<std::uint64_t, InFlight> in_flight_;
    RotationGate rotation_;
    bool takes_over_ = false;        // the commit under way brings another tree
    std::optional<Error> refusing_;  // why no change can be taken
    bool ring_quorate_ = false;
    std::vector<NodeId> ring_;
    std::optional<Votes> votes_;
    std::optional<Verification> verification_;
    SteadyTime next_tick_{};
    SteadyTime next_votes_{};
    SteadyTime next_verify_{};
    std::uint32_t quorum_changed_at_ = 0;
    bool more_configuration_ = false;  // not taken to its end
    bool more_status_ = false;
    SteadyTime published_at_{};
    bool unpublished_ = false;

    mutable Mutex mutex_;
    ClusterStatus status_published_ CFSGATE_GUARDED_BY(mutex_);
    std::optional<SteadyTime> oldest_ CFSGATE_GUARDED_BY(mutex_);
    std::optional<Error> refusing_published_ CFSGATE_GUARDED_BY(mutex_);

    Mutex turns_mutex_;
    std::map<InodeNumber, std::deque<Item>> turns_ CFSGATE_GUARDED_BY(turns_mutex_);

    ApplierThread applier_;  // its threads end before what they call
    std::thread thread_;
};

void Cluster::stop() {
    if (stopped_) return;
    stopped_ = true;
    if (thread_.joinable()) {
        mailbox_->post([this] { stopping_ = true; });
        thread_.join();
    }
    quorate_ = false;
    applier_.stop();
    // The end of one append is the beginning of the next one.
    for (auto letters = mailbox_->take();; letters = mailbox_->take()) {
        for (const auto& letter : letters) letter();
        if (letters.empty() && held_.empty() && in_flight_.empty() && rotation_.empty()) break;
        release_all("the daemon is ending");
        rotation_.release("the daemon is ending");
    }
    mailbox_->close();
}

// --- What callers do ---

void Cluster::submit(Submission submission, Completion done) {
    submitted_.fetch_add(1, std::memory_order_relaxed);
    done = [this, done = std::move(done)](Result<Outcome> outcome) {
        completed_.fetch_add(1, std::memory_order_relaxed);
        done(std::move(outcome));
    };
    if (!quorate()) return done(fail(Errno::NoAccess, "this node has no quorum"));
    if (options_.ack == Ack::Rotation && submission.need == Need::Durable) {
        done = past_rotation(std::move(done));
    }
    {
        const MutexLock lock(mutex_);
        if (refusing_published_) return done(tl::unexpected(*refusing_published_));
    }
    Item item{std::move(submission), {}, std::move(done), std::chrono::steady_clock::now(), false};
    if (item.submission.append) {
        const InodeNumber inode = *item.submission.entry;
        item.done = in_turn(inode, std::move(item.done));
        if (wait_for_turn(inode, item)) return;
    }
    if (can_send_.load(std::memory_order_acquire)) {
        const auto view = store_.read();
        const Status ready = view ? prepare(**view, item.submission) : tl::unexpected(view.error());
        if (!ready) return item.done(tl::unexpected(ready.error()));
        item.prepared = true;
    }
    mailbox_->post([this, item = std::move(item)]() mutable { accept(std::move(item)); });
}

void Cluster::catch_up(SyncCompletion done) {
    if (!quorate()) return done(fail(Errno::NoAccess, "this node has no quorum"));
    send_raw(Operation(Delete{kMarkerPath}), [done = std::move(done)](Result<Outcome> outcome) {
        if (outcome || outcome.error().code == Errno::NotFound) return done({});
        done(tl::unexpected(outcome.error()));
    });
}

void Cluster::order_purge(std::string_view path, OrderCompletion done) {
    if (!quorate()) return done(fail(Errno::NoAccess, "this node has no quorum"));
    const auto members = std::make_shared<std::vector<NodeId>>();
    send_raw(
        purge_message(path),
        [done = std::move(done), members](const Result<Outcome>& outcome) {
            if (outcome || outcome.error().code == Errno::NotFound) return done(*members);
            done(tl::unexpected(outcome.error()));
        },
        [this, members] { *members = members_of(configuration_); });
}

void Cluster::send_raw(GroupOperation operation, Completion done, std::function<void()> delivered) {
    Item item;
    item.raw = std::move(operation);
    item.submission.need = Need::Applied;
    item.done = std::move(done);
    item.since = std::chrono::steady_clock::now();
    item.prepared = true;
    item.delivered = std::move(delivered);
    mailbox_->post([this, item = std::move(item)]() mutable { accept(std::move(item)); });
}

void Cluster::sync(Sequence upto, SyncCompletion done) {
    if (options_.ack == Ack::Rotation) done = past_rotation(upto, std::move(done));
    applier_.sync(upto, std::move(done));
}

SyncCompletion Cluster::past_rotation(Sequence record, SyncCompletion done) {
    return [this, record, done = std::move(done)](Status status) {
        if (!status) return done(std::move(status));
        mailbox_->post([this, record, done] {
            rotation_.add(record, done);
            send_marker();
        });
    };
}

Completion Cluster::past_rotation(Completion done) {
    return [this, done = std::move(done)](Result<Outcome> outcome) {
        if (!outcome) return done(std::move(outcome));
        const auto answer = [done, outcome](Status status) {
            status ? done(outcome) : done(tl::unexpected(std::move(status).error()));
        };
        past_rotation(outcome->sequence, answer)({});
    };
}

void Cluster::send_marker() {
    if (!rotation_.wants_marker()) return;
    rotation_.marker_sent();
    send_raw(Operation(Delete{kMarkerPath}), [this](const Result<Outcome>& outcome) {
        const bool back = outcome || outcome.error().code == Errno::NotFound;
        mailbox_->post([this, status = back ? Status() : Status(tl::unexpected(outcome.error()))] {
            rotation_.marker_back(status);
            send_marker();
        });
    });
}

Completion Cluster::in_turn(InodeNumber inode, Completion done) {
    return [this, inode, done = std::move(done)](Result<Outcome> outcome) {
        done(std::move(outcome));
        next_turn(inode);
    };
}

bool Cluster::wait_for_turn(InodeNumber inode, Item& item) {
    const MutexLock lock(turns_mutex_);
    const auto [place, first] = turns_.try_emplace(inode);
    if (first) return false;
    place->second.push_back(std::move(item));
    return true;
}

void Cluster::next_turn(InodeNumber inode) {
    std::optional<Item> next;
    {
        const MutexLock lock(turns_mutex_);
        const auto found = turns_.find(inode);
        if (found == turns_.end()) return;
        if (found->second.empty()) {
            turns_.erase(found);
            return;
        }
        next.emplace(std::move(found->second.front()));
        found->second.pop_front();
    }
    mailbox_->post([this, item = std::move(*next)]() mutable { accept(std::move(item)); });
}

SequencerStatus Cluster::status() const {
    const ApplierStatus applier = applier_.status();
    SequencerStatus status;
    status.submitted = submitted_.load(std::memory_order_relaxed);
    status.completed = completed_.load(std::memory_order_relaxed);
    status.batches = applier.batches;
    status.flushes = applier.flushes;
    const MutexLock lock(mutex_);
    if (oldest_) {
        status.oldest_waiting_ms = static_cast<std::uint64_t>(
            std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - *oldest_)
                .count());
    }
    return status;
}

ClusterStatus Cluster::cluster_status() const {
    const ApplierStatus applier = applier_.status();
    const MutexLock lock(mutex_);
    ClusterStatus status = status_published_;
    status.apply_waiting = applier.waiting;
    status.apply_lag_ms = applier.oldest_ms;
    return status;
}

Status Cluster::verify() {
    {
        const MutexLock lock(mutex_);
        const auto& members = status_published_.configuration.members;
        if (status_published_.configuration.mode != "synced" || members.empty()) {
            return fail(Errno::Busy, "this node is not in the group, or not in sync with it");
        }
        if (members.front() != status_published_.self) {
            return fail(Errno::NotSupported, "only the member with the lowest id may ask: node " +
                                                 std::to_string(members.front().value()));
        }
    }
    mailbox_->post([this] {
        configuration_.feed(VerifyDue());
        configuration_.flush();
    });
    return {};
}

// --- The loop ---

void Cluster::run() {
    next_verify_ = std::chrono::steady_clock::now() + options_.verify_every;
    while (!stopping_) {
        const Ready ready = wait();
        if (ready.mailbox) {
            for (const auto& letter : mailbox_->take()) letter();
        }
        if (ready.quorum) dispatch_quorum();
        if (ready.nodes && node_list_ && !node_list_->dispatch()) node_list_.reset();
        more_configuration_ = ready.configuration && configuration_.dispatch(kDeliveriesAtOnce);
        more_status_ = ready.status && status_.dispatch(kDeliveriesAtOnce);
        const SteadyTime now = std::chrono::steady_clock::now();
        if (now >= next_tick_) tick(now);
        send_held(now);
        configuration_.flush();
        status_.flush();
        if (!works_.empty()) applier_.push(std::exchange(works_, {}));
        publish(now);
    }
    status_.stop();
    configuration_.stop();
}

Cluster::Ready Cluster::wait() {
    std::array<pollfd, 5> entries{{{mailbox_->descriptor(), POLLIN, 0},
                                   {quorum_ ? quorum_->descriptor() : -1, POLLIN, 0},
                                   {node_list_ ? node_list_->descriptor() : -1, POLLIN, 0},
                                   {configuration_.descriptor(), POLLIN, 0},
                                   {status_.descriptor(), POLLIN, 0}}};
    const SteadyTime now = std::chrono::steady_clock::now();
    auto patience = std::chrono::ceil<milliseconds>(next_tick_ - now);
    if (configuration_.blocked() || status_.blocked()) patience = std::min(patience, kBlockedWait);
    if (unpublished_) {
        patience = std::min(patience,
                            std::chrono::ceil<milliseconds>(published_at_ + kPublishEvery - now));
    }
    if (more_configuration_ || more_status_) patience = milliseconds(0);
    const auto timeout = std::clamp<milliseconds::rep>(patience.count(), 0, 1000);
    ::poll(entries.data(), entries.size(), static_cast<int>(timeout));
    return {entries[0].revents != 0, entries[1].revents != 0, entries[2].revents != 0,
            entries[3].revents != 0 || more_configuration_,
            entries[4].revents != 0 || more_status_};
}

void Cluster::tick(SteadyTime now) {
    next_tick_ = now + kTick;
    if (!quorum_) connect_quorum();
    if (!node_list_) connect_nodes();
    configuration_.tick(now);
    status_.tick(now);
    if (now >= next_verify_) {
        next_verify_ = now + options_.verify_every;
        configuration_.feed(VerifyDue());
    }
    if (quorum_ && now >= next_votes_) {
        next_votes_ = now + kVotesEvery;
        ask_votes();
    }
}

void Cluster::ask_votes() {
    if (const auto facts = quorum_->votes()) votes_ = to_votes(*facts);
}

void Cluster::dispatch_quorum() {
    if (!quorum_ || quorum_->dispatch()) return;
    quorum_.reset();
    votes_.reset();
    on_quorum(false, {});
}

// corosync tells of a ring's quorum before it delivers any message in that ring, by another
// connection. A message that is taken before the notice would be applied by a minority.
void Cluster::before_message(GroupKind kind) {
    if (kind == GroupKind::Configuration) dispatch_quorum();
}

void Cluster::view_changed(GroupKind kind) {
    if (kind == GroupKind::Configuration && options_.ack == Ack::Rotation) consider_quorum();
}

void Cluster::connect_quorum() {
    auto source = QuorumSource::connect(
        [this](bool quorate, const std::vector<NodeId>& ring) { on_quorum(quorate, ring); });
    if (!source) return log_->debug("quorum: {}", source.error().detail);
    quorum_ = std::move(*source);
    next_votes_ = {};
}

void Cluster::connect_nodes() {
    auto list = NodeList::connect([this] { read_nodes(); });
    if (!list) return log_->debug("node list: {}", list.error().detail);
    node_list_ = std::move(*list);
    read_nodes();
}

void Cluster::read_nodes() {
    if (!node_list_) return;
    auto config = node_list_->read();
    if (!config) return log_->error("the node list cannot be read: {}", config.error().detail);
    config_ = std::move(*config);
    next_votes_ = {};
    if (options_.ack == Ack::Rotation) consider_quorum();
}

void Cluster::on_quorum(bool quorate, const std::vector<NodeId>& ring) {
    ring_quorate_ = quorate;
    ring_ = ring;
    if (quorum_ && options_.ack == Ack::Rotation) ask_votes();
    consider_quorum();
}

std::uint32_t Cluster::votes_of(const std::vector<NodeId>& nodes) const {
    std::uint32_t votes = 0;
    for (const auto& node : config_.nodes) {
        if (std::count(nodes.begin(), nodes.end(), node.id) > 0) votes += node.votes;
    }
    return votes;
}

/// Of the members of the configuration group, and of the quorum device where it votes for them.
std::uint32_t Cluster::group_votes() const {
    const std::uint32_t of_ring = votes_of(ring_);
    const std::uint32_t of_device = votes_ && votes_->total > of_ring ? votes_->total - of_ring : 0;
    return votes_of(members_of(configuration_)) + of_device;
}

/// Ack::Rotation: the daemons themselves must be a majority, not just the nodes. Otherwise a few of
/// them could go on, and overrule those that come back.
void Cluster::consider_quorum() {
    const bool few = options_.ack == Ack::Rotation && (!votes_ || group_votes() < votes_->needed);
    const bool quorate = ring_quorate_ && !few;
    if (quorate_.exchange(quorate) != quorate || quorum_changed_at_ == 0) {
        quorum_changed_at_ = options_.clock();
        log_->info("this node {}{}", quorate ? "has quorum" : "has no quorum",
                   ring_quorate_ && few ? ": " + why_not_quorate() : std::string());
    }
    next_votes_ = {};
    configuration_.feed(QuorumChanged{quorate});
    if (!quorate) release_held(Errno::NoAccess, "this node has lost quorum");
}

// --- What the machines want ---

void Cluster::prepare_to_join(GroupKind kind) {
    if (kind == GroupKind::Configuration) return applier_.restart();
    status_.join();
}

void Cluster::on_applier_answer(const Event& event) {
    // Nothing is applied between the takeover and this event.
    if (std::holds_alternative<Committed>(event) && std::exchange(takes_over_, false)) {
        rotation_.overwritten(store_.journal_status().appended);
    }
    configuration_.feed(event);
}

void Cluster::on_applier_ready(const Status& ready) {
    if (!ready) {
        refusing_ = ready.error();
        release_held(ready.error().code, ready.error().detail);
        log_->error("this node stays out of the group: {}", ready.error().detail);
        return configuration_.not_ready();
    }
    refusing_.reset();
    configuration_.join();
    configuration_.feed(QuorumChanged{quorate()});
}

void Cluster::on_applier_broken(const Error& error) {
    // Where the disk is not the cause, the next state sync may well succeed.
    const bool disk = error.code == Errno::NoSpace || error.code == Errno::InputOutput ||
                      error.code == Errno::ReadOnly;
    refusing_ = disk ? error : Error{Errno::Busy, error.detail};
    configuration_.feed(ApplierFailed{"what was ordered cannot be stored here: " + error.detail});
}

void Cluster::perform(GroupKind kind, Effect effect) {
    if (kind == GroupKind::Status) return perform_status(std::move(effect));
    std::visit(
        [this](auto&& one) {
            using T = std::decay_t<decltype(one)>;
            if constexpr (std::is_same_v<T, Apply> || std::is_same_v<T, Refuse>) {
                perform_effect(std::forward<decltype(one)>(one));
            } else if constexpr (std::is_same_v<T, ReadState> || std::is_same_v<T, ReadUpdates> ||
                                 std::is_same_v<T, Commit> || std::is_same_v<T, ComputeChecksum>) {
                if constexpr (std::is_same_v<T, Commit>) {
                    takes_over_ = one.own_index != one.leader_index;
                }
                works_.emplace_back(std::forward<decltype(one)>(one));
            } else if constexpr (std::is_same_v<T, Leave>) {
                release_all("this node has left the group: " + one.reason);
            } else if constexpr (std::is_same_v<T, VerifyFinished>) {
                verification_ = Verification{one.number, one.equal, options_.clock()};
                if (one.equal) {
                    log_->info("verification {}: equal", one.number);
                } else {
                    log_->error("verification {}: this node's tree differs", one.number);
                }
            }
        },
        std::move(effect));
}

void Cluster::perform_effect(Apply effect) {
    OrderedChange change;
    if (effect.own_count) {
        const auto found = in_flight_.find(*effect.own_count);
        if (found != in_flight_.end()) {
            if (found->second.delivered) found->second.delivered();
            change.own = std::move(found->second.own);
            in_flight_.erase(found);
        }
    }
    change.what = std::move(effect);
    works_.emplace_back(std::move(change));
}

void Cluster::perform_effect(Refuse effect) {
    answer_own(effect.own_count, Error{effect.error, "refused when it was delivered"});
}

void Cluster::answer_own(std::uint64_t count, const Error& error) {
    const auto found = in_flight_.find(count);
    if (found == in_flight_.end()) return;
    const Completion done = std::move(found->second.own.done);
    in_flight_.erase(found);
    if (done) done(tl::unexpected(error));
}

void Cluster::not_sent(GroupKind kind, std::uint64_t own_count) {
    if (kind != GroupKind::Configuration) return;
    answer_own(own_count, Error{Errno::Busy, "corosync does not take the change; it was not sent"});
}

void Cluster::release_all(const std::string& reason) {
    for (auto& [count, flying] : std::exchange(in_flight_, {})) {
        if (!flying.own.done) continue;
        flying.own.done(fail(Errno::TimedOut, reason + "; the change may still happen"));
    }
    release_held(Errno::Busy, reason);
}

void Cluster::release_held(Errno code, const std::string& reason) {
    for (Item& item : std::exchange(held_, {})) {
        if (item.done) item.done(fail(code, reason + "; nothing was sent"));
    }
}

void Cluster::perform_status(Effect effect) {
    if (const auto* read = std::get_if<ReadState>(&effect)) {
        mailbox_->post([this, epoch = read->epoch] {
            status_.feed(StateRead{epoch, StatusStore::state()});
            status_.flush();
        });
    } else if (const auto* message = std::get_if<ApplyStatus>(&effect)) {
        status_store_.apply(*message);
    } else if (std::holds_alternative<BecameSynced>(effect) && !options_.own_ip.empty()) {
        mailbox_->post([this] {
            if (status_.machine() == nullptr || !status_.machine()->can_send()) return;
            status_.feed(StatusStore::tell_address(options_.own_ip));
            status_.flush();
        });
    }
}

// --- Submissions ---

void Cluster::accept(Item item) {
    if (held_.size() >= options_.held_max) {
        if (item.done) item.done(fail(Errno::Busy, "too many changes wait; nothing was sent"));
        return;
    }
    held_.push_back(std::move(item));
}

void Cluster::send_held(SteadyTime now) {
    const GroupMachine* const machine = configuration_.machine();
    const bool can_send = machine != nullptr && machine->can_send();
    if (configuration_.is_out_for_good()) {
        return release_held(Errno::Busy, configuration_.last_leave());
    }
    can_send_.store(can_send, std::memory_order_release);
    if (held_.empty()) return;
    if (!quorate()) return release_held(Errno::NoAccess, "this node has no quorum");
    if (refusing_) return release_held(refusing_->code, refusing_->detail);
    while (!held_.empty() && now - held_.front().since > options_.deadline) {
        Item item = std::move(held_.front());
        held_.pop_front();
        if (item.done)
            item.done(fail(Errno::TimedOut, "the cluster is not ready; nothing was sent"));
    }
    if (!can_send) {
        // What it meets after the state sync may be another tree.
        for (Item& item : held_) item.prepared = item.raw.has_value();
        return;
    }
    while (!held_.empty() && in_flight_.size() < options_.in_flight_max) {
        Item item = std::move(held_.front());
        held_.pop_front();
        if (item.prepared) {
            send(std::move(item));
        } else {
            prepare_item(std::move(item));
        }
    }
}

void Cluster::prepare_item(Item item) {
    PrepareChange work;
    work.submission = std::move(item.submission);
    work.prepared = [this, done = std::move(item.done), since = item.since](
                        Submission submission, const Status& ready) mutable {
        if (!ready) return done(tl::unexpected(ready.error()));
        Item prepared{std::move(submission), {}, std::move(done), since, true};
        mailbox_->post([this, item = std::move(prepared)]() mutable { accept(std::move(item)); });
    };
    works_.emplace_back(std::move(work));
}

void Cluster::send(Item item) {
    Submission& submission = item.submission;
    GroupOperation operation =
        item.raw ? std::move(*item.raw) : GroupOperation(std::move(submission.operation));
    configuration_.feed(Submit{std::move(operation)});
    const std::uint64_t count = configuration_.machine()->last_count();
    if (!item.done) return;
    in_flight_.emplace(
        count, InFlight{{std::move(submission.annotate), submission.need, std::move(item.done)},
                        item.since,
                        std::move(item.delivered)});
}

// --- What others see ---

std::vector<NodeId> Cluster::members_of(const GroupLink& link) {
    std::vector<NodeId> members;
    if (link.machine() == nullptr || !link.connected()) return members;
    for (const Member& member : link.machine()->view().members()) members.push_back(member.node);
    return members;
}

GroupStatus Cluster::group_status(const GroupLink& link) {
    GroupStatus status;
    const GroupMachine* const machine = link.machine();
    status.mode =
        machine != nullptr && link.connected() ? to_string(machine->mode()) : "not connected";
    if (machine != nullptr && link.connected()) {
        status.queued = machine->queued();
    }
    status.members = members_of(link);
    status.leaves = link.leaves();
    status.last_leave = link.last_leave();
    status.unsent = link.unsent();
    return status;
}

std::string Cluster::why_not_quorate() const {
    if (quorate()) return {};
    if (!quorum_) return "corosync is not there";
    if (!votes_) return "corosync says so";
    if (ring_quorate_) {
        return "the daemons in the group have " + std::to_string(group_votes()) + " of " +
               std::to_string(votes_->expected) + " votes, " + std::to_string(votes_->needed) +
               " are needed with --ack=rotation";
    }
    return std::to_string(votes_->total) + " of " + std::to_string(votes_->expected) +
           " votes are here, " + std::to_string(votes_->needed) + " are needed";
}

void Cluster::publish(SteadyTime now) {
    std::optional<SteadyTime> oldest;
    if (!in_flight_.empty()) oldest = in_flight_.begin()->second.since;
    if (!held_.empty()) {
        oldest = std::min(oldest.value_or(held_.front().since), held_.front().since);
    }
    {
        const MutexLock lock(mutex_);
        oldest_ = oldest;
        refusing_published_ = refusing_;
        show_counts(status_published_);
    }
    unpublished_ = now - published_at_ < kPublishEvery;
    if (unpublished_) return;
    published_at_ = now;
    publish_all();
}

void Cluster::show_counts(ClusterStatus& status) const {
    status.in_flight = in_flight_.size();
    status.held = held_.size();
    status.awaiting_rotation = rotation_.size();
    status.rotations = rotation_.markers_back();
}

void Cluster::publish_all() {
    ClusterStatus status;
    status.name = config_.cluster_name;
    status.config_version = config_.config_version;
    status.quorate = quorate();
    status.quorate_since = quorum_changed_at_;
    status.why_not_quorate = why_not_quorate();
    status.votes = votes_;
    status.configuration = group_status(configuration_);
    status.status = group_status(status_);
    status.last_verification = verification_;
    if (configuration_.machine() != nullptr) {
        status.self = configuration_.machine()->self().node;
        if (const auto leader = configuration_.machine()->last_leader()) {
            status.last_leader = leader->node;
        }
    }
    const bool connected = status_.connected();
    for (const auto& node : config_.nodes) {
        const bool online = connected && std::count(status.status.members.begin(),
                                                    status.status.members.end(), node.id) > 0;
        status.nodes.push_back({node.id, node.name, node.votes, node.addresses, online,
                                status_store_.address_of(node.id)});
    }
    show_counts(status);

    const MutexLock lock(mutex_);
    status.info_version = status_published_.info_version;
    if (shows_other_members(status, status_published_)) ++status.info_version;
    status_published_ = std::move(status);
}

}  // namespace

std::unique_ptr<ClusterSequencer> make_cluster_sequencer(store::Store& store,
                                                         ClusterOptions options, Logger log) {
    auto mailbox = Mailbox::make();
    CFSGATE_CHECK(mailbox.has_value());  // no descriptor is left at the start of the daemon
    return std::make_unique<Cluster>(store, std::move(options), std::move(*mailbox),
                                     std::move(log));
}

}  // namespace cfsgate::replication
