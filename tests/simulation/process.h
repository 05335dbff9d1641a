// SPDX-License-Identifier: Apache-2.0
// The daemon of one node: real machine, store and applier; the driver between them modelled after
// GroupLink, ClusterSequencer and ApplierThread, with a queue wherever those have a thread or a
// descriptor, so that the scheduler can let each of them lag.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "replication/prepare.h"
#include "replication/rotation_gate.h"
#include "replication/tree_applier.h"
#include "tests/simulation/history.h"

namespace cfsgate::simulation {

/// Thrown where the process is killed, between any two effects.
struct Killed {};

/// A caller's change.
struct Call {
    std::uint64_t number = 0;
    replication::Submission submission;
    std::optional<replication::GroupOperation> raw;
    bool prepared = false;
};

/// What a process needs of the simulation.
class World {
public:
    virtual ~World() = default;
    virtual std::uint32_t clock(std::size_t node) const = 0;
    /// Never the same twice: the times of stamps.
    virtual std::uint32_t next_time(std::size_t node) = 0;
    virtual void trace(std::size_t node, const std::string& what) = 0;
    virtual void answered(std::uint64_t call, const Result<replication::Outcome>& result) = 0;
    /// The change of this call is in the tree of its own node.
    virtual void applied(std::uint64_t call, const Step* step) = 0;
    /// A node has performed a change that it had performed before.
    virtual void repeated(std::size_t node, const Key& change) = 0;
    /// A verification found that this node's tree is another one.
    virtual void unequal(std::size_t node) = 0;
};

class Process {
public:
    struct Setup {
        std::size_t node = 0;
        Member self;
        replication::Conduct conduct = replication::Conduct::Careful;
        store::StoreOptions store;
        bool with_status_group = false;
        bool rotation = false;               ///< callers are answered by `--ack=rotation`
        std::size_t majority = 0;            ///< of all nodes
        Sabotage sabotage = Sabotage::None;  ///< of this node
        /// The trees that the store had, by the journal's sequence. Borrowed; empty: a new store.
        std::map<std::uint64_t, const Step*>* trees = nullptr;
        std::uint64_t durable = 0;  ///< what was surely kept of them
    };
    /// Opens the store, and throws Broken if it holds less than it must.
    Process(Setup setup, World& world, test::Prng& prng, History& history,
            GroupService& configuration, GroupService* status);

    // --- What the scheduler may let it do ---

    enum class Action : std::uint8_t {
        Inbox,
        StatusInbox,
        Quorum,
        Letter,
        Work,
        Send,
        StatusSend,
        Tick,
        SendHeld,
        Flush,
    };
    static constexpr std::size_t kActions = 10;
    bool can(Action action) const;
    /// Throws Broken, Killed.
    void perform(Action action);

    void submit(Call call);
    void put_quorum(bool quorate) { quorum_inbox_.push_back(quorate); }
    void verify();
    void time_out_first();
    void corosync_gone();
    void fail_next_apply(int recoveries_to_fail) {
        fail_next_ = true;
        recoveries_to_fail_ = recoveries_to_fail;
    }
    void end_faults() {
        fail_next_ = false;
        recoveries_to_fail_ = 0;
        try_again_ = false;
        effects_to_live_ = 0;
    }
    /// Killed at one of the next effects.
    void kill_after(std::size_t effects) { effects_to_live_ = effects; }

    // --- What the checks look at ---

    const Setup& setup() const { return setup_; }
    const store::Store& store() const { return *store_; }
    const replication::GroupMachine& machine() const { return configuration_.machine; }
    bool is_synced() const { return configuration_.joined && machine().is_synced(); }
    bool is_quiet() const;
    bool nothing_to_apply() const { return works_.empty() && !restart_asked_ && !broken_; }
    bool is_status_synced() const {
        return !status_ || (status_->joined && status_->machine.is_synced());
    }
    Position at() const { return at_; }
    const Step* tree() const { return tree_; }
    std::string describe() const;

private:
    struct Link {
        Link(GroupKind kind_of, Member self, replication::Conduct conduct, GroupService& group)
            : kind(kind_of), machine(kind_of, self, conduct), service(group) {}
        GroupKind kind;
        replication::GroupMachine machine;
        GroupService& service;
        EventQueue inbox;
        bool joined = false;
        bool preparing = false;
        std::deque<replication::Multicast> sync_out;
        std::deque<replication::Multicast> normal_out;
        std::uint64_t highest_sent = 0;
    };
    struct InFlight {
        replication::OwnChange own;
        std::uint64_t call = 0;
    };
    struct Change {
        replication::OrderedChange ordered;
        Key key;
        std::optional<std::uint64_t> call;
        bool in_quorate_ring = false;
        std::optional<Round> round;  ///< the state sync after which it was ordered
    };
    using Work = std::variant<Change, replication::ReadState, replication::ReadUpdates,
                              replication::Commit, replication::ComputeChecksum, Call>;
    struct Waiting {
        Sequence upto;
        std::function<void()> done;
    };

    // GroupLink
    void feed(Link& link, const replication::Event& event);
    void carry_out(Link& link, replication::Effect effect);
    void put_normal(Link& link, replication::Multicast message);
    void leave(Link& link, const std::string& reason);
    void process_inbox(Link& link);
    void send_one(Link& link);
    bool can_tick(const Link& link) const;
    void tick(Link& link);
    void join(Link& link);
    bool gives_up() { return try_again_ && prng_.one_in(40); }

    // ClusterSequencer
    void take_configuration(replication::Effect effect);
    void take_status(replication::Effect effect);
    void take_apply(replication::Apply effect);
    void answer_own(std::uint64_t count, Errno error);
    void release_all();
    void release_held(Errno error);
    void take_quorum();
    void on_quorum(bool quorate);
    void consider_quorum();
    void on_applier_ready(bool ready);
    void send_held();
    void send_call(Call call);
    replication::Completion completion(std::uint64_t call);
    void past_rotation(std::uint64_t call, const replication::Outcome& outcome);
    void send_marker();
    void answer(std::uint64_t call, const Result<replication::Outcome>& result);

    // ApplierThread
    void work();
    void restart();
    void perform_changes(std::vector<Change> changes);
    void perform_work(const replication::ReadState& work);
    void perform_work(const replication::ReadUpdates& work);
    void perform_work(replication::Commit work);
    void perform_work(const replication::ComputeChecksum& work);
    void perform_work(Call call);
    void drop(Work& work);
    void broken();
    void flush();
    void answer_change(Change& change);
    void arrived();
    void recall_tree();
    std::uint64_t appended() const { return store_->journal_status().appended.value(); }

    void boundary();
    bool sabotages(Sabotage what, std::size_t one_in) {
        return setup_.sabotage == what && prng_.one_in(one_in);
    }
    void letter(std::function<void()> what) { letters_.push_back(std::move(what)); }
    void say(const std::string& what) { world_.trace(setup_.node, what); }

    const Setup setup_;
    World& world_;
    test::Prng& prng_;
    History& history_;
    std::unique_ptr<store::Store> store_;
    replication::TreeApplier applier_;
    Link configuration_;
    std::unique_ptr<Link> status_;

    std::deque<bool> quorum_inbox_;
    std::deque<std::function<void()>> letters_;
    bool ring_quorate_ = false;
    bool quorate_ = false;
    bool can_send_ = false;  ///< as send_held() has last seen it
    std::optional<Errno> refusing_;
    std::deque<Call> held_;
    std::map<std::uint64_t, InFlight> in_flight_;
    replication::RotationGate rotation_;

    std::deque<Work> works_;
    std::vector<Waiting> durable_;
    bool restart_asked_ = false;
    bool broken_ = false;
    bool fail_next_ = false;
    int recoveries_to_fail_ = 0;
    bool try_again_ = true;
    std::size_t effects_to_live_ = 0;

    Position at_;
    const Step* tree_ = nullptr;
    std::optional<Round> round_;
    std::map<Key, std::uint64_t> arrivals_;
    std::set<Key> performed_;  ///< since the last takeover
    bool has_left_ = false;
};

}  // namespace cfsgate::simulation
