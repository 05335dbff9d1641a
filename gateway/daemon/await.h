// SPDX-License-Identifier: Apache-2.0
// Waits for the one answer of a change, within bounds.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include "store/base/result.h"

namespace cfsgate::gateway::daemon {

/// Calls `submit` with a completion and waits for that to be called. Errors: those of the answer;
/// TimedOut after `deadline`; Interrupted when `stop` is requested. The outcome is then unknown,
/// and a late answer is dropped. Not for the thread that completions run on.
template <class T>
Result<T> await(const std::function<void(std::function<void(Result<T>)>)>& submit,
                std::chrono::milliseconds deadline, const std::stop_token& stop) {
    struct Slot {
        std::mutex mutex;
        std::condition_variable_any changed;
        std::optional<Result<T>> answer;
    };
    const auto slot = std::make_shared<Slot>();  // shared with a completion that may come late
    submit([slot](Result<T> answer) {
        {
            const std::lock_guard lock(slot->mutex);
            slot->answer.emplace(std::move(answer));
        }
        slot->changed.notify_all();
    });
    std::unique_lock lock(slot->mutex);
    slot->changed.wait_for(lock, stop, deadline, [&] { return slot->answer.has_value(); });
    if (slot->answer) return std::move(*slot->answer);
    if (stop.stop_requested()) {
        return fail(Errno::Interrupted, "the daemon is ending; the outcome is unknown");
    }
    return fail(Errno::TimedOut, "no answer in time; the outcome is unknown");
}

}  // namespace cfsgate::gateway::daemon
