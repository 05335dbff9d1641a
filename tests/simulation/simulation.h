// SPDX-License-Identifier: Apache-2.0
// One seeded history: nodes, callers, faults, a scheduler that picks what happens next, and the
// checks. The same options give the same history. docs/simulation.md says what is modelled.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/process.h"
#include "tests/support/temp_directory.h"

namespace cfsgate::simulation {

struct Options {
    std::uint64_t seed = 1;
    std::optional<std::size_t> nodes;  ///< empty: as the seed has it
    bool mixed = false;                ///< some members behave like the original
    bool rotation = false;             ///< acknowledged as by `--ack=rotation`
    bool verbose = false;              ///< print the trace as it grows
    Sabotage sabotage = Sabotage::None;
};

struct Totals {
    std::uint64_t histories = 0;
    std::uint64_t steps = 0;
    std::uint64_t calls = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t creations = 0;  ///< acknowledged ones, of names of their own
    std::uint64_t lost_apart = 0;
    std::uint64_t lost_overruled = 0;
    std::uint64_t lost_undone = 0;
    std::uint64_t takeovers = 0;
    std::uint64_t kills = 0;
    std::uint64_t rings = 0;
    std::uint64_t verifications = 0;
    std::uint64_t repeated = 0;  ///< performed twice by one node (mixed only)
    std::uint64_t unequal = 0;   ///< members that a verification found to differ (mixed only)

    void add(const Totals& other);
};

class Simulation final : private World {
public:
    explicit Simulation(const Options& options);
    ~Simulation() override;

    /// Throws Broken.
    void run();

    const Totals& totals() const { return totals_; }
    /// The last lines of what happened.
    const std::deque<std::string>& trace_lines() const { return trace_; }

private:
    struct Node {
        std::unique_ptr<Process> process;
        std::string directory;
        replication::Conduct conduct = replication::Conduct::Careful;
        bool corosync = false;
        std::uint32_t starts = 0;
        std::uint32_t boots = 1;
        std::uint32_t skew = 0;
        std::map<std::uint64_t, const Step*> trees;  ///< by the journal's sequence
        std::uint64_t appended = 0;                  ///< when the process ended
        std::uint64_t durable = 0;
        std::vector<std::uint64_t> stalled;  ///< until which step, by action
    };
    struct Caller {
        std::size_t node = 0;
        Member process;
        std::string unique_path;  ///< a creation that nobody undoes
        const Step* applied = nullptr;
        int answers = 0;
        bool acknowledged = false;
        bool wants_durable = false;
        bool durable = false;   ///< acknowledged as on stable storage
        bool not_sent = false;  ///< so it was answered
        bool gone = false;      ///< ended with the process
    };
    /// What the scheduler can choose.
    struct Choice {
        enum class Kind : std::uint8_t { Process, Order, Receive };
        Kind kind = Kind::Process;
        std::size_t node = 0;
        Process::Action action = Process::Action::Inbox;
        GroupService* group = nullptr;
    };

    // World
    std::uint32_t clock(std::size_t node) const override;
    std::uint32_t next_time(std::size_t node) override;
    void trace(std::size_t node, const std::string& what) override;
    void answered(std::uint64_t call, const Result<replication::Outcome>& result) override;
    void applied(std::uint64_t call, const Step* step) override;
    void repeated(std::size_t node, const Key& change) override;
    void unequal(std::size_t node) override;

    void say(const std::string& line);
    bool is_sabotaged(std::size_t node) const;
    void set_up();
    void fill(Node& node);
    void start(std::size_t node);
    void end(std::size_t node, bool power);
    void cut_power(std::size_t number);

    bool step();
    std::vector<Choice> choices();
    void perform(const Choice& choice);

    void cause_something();
    void submit_something(std::size_t node);
    std::string some_path();
    void regroup_at_random();
    void regroup(const std::vector<std::vector<std::size_t>>& rings);
    void stop_corosync(std::size_t node);
    void start_corosync(std::size_t node);
    void repair_something();
    void stall_something();

    void check_position(std::size_t node);
    void check_quiet_rings();
    void check_equal(const std::vector<std::size_t>& nodes, const char* when);
    void end_faults();
    void run_until_quiet();
    void verify_until_equal();
    void check_end();
    void check_node(const Node& node);
    void check_callers();

    const Options options_;
    test::Prng prng_;
    test::TempDirectory directory_;
    std::vector<Node> nodes_;
    std::set<Key> partial_;
    std::unique_ptr<GroupService> configuration_;
    std::unique_ptr<GroupService> status_;
    History history_;
    std::map<Position, std::pair<const Step*, std::size_t>> trees_at_;
    std::map<std::uint64_t, Caller> callers_;
    bool durable_ = false;  ///< all stores
    bool something_cut_ = false;
    std::size_t victim_ = 0;
    std::uint32_t now_ = 1700000000;
    std::uint64_t step_ = 0;
    std::uint64_t creations_ = 0;
    std::uint64_t fault_every_ = 0;
    std::uint64_t submit_every_ = 0;
    bool calm_ = false;
    std::deque<std::string> trace_;
    Totals totals_;
};

}  // namespace cfsgate::simulation
