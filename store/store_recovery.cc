// SPDX-License-Identifier: Apache-2.0
// What the store does about errors, and its way back to service. docs/faults.md has the whole table.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "store/file_sum.h"
#include "store/space_probe.h"
#include "store/store_impl.h"

namespace cfsgate::store {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kFirstPause{250};
constexpr std::chrono::seconds kLongestPause{10};
constexpr std::uint64_t kMapReserveBytesMax = 256 << 10;

std::string text_of(const Error& error) {
    if (!error.detail.empty()) return error.detail;
    return "the change could not be applied: " + std::string(to_string(error.code));
}

}  // namespace

void StoreImpl::consider(const Error& error) {
    const std::string why = text_of(error);
    if (error.code == Errno::NoSpace) short_of_space_ = true;
    if (!in_trouble_.exchange(true)) log_->error("a change could not be stored: {}", why);
    {
        MutexLock lock(mutex_);
        trouble_ = why;
    }
    if (error.code == Errno::Corrupt) {
        tree_damaged_ = true;
        distrust_tree();
        return fail_store(why + "; the next start rebuilds tree.mdb");
    }
    if (journal_->failed() || environment_->is_stuck()) fail_store(why);
}

/// Removing needs some pages before it gives any back, so the last ones are left to it.
bool StoreImpl::map_is_tight() const {
    const std::uint64_t reserve = std::min(kMapReserveBytesMax, options_.map_bytes / 16);
    struct stat info {};
    const std::string file = options_.directory + "/" + kTreeFileName;
    if (::stat(file.c_str(), &info) != 0) return false;
    if (static_cast<std::uint64_t>(info.st_size) + reserve < options_.map_bytes) return false;
    return !probe_map(reserve, *environment_);
}

void StoreImpl::reopen_if_stuck() {
    if (const auto opened = environment_->unstick(); !opened) {
        log_->error("{}", opened.error().detail);
    }
}

void StoreImpl::end_trouble() {
    if (!in_trouble_ || !in_trouble_.exchange(false)) return;
    {
        MutexLock lock(mutex_);
        trouble_.reset();
    }
    log_->info("changes are stored again");
}

void StoreImpl::fail_store(const std::string& why) {
    MutexLock lock(mutex_);
    if (failure_) return;
    failure_ = why;
    log_->critical("changes are refused until the cause is gone, reads go on: {}", why);
    recovery_wanted_.notify_all();
}

void StoreImpl::distrust_tree() {
    MutexLock lock(ids_mutex_);
    state_.boot_id.clear();  // a boot without a name is never the same one
    if (const auto written = write_state_file(options_.directory, state_); !written) {
        log_->error("{}", written.error().detail);
    }
}

/// What is written to a directory that has come in the place of the one that was opened would be a
/// store without its past.
Status StoreImpl::same_directory() const {
    if (CFSGATE_TRY(file_id(options_.directory)) == directory_id_) return {};
    return fail(Errno::InputOutput,
                options_.directory +
                    ": is not the directory that was opened at the start; put that one back, or "
                    "end the daemon");
}

Status StoreImpl::try_recover() {
    const MutexLock batch(batch_mutex_);
    if (!failure()) {
        if (!short_of_space_) return {};
        CFSGATE_TRY(probe_space(options_.directory, options_.segment_bytes, *environment_));
        short_of_space_ = false;
        return {};
    }
    if (tree_damaged_) return fail(Errno::Corrupt, "tree.mdb is damaged: end the daemon");
    CFSGATE_TRY(same_directory());
    CFSGATE_TRY(probe_flush(options_.directory));
    CFSGATE_TRY(environment_->unstick());
    CFSGATE_TRY(make_snapshot());
    const Sequence published = CFSGATE_TRY(reader())->journal();
    CFSGATE_TRY(journal_->go_on_after(published));
    {
        // It may have gone with the directory's other files.
        MutexLock lock(ids_mutex_);
        CFSGATE_TRY(write_state_file(options_.directory, state_));
    }
    CFSGATE_TRY(relearn_guests());
    short_of_space_ = false;
    end_trouble();
    MutexLock lock(mutex_);
    failure_.reset();
    log_->info(
        "the store is back in service: a snapshot was written and a new journal segment begun");
    return {};
}

void StoreImpl::recover_by_itself() {
    recovery_ = std::thread([this] { keep_recovering(); });
}

/// Waits until the store has failed, then for `pause`. False: it is being closed.
bool StoreImpl::await_failure(Clock::duration pause) {
    MutexLock lock(mutex_);
    while (!failure_ && !stopping_) recovery_wanted_.wait(mutex_);
    const auto at = Clock::now() + pause;
    while (!stopping_ && recovery_wanted_.wait_until(mutex_, at)) {
    }
    return !stopping_;
}

void StoreImpl::keep_recovering() {
    Clock::duration pause = kFirstPause;
    std::string said;
    while (await_failure(pause)) {
        const auto recovered = try_recover();
        if (recovered) {
            pause = kFirstPause;
            said.clear();
            continue;
        }
        pause = std::min<Clock::duration>(2 * pause, kLongestPause);
        if (recovered.error().detail == said) continue;
        said = recovered.error().detail;
        log_->warn("not yet back in service: {}", said);
    }
}

void StoreImpl::stop_threads() {
    {
        MutexLock lock(mutex_);
        stopping_ = true;
        maintenance_wanted_.notify_one();
        recovery_wanted_.notify_all();
    }
    if (maintenance_.joinable()) maintenance_.join();
    if (recovery_.joinable()) recovery_.join();
}

Status StoreImpl::leave_clean() {
    if (const auto why = failure()) return fail(Errno::InputOutput, *why);
    CFSGATE_TRY(journal_->sync());
    if (const auto synced = environment_->sync(); !synced) {
        // Its pages may be lost, and nobody would see that.
        distrust_tree();
        return synced;
    }
    MutexLock lock(ids_mutex_);
    StateFile state = state_;
    state.tree = CFSGATE_TRY(sum_file(options_.directory + "/" + kTreeFileName));
    state.word = StateFile::Word::Clean;
    return write_state_file(options_.directory, state);
}

Status StoreImpl::close() {
    stop_threads();
    if (failure()) {
        if (const auto recovered = try_recover(); !recovered) {
            log_->error("{}", recovered.error().detail);
        }
    }
    const auto left = leave_clean();
    if (!left) return fail(left.error().code, "not marked clean: " + left.error().detail);
    return {};
}

}  // namespace cfsgate::store
