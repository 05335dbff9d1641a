// SPDX-License-Identifier: Apache-2.0
// Makes HUP, INT and TERM end the daemon, whatever its other threads are doing.
//
// A thread of its own takes the signals, so none of them can be lost in, or interrupt, another
// thread. After the first it asks for the end; when that has not come within the grace time, or a
// second signal arrives, it ends the process by force.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace cfsgate::gateway::daemon {

class StopSignals {
public:
    struct Actions {
        std::function<void(int signal)> stop;             ///< the first signal
        std::function<void(const char* reason)> give_up;  ///< must end the process
        std::chrono::milliseconds grace{10000};
        /// Two signals this close are one request: a terminal and sudo may both send it.
        std::chrono::milliseconds same_request{1000};
    };

    /// Blocks the signals in the calling thread, and so in every thread that it starts afterwards.
    /// Ignores PIPE. Errors: what the system says.
    static Result<std::unique_ptr<StopSignals>> start(Actions actions);
    /// Ends the thread; a grace time that runs is over.
    ~StopSignals();
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;

    bool requested() const { return requested_; }
    /// The daemon ends for another reason: the grace time starts now.
    void begin_end();
    /// Sleeps; false at once when the end has been asked for.
    bool sleep(std::chrono::milliseconds time) const;

private:
    StopSignals(Actions actions, UniqueFd signals, UniqueFd requested, UniqueFd end,
                UniqueFd finish);
    void run();
    void wait_for_end(std::chrono::steady_clock::time_point since);

    Actions actions_;
    UniqueFd signals_;          // signalfd
    UniqueFd requested_event_;  // readable once the end was asked for, for sleep()
    UniqueFd end_event_;        // begin_end()
    UniqueFd finish_;           // the destructor
    std::atomic<bool> requested_{false};
    std::thread thread_;
};

}  // namespace cfsgate::gateway::daemon
