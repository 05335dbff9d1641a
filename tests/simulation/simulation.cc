// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/simulation.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "store/checker.h"
#include "store/guest_registry.h"
#include "store/journal.h"
#include "store/model/digest.h"
#include "store/state_file.h"
#include "store/tree_scan.h"

namespace cfsgate::simulation {
namespace {

using replication::Conduct;
using replication::Outcome;

constexpr std::size_t kTraceLines = 400;
constexpr std::uint64_t kStepsToQuiet = 200'000;
constexpr int kVerificationsMax = 6;
constexpr std::uint64_t kRecordHeaderBytes = 20;

template <class T>
T must(Result<T> result) {
    if (!result) throw Broken("a store cannot be used: " + result.error().detail);
    return std::move(*result);
}
void must(const Status& status) {
    if (!status) throw Broken("a store cannot be used: " + status.error().detail);
}

NodeId id_of(std::size_t node) { return NodeId(static_cast<std::uint32_t>(node + 1)); }

/// Where directories are made; renaming then brings them anywhere.
bool may_be_directory(const std::string& path) {
    return path[0] == 'a' || path[0] == 'd' || path[0] == 'e' || path[0] == 'p';
}

/// Takes away what follows the record `keep`.
void cut_journal(const std::string& directory, std::uint64_t keep) {
    using store::Journal;
    const std::uint64_t id = must(store::read_state_file(directory)).ids.store;
    for (const std::uint64_t number : must(Journal::segment_numbers(directory))) {
        const std::string path = Journal::segment_path(directory, number);
        const auto all = must(Journal::scan_segment(directory, number, id, nullptr));
        if (all.first.value() + all.records <= keep + 1) continue;
        std::uint64_t bytes = 0;
        must(Journal::scan_segment(directory, number, id,
                                   [&](Sequence sequence, std::string_view payload) -> Status {
                                       if (sequence.value() > keep) {
                                           bytes += kRecordHeaderBytes + payload.size();
                                       }
                                       return {};
                                   }));
        std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(static_cast<std::streamoff>(all.end - bytes));
        file << std::string(bytes, '\0');
    }
}

}  // namespace

void Totals::add(const Totals& other) {
    histories += other.histories;
    steps += other.steps;
    calls += other.calls;
    acknowledged += other.acknowledged;
    creations += other.creations;
    lost_apart += other.lost_apart;
    lost_overruled += other.lost_overruled;
    lost_undone += other.lost_undone;
    takeovers += other.takeovers;
    kills += other.kills;
    rings += other.rings;
    verifications += other.verifications;
    unequal += other.unequal;
    repeated += other.repeated;
}

Simulation::Simulation(const Options& options)
    : options_(options), prng_(options.seed), history_(options.mixed) {}
Simulation::~Simulation() = default;

// --- World ---

std::uint32_t Simulation::clock(std::size_t node) const { return now_ + nodes_[node].skew; }

std::uint32_t Simulation::next_time(std::size_t node) {
    ++now_;
    return clock(node);
}

/// Where a member sends while it awaits updates, those in sync perform its change at once. It has
/// it in its queue still, and sends it again when somebody joins.
void Simulation::repeated(std::size_t node, const Key& change) {
    ++totals_.repeated;
    if (options_.mixed) return;
    throw Broken("node " + std::to_string(node + 1) + " performs a change of node " +
                 std::to_string(change.first.node.value()) + " at " +
                 std::to_string(change.second) + " twice");
}

void Simulation::unequal(std::size_t node) {
    ++totals_.unequal;
    if (!options_.mixed) throw Broken("a verification fails on node " + std::to_string(node + 1));
}

void Simulation::say(const std::string& line) {
    trace_.push_back(std::to_string(step_) + " " + line);
    if (options_.verbose) std::printf("%s\n", trace_.back().c_str());
    if (trace_.size() > kTraceLines) trace_.pop_front();
}

void Simulation::trace(std::size_t node, const std::string& what) {
    say("node " + std::to_string(node + 1) + ": " + what);
    if (what.starts_with("took over")) ++totals_.takeovers;
}

void Simulation::answered(std::uint64_t call, const Result<Outcome>& result) {
    Caller& caller = callers_.at(call);
    say("call " + std::to_string(call) + ": " +
        (result ? "done" : std::string(to_string(result.error().code))));
    if (++caller.answers > 1) throw Broken("call " + std::to_string(call) + " answered twice");
    caller.not_sent =
        !result && (result.error().code == Errno::NoAccess || result.error().code == Errno::Busy);
    if (!result) return;
    caller.acknowledged = true;
    caller.durable = caller.wants_durable && durable_;
    ++totals_.acknowledged;
    if (!caller.unique_path.empty() && caller.applied == nullptr) {
        throw Broken("call " + std::to_string(call) + " answered before its change was applied");
    }
}

void Simulation::applied(std::uint64_t call, const Step* step) { callers_.at(call).applied = step; }

// --- Nodes ---

bool Simulation::is_sabotaged(std::size_t node) const {
    switch (options_.sabotage) {
        case Sabotage::NoResend:
        case Sabotage::DropOneResent:
        case Sabotage::AnswerBeforeApply:
        case Sabotage::AnswerTwice:
        case Sabotage::NeverAnswer: return true;
        default: return node == victim_;
    }
}

void Simulation::set_up() {
    const std::size_t count = options_.nodes.value_or(2 + prng_.below(6));
    nodes_.resize(count);
    victim_ = prng_.below(count);
    configuration_ =
        std::make_unique<GroupService>(GroupKind::Configuration, count, prng_, partial_);
    configuration_->sabotage(options_.sabotage, victim_);
    if (prng_.one_in(4)) {
        status_ = std::make_unique<GroupService>(GroupKind::Status, count, prng_, partial_);
    }
    std::vector<std::size_t> all;
    for (std::size_t i = 0; i < count; ++i) {
        Node& node = nodes_[i];
        node.directory = directory_.file("node" + std::to_string(i + 1));
        std::filesystem::create_directory(node.directory);
        node.skew = static_cast<std::uint32_t>(prng_.below(10));
        node.stalled.resize(Process::kActions);
        if (options_.mixed && prng_.one_in(2)) node.conduct = Conduct::AsTheOriginal;
        all.push_back(i);
    }
    fault_every_ = 30 + prng_.below(200);
    submit_every_ = 4 + prng_.below(30);
    durable_ = prng_.one_in(2);
    regroup({all});
    for (const std::size_t node : all) start(node);
    say(std::to_string(count) + " nodes" + (status_ ? ", both groups" : ""));
}

/// What all trees have before the history begins.
void Simulation::fill(Node& node) {
    store::StoreOptions options;
    options.directory = node.directory;
    options.durability = store::Durability::Relaxed;
    options.map_bytes = 32ULL << 20;
    options.segment_bytes = 64ULL << 10;
    options.boot_id = [] { return std::string("before"); };
    const auto store = must(store::Store::open(options, null_logger()));
    const auto batch = must(store->begin());
    for (const char* path : {"priv", "priv/lock", "nodes", "nodes/n1", "nodes/n1/qemu-server",
                             "nodes/n1/lxc", "nodes/n2", "nodes/n2/qemu-server"}) {
        batch->apply(MakeDirectory{path}, Stamp{NodeId(), 1690000000});
    }
    must(batch->commit());
    must(store->close());
}

void Simulation::start(std::size_t node) {
    Node& at = nodes_[node];
    if (at.starts == 0 && !prng_.one_in(6)) fill(at);
    ++at.starts;
    Process::Setup setup;
    setup.node = node;
    setup.self = Member{id_of(node), 100 + at.starts};
    setup.conduct = at.conduct;
    setup.rotation = options_.rotation;
    setup.majority = nodes_.size() / 2 + 1;
    setup.store.directory = at.directory;
    setup.store.durability = durable_ ? store::Durability::Durable : store::Durability::Relaxed;
    setup.trees = &at.trees;
    setup.durable = at.durable;
    setup.store.map_bytes = 32ULL << 20;
    setup.store.segment_bytes = 64ULL << 10;
    setup.store.boot_id = [boot = std::to_string(at.boots)] { return "boot " + boot; };
    setup.store.clock = [this, node] { return clock(node); };
    if (is_sabotaged(node)) setup.sabotage = options_.sabotage;
    World& world = *this;
    at.process = std::make_unique<Process>(std::move(setup), world, prng_, history_,
                                           *configuration_, status_.get());
    at.durable = at.process->store().journal_status().appended.value();
    if (at.corosync) at.process->put_quorum(configuration_->has_quorum(node));
    if (calm_) at.process->end_faults();
}

/// Without a word to the store.
void Simulation::end(std::size_t node, bool power) {
    Node& at = nodes_[node];
    if (at.process) {
        const Member self = at.process->setup().self;
        say("node " + std::to_string(node + 1) + (power ? ": power off" : ": killed"));
        const store::JournalStatus journal = at.process->store().journal_status();
        at.appended = journal.appended.value();
        at.durable = std::max(at.durable, journal.synced.value());
        configuration_->disconnect(node);
        if (status_) status_->disconnect(node);
        at.process.reset();
        for (auto& [number, caller] : callers_) {
            if (caller.process == self && caller.answers == 0) caller.gone = true;
        }
        ++totals_.kills;
    }
    if (power && at.corosync) stop_corosync(node);
    if (power) return cut_power(node);
    at.durable = at.appended;  // a kill leaves all that was written
}

/// Some of the records that were not flushed are gone, and the tree file is of no use.
void Simulation::cut_power(std::size_t number) {
    Node& node = nodes_[number];
    ++node.boots;
    std::ofstream(node.directory + "/tree.mdb", std::ios::binary | std::ios::trunc)
        << std::string(8192, '\xa5');
    std::uint64_t unsure = node.appended - std::min(node.appended, node.durable);
    if (options_.sabotage == Sabotage::ForgetDurable && number == victim_) {
        unsure = std::min<std::uint64_t>(node.appended, 10);
    }
    const std::uint64_t keep = node.appended - prng_.below(unsure + 1);
    if (keep < node.appended) {
        say("  its journal ends with " + std::to_string(keep) + ", not " +
            std::to_string(node.appended));
        something_cut_ = true;
        cut_journal(node.directory, keep);
    }
    node.appended = keep;
    node.durable = std::max(node.durable, keep);
}

// --- Scheduling ---

void Simulation::run() {
    set_up();
    const std::uint64_t steps = 300 + prng_.below(700);
    while (step_ < steps) {
        if (prng_.one_in(submit_every_)) {
            const std::size_t node = prng_.below(nodes_.size());
            for (std::size_t burst = prng_.below(4) + 1; burst > 0; --burst) submit_something(node);
        }
        if (prng_.one_in(fault_every_)) cause_something();
        if (prng_.one_in(80)) repair_something();
        step();
        if (step_ % 16 == 0) check_quiet_rings();
    }
    end_faults();
    run_until_quiet();
    if (options_.mixed) verify_until_equal();
    check_end();
    totals_.histories = 1;
    totals_.steps = step_;
}

std::vector<Simulation::Choice> Simulation::choices() {
    std::vector<Choice> result;
    result.reserve(64);
    for (std::size_t node = 0; node < nodes_.size(); ++node) {
        for (GroupService* group : {configuration_.get(), status_.get()}) {
            if (group == nullptr) continue;
            if (group->can_order(node)) {
                result.push_back({Choice::Kind::Order, node, {}, group});
            }
            if (group->can_receive(node)) {
                result.push_back({Choice::Kind::Receive, node, {}, group});
            }
        }
        const Node& at = nodes_[node];
        if (!at.process) continue;
        for (std::size_t i = 0; i < Process::kActions; ++i) {
            if (at.stalled[i] > step_) continue;
            const auto action = static_cast<Process::Action>(i);
            if (at.process->can(action)) {
                result.push_back({Choice::Kind::Process, node, action, nullptr});
            }
        }
    }
    return result;
}

/// False: nothing can be done.
bool Simulation::step() {
    ++step_;
    const std::vector<Choice> possible = choices();
    if (possible.empty()) return false;
    perform(prng_.pick(possible));
    return true;
}

void Simulation::perform(const Choice& choice) {
    switch (choice.kind) {
        case Choice::Kind::Order: return choice.group->order(choice.node);
        case Choice::Kind::Receive: return choice.group->receive(choice.node);
        case Choice::Kind::Process: break;
    }
    try {
        nodes_[choice.node].process->perform(choice.action);
    } catch (const Killed&) {
        return end(choice.node, prng_.one_in(4));
    }
    if (!options_.mixed) check_position(choice.node);
}

// --- Callers ---

std::string Simulation::some_path() {
    static const std::vector<std::string> paths{"a",
                                                "a",
                                                "b",
                                                "b",
                                                "c",
                                                "d",
                                                "d/x",
                                                "d/y",
                                                "e",
                                                "e/x",
                                                "priv/lock/l1",
                                                "priv/lock/l2",
                                                "nodes/n1/qemu-server/100.conf",
                                                "nodes/n2/qemu-server/100.conf",
                                                "nodes/n1/lxc/100.conf",
                                                "nodes/n1/qemu-server/101.conf",
                                                "nodes/n2/qemu-server/101.conf"};
    return prng_.pick(paths);
}

void Simulation::submit_something(std::size_t node) {
    Process* const process = nodes_[node].process.get();
    if (process == nullptr) return;
    const std::uint64_t number = callers_.size() + 1;
    Caller caller;
    caller.node = node;
    caller.process = process->setup().self;
    Call call;
    call.number = number;
    caller.wants_durable = prng_.one_in(2);
    if (!caller.wants_durable) {
        call.submission.need =
            number % 2 == 0 ? replication::Need::Applied : replication::Need::Flushing;
    }
    const auto view = must(process->store().read());
    const auto found = [&](const std::string& path) -> std::optional<Inode> {
        const auto inode = view->resolve(path);
        if (!inode) return {};
        return must(view->inode(*inode));
    };
    std::string path = some_path();
    const std::string data = std::to_string(number) + std::string(prng_.below(60), 'x');
    switch (prng_.below(16)) {
        default:
            path = "f" + std::to_string(++creations_);
            caller.unique_path = path;
            call.submission.operation = CreateFile{path};
            call.submission.parent = InodeNumber();
            break;
        case 0: call.submission.operation = CreateFile{path}; break;
        case 1: call.submission.operation = WriteFile{path, data, 0, true}; break;
        case 2: {
            const auto inode = found(path);
            if (!inode || inode->is_directory()) return;
            call.submission.operation = WriteFile{path, data, 0, false};
            call.submission.entry = inode->number;
            call.submission.append = true;
            break;
        }
        case 3: {
            const auto inode = found(path);
            if (!inode) return;
            call.submission.operation =
                SetMtime{path, now_ - 5 + static_cast<std::uint32_t>(prng_.below(10))};
            call.submission.entry = inode->number;
            break;
        }
        case 4:
            if (!may_be_directory(path)) return;
            call.submission.operation = MakeDirectory{path};
            break;
        case 5: call.submission.operation = Delete{path}; break;
        case 6: {
            const std::string target = some_path();
            call.submission.operation = Rename{path, target};
            break;
        }
        case 7:
            call.submission.operation =
                MakeDirectory{prng_.one_in(2) ? "priv/lock/l1" : "priv/lock/l2"};
            break;
        case 8: {
            path = prng_.one_in(2) ? "priv/lock/l1" : "priv/lock/l2";
            const auto lock = found(path);
            if (!lock) return;
            now_ += prng_.one_in(2) ? 130U : 0U;
            call.number = 0;
            call.raw = replication::UnlockRequest{path, entry_checksum(*lock, {})};
            break;
        }
        case 9:
            call.raw = Operation(Delete{"../cfsgate-sync"});
            call.submission.need = replication::Need::Applied;
            break;
    }
    call.prepared = call.raw.has_value();
    if (call.number != 0) {
        callers_.emplace(number, std::move(caller));
        ++totals_.calls;
        say("node " + std::to_string(node + 1) + ": call " + std::to_string(number) + " for " +
            path);
    }
    try {
        process->submit(std::move(call));
    } catch (const Killed&) {
        end(node, false);
    }
}

// --- Faults ---

void Simulation::cause_something() {
    const std::size_t node = prng_.below(nodes_.size());
    Node& at = nodes_[node];
    switch (prng_.below(12)) {
        case 0:
        case 1:
        case 2: return regroup_at_random();
        case 3:
        case 4:
            if (at.process) at.process->kill_after(1 + prng_.below(12));
            return;
        case 5: return end(node, true);
        case 6:
            if (at.process && at.corosync) stop_corosync(node);
            return;
        case 7:
            if (at.process) {
                say("node " + std::to_string(node + 1) + ": the disk is full");
                at.process->fail_next_apply(static_cast<int>(prng_.below(3)));
            }
            return;
        case 8:
            if (at.process) {
                ++totals_.verifications;
                try {
                    at.process->verify();
                } catch (const Killed&) {
                    end(node, false);
                }
            }
            return;
        case 9:
            if (at.process) at.process->time_out_first();
            return;
        default: return stall_something();
    }
}

void Simulation::repair_something() {
    const std::size_t node = prng_.below(nodes_.size());
    if (!nodes_[node].corosync) return start_corosync(node);
    if (!nodes_[node].process) start(node);
}

void Simulation::stall_something() {
    Node& at = nodes_[prng_.below(nodes_.size())];
    at.stalled[prng_.below(at.stalled.size())] = step_ + 20 + prng_.below(300);
}

void Simulation::regroup_at_random() {
    std::vector<std::vector<std::size_t>> rings(prng_.one_in(2) ? 1 : 2 + prng_.below(2));
    for (std::size_t node = 0; node < nodes_.size(); ++node) {
        if (nodes_[node].corosync) rings[prng_.below(rings.size())].push_back(node);
    }
    std::erase_if(rings, [](const auto& ring) { return ring.empty(); });
    regroup(rings);
}

void Simulation::regroup(const std::vector<std::vector<std::size_t>>& rings) {
    ++totals_.rings;
    std::string line = "rings:";
    for (auto& node : nodes_) node.corosync = false;
    for (const auto& ring : rings) {
        for (const std::size_t node : ring) {
            line += " " + std::to_string(node + 1);
            nodes_[node].corosync = true;
        }
        line += " |";
    }
    say(line);
    configuration_->regroup(rings);
    if (status_) status_->regroup(rings);
    for (const auto& ring : rings) {
        for (const std::size_t node : ring) {
            if (nodes_[node].process) {
                nodes_[node].process->put_quorum(configuration_->has_quorum(node));
            }
        }
    }
}

void Simulation::stop_corosync(std::size_t node) {
    std::map<std::size_t, std::vector<std::size_t>> by_ring;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (i != node && nodes_[i].corosync) by_ring[*configuration_->ring_of(i)].push_back(i);
    }
    std::vector<std::vector<std::size_t>> rings;
    for (auto& [ring, members] : by_ring) rings.push_back(std::move(members));
    say("node " + std::to_string(node + 1) + ": corosync ends");
    regroup(rings);
    if (!nodes_[node].process) return;
    try {
        nodes_[node].process->corosync_gone();
    } catch (const Killed&) {
        end(node, false);
    }
}

void Simulation::start_corosync(std::size_t node) {
    nodes_[node].corosync = true;
    regroup_at_random();
}

// --- Checks ---

/// Members in sync that have applied the same beginning of one ring's order have the same tree.
void Simulation::check_position(std::size_t node) {
    const Process& process = *nodes_[node].process;
    if (!process.is_synced() || !process.nothing_to_apply() || process.at().second == 0) return;
    const auto [known, first] = trees_at_.try_emplace(process.at(), process.tree(), node);
    if (known->second.first == process.tree()) return;
    throw Broken("nodes " + std::to_string(known->second.second + 1) + " and " +
                 std::to_string(node + 1) + " differ at place " +
                 std::to_string(process.at().second) + " of ring " +
                 std::to_string(process.at().first) + ": versions " +
                 std::to_string(known->second.first->version) + " and " +
                 std::to_string(process.tree()->version));
}

void Simulation::check_quiet_rings() {
    if (options_.mixed) return;
    std::map<std::size_t, std::vector<std::size_t>> by_ring;
    std::set<std::size_t> busy;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const auto ring = configuration_->ring_of(i);
        if (!ring) continue;
        const Process* const process = nodes_[i].process.get();
        const bool quiet = !configuration_->can_order(i) && !configuration_->can_receive(i) &&
                           (process == nullptr || process->is_quiet());
        if (!quiet) busy.insert(*ring);
        if (process != nullptr && process->is_synced()) by_ring[*ring].push_back(i);
    }
    for (const auto& [ring, members] : by_ring) {
        if (!busy.contains(ring)) check_equal(members, "in a quiet ring");
    }
}

void Simulation::check_equal(const std::vector<std::size_t>& nodes, const char* when) {
    for (const std::size_t node : nodes) {
        const store::Store& one = nodes_[nodes.front()].process->store();
        const store::Store& other = nodes_[node].process->store();
        if (must(one.encoded_index()) == must(other.encoded_index()) &&
            must(one.tree_checksum()) == must(other.tree_checksum())) {
            continue;
        }
        throw Broken("the trees of nodes " + std::to_string(nodes.front() + 1) + " and " +
                     std::to_string(node + 1) + " differ " + when);
    }
}

void Simulation::end_faults() {
    say("--- faults end ---");
    calm_ = true;
    std::vector<std::size_t> all;
    for (std::size_t node = 0; node < nodes_.size(); ++node) {
        std::fill(nodes_[node].stalled.begin(), nodes_[node].stalled.end(), 0);
        if (nodes_[node].process) nodes_[node].process->end_faults();
        all.push_back(node);
    }
    regroup({all});
    for (const std::size_t node : all) {
        if (!nodes_[node].process) start(node);
    }
}

void Simulation::run_until_quiet() {
    const std::uint64_t last = step_ + kStepsToQuiet;
    while (step()) {
        if (step_ < last) continue;
        std::string text = "no peace:";
        for (const Node& node : nodes_) text += "\n  " + node.process->describe();
        throw Broken(text);
    }
    for (std::size_t node = 0; node < nodes_.size(); ++node) {
        const Process& process = *nodes_[node].process;
        if (!process.is_synced() || !process.is_status_synced() || !process.is_quiet()) {
            throw Broken("node " + std::to_string(node + 1) +
                         " is not in sync at the end: " + process.describe());
        }
    }
}

/// Where members follow the original, trees may differ until the next verification finds it.
void Simulation::verify_until_equal() {
    for (int i = 0; i < kVerificationsMax; ++i) {
        bool equal = true;
        const Digest checksum = must(nodes_.front().process->store().tree_checksum());
        for (const Node& node : nodes_) {
            equal = equal && must(node.process->store().tree_checksum()) == checksum;
        }
        if (equal) return;
        say("trees differ; the first node verifies");
        nodes_.front().process->verify();
        run_until_quiet();
    }
}

void Simulation::check_end() {
    std::vector<std::size_t> all;
    for (std::size_t node = 0; node < nodes_.size(); ++node) all.push_back(node);
    check_equal(all, "at the end");
    for (const Node& node : nodes_) check_node(node);
    check_callers();
}

void Simulation::check_node(const Node& node) {
    const store::Store& store = node.process->store();
    const auto view = must(store.read());
    const auto report = must(store::check_tree(*view));
    if (!report.findings.empty()) {
        throw Broken("the checker finds: " + report.findings.front().where + ": " +
                     report.findings.front().what);
    }
    store::GuestRegistry rebuilt;
    rebuilt.rebuild(must(store::find_guests(*view)));
    const auto expected = rebuilt.list().guests;
    const auto guests = store.guests().list().guests;
    const bool same = std::equal(guests.begin(), guests.end(), expected.begin(), expected.end(),
                                 [](const auto& a, const auto& b) {
                                     return a.first == b.first && a.second.node == b.second.node &&
                                            a.second.type == b.second.type;
                                 });
    if (!same) {
        throw Broken("node " + std::to_string(node.process->setup().node + 1) +
                     " has another guest list than its tree says");
    }
}

void Simulation::check_callers() {
    const auto view = must(nodes_.front().process->store().read());
    const Step* const final = nodes_.front().process->tree();
    for (const auto& [number, caller] : callers_) {
        const std::string name = "call " + std::to_string(number);
        if (caller.answers == 0 && !caller.gone) throw Broken(name + " was never answered");
        if (caller.not_sent && !caller.unique_path.empty() && view->resolve(caller.unique_path)) {
            throw Broken(name + " was told that nothing was sent, and " + caller.unique_path +
                         " is there");
        }
        if (!caller.acknowledged || caller.unique_path.empty()) continue;
        ++totals_.creations;
        if (view->resolve(caller.unique_path)) continue;
        switch (history_.judge(caller.applied, final, partial_)) {
            case History::Loss::Apart:
                ++totals_.lost_apart;
                say(name + " is lost: those who went on had never got it");
                break;
            case History::Loss::Overruled:
                ++totals_.lost_overruled;
                say(name + " is lost: a tree that was written apart has won");
                break;
            case History::Loss::Undone:
                if (something_cut_ && !caller.durable) {
                    ++totals_.lost_undone;
                    break;
                }
                [[fallthrough]];
            case History::Loss::None:
            case History::Loss::Wrong:
                if (options_.mixed) {
                    ++totals_.lost_apart;
                    break;
                }
                throw Broken(name + ", acknowledged, is not in the tree: " + caller.unique_path);
        }
    }
}

}  // namespace cfsgate::simulation
