// SPDX-License-Identifier: Apache-2.0
// The floor of everything that a cluster orders: messages through corosync's group and back, without
// any file system. Prints JSON as fs_load does. See --help.
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "replication/corosync/cpg_group.h"
#include "tests/bench/histogram.h"

namespace {

using namespace cfsgate;
using bench::Clock;
using bench::Histogram;

constexpr const char* kGroup = "ring_load";
constexpr auto kPatience = std::chrono::seconds(30);
constexpr const char* kUsage = R"(Usage: ring_load [OPTION...]

Joins a process group of corosync. Without --follow it sends, and each message has ended when it has
come back, at its place in the order.

  --follow          only receives, until standard input ends
  --members N       wait for so many members before the first message; default 1
  --window N        messages on their way at once; default 1
  --bytes N         of each message; default 600
  --seconds S       default 1
  --help            print this text
)";

[[noreturn]] void die(const std::string& why) {
    std::fprintf(stderr, "ring_load: %s\n", why.c_str());
    std::exit(1);
}

struct Options {
    bool follow = false;
    std::size_t members = 1;
    std::size_t window = 1;
    std::size_t bytes = 600;
    double seconds = 1;
};

double positive(const std::string& option, const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(value > 0)) {
        die(option + ": '" + text + "' is no number above 0");
    }
    return value;
}

Options parse(const std::vector<std::string>& words) {
    Options options;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word == "--help") {
            std::fputs(kUsage, stdout);
            std::exit(0);
        }
        if (word == "--follow") {
            options.follow = true;
            continue;
        }
        if (i + 1 == words.size()) die("'" + word + "' is no option, or needs a value; see --help");
        const double value = positive(word, words[++i]);
        if (word == "--members") {
            options.members = static_cast<std::size_t>(value);
        } else if (word == "--window") {
            options.window = static_cast<std::size_t>(value);
        } else if (word == "--bytes") {
            options.bytes = static_cast<std::size_t>(value);
        } else if (word == "--seconds") {
            options.seconds = value;
        } else {
            die("'" + word + "' is no option; see --help");
        }
    }
    return options;
}

class Load {
public:
    explicit Load(const Options& options) : options_(options) {
        replication::GroupEvents events;
        events.on_view = [this](const std::vector<replication::Member>& members, bool,
                                const std::vector<replication::Member>&) {
            members_ = members.size();
        };
        events.on_message = [this](replication::Member from, std::string_view) {
            if (from == group_->self()) arrived();
        };
        auto group = replication::CpgGroup::connect(kGroup, std::move(events));
        if (!group) die("corosync: " + group.error().detail);
        group_ = std::move(*group);
        const auto give_up = Clock::now() + kPatience;
        for (Status joined = group_->join(); !joined; joined = group_->join()) {
            if (joined.error().code != Errno::TryAgain || Clock::now() > give_up) {
                die("joining: " + joined.error().detail);
            }
            wait(true);
        }
        while (members_ < options_.members) {
            if (Clock::now() > give_up) die("the others have not come");
            wait(true);
            dispatch();
        }
    }

    void follow() {
        while (wait(false)) dispatch();
    }

    void run() {
        const std::string message(options_.bytes, '.');
        const auto begin = Clock::now();
        const auto end = begin + std::chrono::duration<double>(options_.seconds);
        while (Clock::now() < end || !sent_.empty()) {
            if (Clock::now() > end + kPatience) die("messages have not come back");
            while (Clock::now() < end && sent_.size() < options_.window) {
                const auto now = Clock::now();
                const Status sent = group_->multicast(message);
                if (!sent && sent.error().code == Errno::TryAgain) break;
                if (!sent) die("multicast: " + sent.error().detail);
                sent_.push_back(now);
            }
            wait(true);
            dispatch();
        }
        const std::chrono::duration<double> took = Clock::now() - begin;
        const auto result = bench::result_json("message", static_cast<int>(options_.window),
                                               took.count(), latencies_, 0, "");
        std::printf("%s\n", nlohmann::json{{"results", {result}}}.dump(1).c_str());
    }

private:
    void arrived() {
        latencies_.add(Clock::now() - sent_.front());
        sent_.pop_front();
    }

    /// False: standard input has ended.
    bool wait(bool briefly) {
        std::array<pollfd, 2> entries{
            {{group_->descriptor(), POLLIN, 0}, {options_.follow ? STDIN_FILENO : -1, POLLIN, 0}}};
        ::poll(entries.data(), entries.size(), briefly ? 10 : -1);
        return entries[1].revents == 0;
    }

    void dispatch() {
        Status dispatched;
        while (dispatched) dispatched = group_->dispatch_one();
        if (dispatched.error().code != Errno::TryAgain) die(dispatched.error().detail);
    }

    const Options& options_;
    std::unique_ptr<replication::CpgGroup> group_;
    std::size_t members_ = 0;
    std::deque<Clock::time_point> sent_;
    Histogram latencies_;
};

}  // namespace

int main(int count, char** words) {
    const Options options = parse({words + 1, words + count});
    Load load(options);
    options.follow ? load.follow() : load.run();
    return 0;
}
