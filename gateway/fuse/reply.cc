// SPDX-License-Identifier: Apache-2.0
#include "gateway/fuse/reply.h"

#include <pthread.h>

namespace cfsgate::gateway::fuse {
namespace {

constexpr std::chrono::milliseconds kGrace{500};

}  // namespace

Interrupts::Interrupts() {
    thread_ = std::thread([this] { run(); });
    ::pthread_setname_np(thread_.native_handle(), "fuse-interrupts");
}

void Interrupts::stop() {
    {
        MutexLock lock(mutex_);
        stopping_ = true;
        changed_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
}

/// Requests whose reply is gone. libfuse may use their memory for a later one, which then takes the
/// place here; so this only bounds the table.
void Interrupts::sweep() {
    if (watched_.size() < sweep_at_) return;
    std::erase_if(watched_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = 2 * watched_.size() + 256;
}

ReplyPtr Interrupts::watch(fuse_req_t request) {
    auto reply = std::make_shared<Reply>(request);
    {
        MutexLock lock(mutex_);
        sweep();
        watched_[request] = reply;
    }
    // Calls on_interrupt at once where the interrupt came first.
    fuse_req_interrupt_func(request, &Interrupts::on_interrupt, this);
    return reply;
}

void Interrupts::on_interrupt(fuse_req_t request, void* self) noexcept {
    static_cast<Interrupts*>(self)->interrupted(request);
}

void Interrupts::interrupted(fuse_req_t request) {
    MutexLock lock(mutex_);
    const auto found = watched_.find(request);
    if (found == watched_.end()) return;
    interrupted_.push_back({std::chrono::steady_clock::now() + kGrace, found->second});
    changed_.notify_one();
}

void Interrupts::run() {
    for (;;) {
        ReplyPtr late;
        {
            MutexLock lock(mutex_);
            while (interrupted_.empty() && !stopping_) changed_.wait(mutex_);
            if (stopping_) return;
            const Interrupted next = interrupted_.front();
            if (std::chrono::steady_clock::now() < next.deadline) {
                changed_.wait_until(mutex_, next.deadline);
                continue;
            }
            interrupted_.pop_front();
            late = next.reply.lock();
        }
        if (late && late->claim()) {
            count_.fetch_add(1, std::memory_order_relaxed);
            fuse_reply_err(late->request(), EINTR);
        }
    }
}

}  // namespace cfsgate::gateway::fuse
