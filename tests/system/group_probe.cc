// SPDX-License-Identifier: Apache-2.0
// A member of a process group that prints what it sees, one event a line, and does what it reads.
//
//   group_probe GROUP        connects, joins, follows; connects again when corosync was gone
//
// Standard input, one command a line:
//   send TEXT                multicasts the text
//   size BYTES TEXT          multicasts the text, filled up to that many bytes
//   burst COUNT TEXT         multicasts `TEXT-1` to `TEXT-COUNT`
//   leave | join | votes | nodes
// Standard output:
//   connected NODE/PID | joined | lost WHY | failed WHY
//   view NODE/PID,... joined=yes|no left=NODE/PID,...
//   message NODE SIZE CHECKSUM TEXT          the text up to its filling
//   sent SIZE CHECKSUM retries=COUNT longest_us=MICROSECONDS      the longest single call
//   quorum yes|no NODE,...
//   votes expected=N total=N needed=N device=NAME (STATE)
//   nodes NAME version=N self=N token=N consensus=N ID:NAME:VOTES:ADDRESS+...  ...
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

#include "replication/corosync/cpg_group.h"
#include "replication/corosync/node_list.h"
#include "replication/corosync/quorum_source.h"

namespace {

using namespace cfsgate;
using namespace cfsgate::replication;
using Clock = std::chrono::steady_clock;

constexpr char kFilling = '.';
constexpr int kRetryMs = 10;

/// FNV-1a: enough to see that two processes hold the same bytes.
std::uint64_t checksum(std::string_view bytes) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char byte : bytes) {
        hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
    }
    return hash;
}

std::string to_text(const std::vector<Member>& members) {
    std::string text;
    for (const auto& member : members) {
        text += (text.empty() ? "" : ",") + std::to_string(member.node.value()) + "/" +
                std::to_string(member.pid);
    }
    return text;
}

struct Outgoing {
    std::string bytes;
    unsigned retries = 0;
    std::int64_t longest_us = 0;
};

class Probe {
public:
    explicit Probe(std::string group) : group_name_(std::move(group)) {}

    void run() {
        while (!ended_) {
            if (!group_) connect();
            wait();
            read_commands();
            dispatch();
            if (joining_) join();
            send();
        }
    }

private:
    void connect() {
        GroupEvents events;
        events.on_view = [](const std::vector<Member>& members, bool joined,
                            const std::vector<Member>& left) {
            std::printf("view %s joined=%s left=%s\n", to_text(members).c_str(),
                        joined ? "yes" : "no", to_text(left).c_str());
        };
        events.on_message = [](Member from, std::string_view bytes) {
            const auto text = bytes.substr(0, bytes.find(kFilling));
            std::printf("message %u %zu %" PRIx64 " %.*s\n", from.node.value(), bytes.size(),
                        checksum(bytes), static_cast<int>(text.size()), text.data());
        };
        auto group = CpgGroup::connect(group_name_, std::move(events));
        auto quorum = QuorumSource::connect([](bool quorate, const std::vector<NodeId>& members) {
            std::printf("quorum %s", quorate ? "yes " : "no ");
            for (std::size_t i = 0; i < members.size(); ++i) {
                std::printf("%s%u", i == 0 ? "" : ",", members[i].value());
            }
            std::printf("\n");
        });
        auto nodes = NodeList::connect([this] { print_nodes(); });
        if (!group || !quorum || !nodes) return;
        group_ = std::move(*group);
        quorum_ = std::move(*quorum);
        nodes_ = std::move(*nodes);
        std::printf("connected %u/%u\n", group_->self().node.value(), group_->self().pid);
        joining_ = true;
    }

    void join() {
        const Status joined = group_->join();
        if (!joined && joined.error().code == Errno::TryAgain) return;
        joining_ = false;
        std::printf(joined ? "joined\n" : "failed %s\n",
                    joined ? "" : joined.error().detail.c_str());
    }

    void wait() {
        std::fflush(stdout);
        std::array<pollfd, 4> entries{{{STDIN_FILENO, POLLIN, 0},
                                       {group_ ? group_->descriptor() : -1, POLLIN, 0},
                                       {quorum_ ? quorum_->descriptor() : -1, POLLIN, 0},
                                       {nodes_ ? nodes_->descriptor() : -1, POLLIN, 0}}};
        const bool waiting = !group_ || joining_ || !outgoing_.empty();
        ::poll(entries.data(), entries.size(), waiting ? kRetryMs : -1);
        readable_ = entries[0].revents != 0;
    }

    void read_commands() {
        if (!readable_) return;
        std::array<char, 4096> buffer{};
        const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
        if (count <= 0) {
            ended_ = true;
            return;
        }
        input_.append(buffer.data(), static_cast<std::size_t>(count));
        for (std::size_t end = 0; (end = input_.find('\n')) != std::string::npos;) {
            perform(input_.substr(0, end));
            input_.erase(0, end + 1);
        }
    }

    void perform(const std::string& line) {
        std::istringstream in(line);
        std::string verb;
        std::string text;
        std::size_t number = 0;
        in >> verb;
        if (verb == "size" || verb == "burst") in >> number;
        in >> text;
        if (verb == "send") {
            outgoing_.push_back({text});
        } else if (verb == "size") {
            text.resize(std::max(number, text.size()), kFilling);
            outgoing_.push_back({std::move(text)});
        } else if (verb == "burst") {
            for (std::size_t i = 1; i <= number; ++i) {
                outgoing_.push_back({text + "-" + std::to_string(i)});
            }
        } else if (!group_) {
            std::printf("failed not connected\n");
        } else if (verb == "leave") {
            if (const Status left = group_->leave(); !left) {
                std::printf("failed %s\n", left.error().detail.c_str());
            }
        } else if (verb == "join") {
            joining_ = true;
        } else if (verb == "votes") {
            print_votes();
        } else if (verb == "nodes") {
            print_nodes();
        }
    }

    void print_votes() {
        const auto votes = quorum_->votes();
        if (!votes) {
            std::printf("failed %s\n", votes.error().detail.c_str());
            return;
        }
        std::printf("votes expected=%u total=%u needed=%u device=%s (%s)\n", votes->expected,
                    votes->total, votes->needed, votes->device.c_str(),
                    votes->device_state.c_str());
    }

    void print_nodes() {
        const auto config = nodes_->read();
        if (!config) {
            std::printf("failed %s\n", config.error().detail.c_str());
            return;
        }
        std::printf("nodes %s version=%" PRIu64 " self=%u token=%u consensus=%u",
                    config->cluster_name.c_str(), config->config_version, config->self.value(),
                    config->token_ms, config->consensus_ms);
        for (const auto& node : config->nodes) {
            std::printf(" %u:%s:%u:", node.id.value(), node.name.c_str(), node.votes);
            for (std::size_t i = 0; i < node.addresses.size(); ++i) {
                std::printf("%s%s", i == 0 ? "" : "+", node.addresses[i].c_str());
            }
        }
        std::printf("\n");
    }

    void dispatch() {
        if (!group_) return;
        Status of_quorum = quorum_->dispatch();
        Status of_nodes = nodes_->dispatch();
        Status of_group;
        while (of_group) of_group = group_->dispatch_one();
        for (const Status* status : {&of_quorum, &of_nodes, &of_group}) {
            if (*status || status->error().code == Errno::TryAgain) continue;
            std::printf("lost %s\n", status->error().detail.c_str());
            // Before the next connection: a corosync that is just ending takes it, and never answers.
            std::fflush(stdout);
            group_.reset();
            quorum_.reset();
            nodes_.reset();
            joining_ = false;
            return;
        }
    }

    void send() {
        while (group_ && !joining_ && !outgoing_.empty()) {
            Outgoing& next = outgoing_.front();
            const auto begun = Clock::now();
            const Status sent = group_->multicast(next.bytes);
            const auto took =
                std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun);
            next.longest_us = std::max<std::int64_t>(next.longest_us, took.count());
            if (!sent && sent.error().code == Errno::TryAgain) {
                ++next.retries;
                return;
            }
            if (sent) {
                std::printf("sent %zu %" PRIx64 " retries=%u longest_us=%" PRId64 "\n",
                            next.bytes.size(), checksum(next.bytes), next.retries, next.longest_us);
            } else {
                std::printf("failed %s\n", sent.error().detail.c_str());
            }
            outgoing_.pop_front();
        }
    }

    std::string group_name_;
    std::unique_ptr<CpgGroup> group_;
    std::unique_ptr<QuorumSource> quorum_;
    std::unique_ptr<NodeList> nodes_;
    std::deque<Outgoing> outgoing_;
    std::string input_;
    bool joining_ = false;
    bool readable_ = false;
    bool ended_ = false;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "Usage: group_probe GROUP\n");
        return 2;
    }
    Probe(argv[1]).run();
    return 0;
}
