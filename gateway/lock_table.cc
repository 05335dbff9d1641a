// SPDX-License-Identifier: Apache-2.0
#include "gateway/lock_table.h"

#include <algorithm>
#include <set>

namespace cfsgate::gateway {
namespace {

/// Owners looked at for one request. A longer circle is not found: its members wait until one is
/// interrupted.
constexpr std::size_t kDeadlockOwnersMax = 64;

bool kinds_conflict(LockOwner::Kind a, LockOwner::Kind b) {
    return a == b || a == LockOwner::Kind::Network || b == LockOwner::Kind::Network;
}

bool waits_as_process(const LockOwner& owner) { return owner.kind != LockOwner::Kind::WholeFile; }

}  // namespace

// --- Ranges of one owner ---

void LockTable::append(Locks& locks, Held held) {
    if (!locks.empty()) {
        Held& back = locks.back();
        if (back.type == held.type && back.range.last + 1 == held.range.first) {
            back.range.last = held.range.last;
            back.pid = held.pid;
            return;
        }
    }
    locks.push_back(held);
}

/// `locks` without `range`, and with `put` in its place.
LockTable::Locks LockTable::replaced(const Locks& locks, LockRange range, const Held* put) {
    Locks out;
    out.reserve(locks.size() + 2);
    for (const Held& held : locks) {
        if (held.range.first >= range.first) break;
        Held before = held;
        before.range.last = std::min(held.range.last, range.first - 1);
        append(out, before);
    }
    if (put != nullptr) append(out, *put);
    for (const Held& held : locks) {
        if (held.range.last <= range.last) continue;
        Held behind = held;
        behind.range.first = std::max(held.range.first, range.last + 1);
        append(out, behind);
    }
    return out;
}

// --- Conflicts ---

bool LockTable::conflicts(const LockRequest& request, const LockOwner& owner, const Held& held) {
    return (request.type == LockType::Exclusive || held.type == LockType::Exclusive) &&
           held.range.overlaps(request.range) && owner != request.owner;
}

bool LockTable::has_conflict(const File& file, const LockRequest& request) {
    return std::any_of(file.owners.begin(), file.owners.end(), [&](const auto& one) {
        const auto& [owner, owners] = one;
        if (!kinds_conflict(owner.kind, request.owner.kind) || owner == request.owner) return false;
        return std::any_of(
            owners.locks.begin(), owners.locks.end(),
            [&, &holder = owner](const Held& held) { return conflicts(request, holder, held); });
    });
}

std::optional<LockHolder> LockTable::test(const LockRequest& request) const {
    MutexLock lock(mutex_);
    std::optional<LockHolder> first;
    const auto file = files_.find(request.file);
    if (file == files_.end()) return first;
    for (const auto& [owner, owners] : file->second.owners) {
        if (!kinds_conflict(owner.kind, request.owner.kind)) continue;
        for (const Held& held : owners.locks) {
            if (!conflicts(request, owner, held)) continue;
            if (!first || held.range.first < first->range.first) {
                first = LockHolder{owner, held.type, held.range, held.pid};
            }
        }
    }
    return first;
}

/// Goes from those who hold what is asked for to those for whom they wait themselves.
bool LockTable::would_deadlock(const LockRequest& request) const {
    std::set<LockOwner> seen;
    std::vector<const LockRequest*> open{&request};
    while (!open.empty()) {
        const LockRequest& waiting = *open.back();
        open.pop_back();
        const auto file = files_.find(waiting.file);
        if (file == files_.end()) continue;
        for (const auto& [owner, owners] : file->second.owners) {
            if (!kinds_conflict(owner.kind, waiting.owner.kind) || !waits_as_process(owner) ||
                seen.contains(owner)) {
                continue;
            }
            const bool blocks = std::any_of(owners.locks.begin(), owners.locks.end(),
                                            [&, &holder = owner](const Held& held) {
                                                return conflicts(waiting, holder, held);
                                            });
            if (!blocks) continue;
            if (owner == request.owner) return true;
            if (seen.size() >= kDeadlockOwnersMax) return false;
            seen.insert(owner);
            const auto [begin, end] = waits_of_.equal_range(owner);
            for (auto wait = begin; wait != end; ++wait) {
                const File& where = files_.at(waits_.at(wait->second));
                for (const Waiter& waiter : where.waiters) {
                    if (waiter.id == wait->second) open.push_back(&waiter.request);
                }
            }
        }
    }
    return false;
}

// --- Counting ---

void LockTable::charge(const std::string& to, std::size_t Account::*what, std::size_t before,
                       std::size_t after) {
    Account& account = accounts_[to];
    account.*what += after;
    account.*what -= before;
    if (account.locks == 0 && account.waiting == 0) accounts_.erase(to);
}

bool LockTable::has_room(const std::string& charged_to, std::size_t before,
                         std::size_t after) const {
    if (after <= before) return true;
    const auto account = accounts_.find(charged_to);
    const std::size_t has = account == accounts_.end() ? 0 : account->second.locks;
    return has + after - before <= limits_.locks_of_one && locks_ + after - before <= limits_.locks;
}

// --- Changing ---

void LockTable::set(File& file, std::map<LockOwner, OwnersLocks>::iterator owners, Locks locks) {
    OwnersLocks& of = owners->second;
    charge(of.charged_to, &Account::locks, of.locks.size(), locks.size());
    locks_ += locks.size();
    locks_ -= of.locks.size();
    of.locks = std::move(locks);
    if (of.locks.empty()) file.owners.erase(owners);
}

void LockTable::put(File& file, const LockRequest& request) {
    const auto [owners, fresh] = file.owners.try_emplace(request.owner);
    if (fresh) owners->second.charged_to = request.charged_to;
    const Held held{request.type, request.range, request.pid};
    set(file, owners, replaced(owners->second.locks, request.range, &held));
}

void LockTable::drop(File& file, const LockOwner& owner) {
    const auto owners = file.owners.find(owner);
    if (owners != file.owners.end()) set(file, owners, {});
}

void LockTable::forget_if_unused(FileId id) {
    const auto file = files_.find(id);
    if (file != files_.end() && file->second.owners.empty() && file->second.waiters.empty()) {
        files_.erase(file);
    }
}

LockOutcome LockTable::attempt(const LockRequest& request, Due& due) {
    used_.store(true, std::memory_order_release);
    File& file = files_[request.file];
    auto mine = file.owners.find(request.owner);
    if (request.owner.kind == LockOwner::Kind::WholeFile && mine != file.owners.end() &&
        mine->second.locks.front().type != request.type) {
        set(file, mine, {});
        mine = file.owners.end();
    }
    if (has_conflict(file, request)) {
        promote(request.file, due);  // what was given up
        return LockOutcome::Conflict;
    }
    const Held held{request.type, request.range, request.pid};
    const Locks none;
    const Locks& before = mine == file.owners.end() ? none : mine->second.locks;
    const std::size_t after = replaced(before, request.range, &held).size();
    if (!has_room(mine == file.owners.end() ? request.charged_to : mine->second.charged_to,
                  before.size(), after)) {
        promote(request.file, due);
        return LockOutcome::NoRoom;
    }
    put(file, request);
    promote(request.file, due);  // an exclusive lock may have become a shared one
    return LockOutcome::Granted;
}

void LockTable::promote(FileId id, Due& due) {
    const auto found = files_.find(id);
    if (found == files_.end()) return;
    File& file = found->second;
    for (auto waiter = file.waiters.begin(); waiter != file.waiters.end();) {
        if (has_conflict(file, waiter->request)) {
            ++waiter;
            continue;
        }
        put(file, waiter->request);
        due.push_back(std::move(waiter->granted));
        forget_waiter(file, waiter);
        waiter = file.waiters.begin();  // an owner's lock that became weaker may let others in
    }
    forget_if_unused(id);
}

void LockTable::forget_waiter(File& file, std::list<Waiter>::iterator waiter) {
    const auto [begin, end] = waits_of_.equal_range(waiter->request.owner);
    const auto wait =
        std::find_if(begin, end, [&](const auto& one) { return one.second == waiter->id; });
    waits_of_.erase(wait);
    waits_.erase(waiter->id);
    charge(waiter->request.charged_to, &Account::waiting, 1, 0);
    file.waiters.erase(waiter);
}

// --- What callers see ---

LockOutcome LockTable::try_lock(const LockRequest& request) {
    Due due;
    LockOutcome outcome = LockOutcome::Granted;
    {
        MutexLock lock(mutex_);
        outcome = attempt(request, due);
    }
    for (const Granted& granted : due) granted();
    return outcome;
}

LockTable::Attempt LockTable::lock(const LockRequest& request, Granted granted) {
    Due due;
    Attempt made;
    {
        MutexLock lock(mutex_);
        made.outcome = attempt(request, due);
        if (made.outcome == LockOutcome::Conflict) {
            const auto account = accounts_.find(request.charged_to);
            const std::size_t waiting = account == accounts_.end() ? 0 : account->second.waiting;
            if (waits_as_process(request.owner) && would_deadlock(request)) {
                made.outcome = LockOutcome::Deadlock;
            } else if (waiting >= limits_.waiting_of_one || waits_.size() >= limits_.waiting) {
                made.outcome = LockOutcome::NoRoom;
            } else {
                made = {LockOutcome::Waiting, WaitId(++last_wait_)};
                files_.at(request.file).waiters.push_back({made.wait, request, std::move(granted)});
                waits_.emplace(made.wait, request.file);
                waits_of_.emplace(request.owner, made.wait);
                charge(request.charged_to, &Account::waiting, 0, 1);
            }
        }
    }
    for (const Granted& one : due) one();
    return made;
}

bool LockTable::cancel(WaitId wait) {
    MutexLock lock(mutex_);
    const auto where = waits_.find(wait);
    if (where == waits_.end()) return false;
    const FileId id = where->second;
    File& file = files_.at(id);
    const auto waiter = std::find_if(file.waiters.begin(), file.waiters.end(),
                                     [&](const Waiter& one) { return one.id == wait; });
    forget_waiter(file, waiter);
    forget_if_unused(id);
    return true;
}

LockOutcome LockTable::unlock(FileId id, const LockOwner& owner, LockRange range) {
    Due due;
    {
        MutexLock lock(mutex_);
        const auto file = files_.find(id);
        if (file == files_.end()) return LockOutcome::Granted;
        const auto owners = file->second.owners.find(owner);
        if (owners == file->second.owners.end()) return LockOutcome::Granted;
        Locks rest = replaced(owners->second.locks, range, nullptr);
        if (!has_room(owners->second.charged_to, owners->second.locks.size(), rest.size())) {
            return LockOutcome::NoRoom;
        }
        set(file->second, owners, std::move(rest));
        promote(id, due);
    }
    for (const Granted& granted : due) granted();
    return LockOutcome::Granted;
}

void LockTable::release(FileId id, const LockOwner& owner) {
    if (!used_.load(std::memory_order_acquire)) return;
    Due due;
    {
        MutexLock lock(mutex_);
        const auto file = files_.find(id);
        if (file == files_.end()) return;
        drop(file->second, owner);
        promote(id, due);
    }
    for (const Granted& granted : due) granted();
}

void LockTable::release_client(const std::string& client) {
    Due due;
    {
        MutexLock lock(mutex_);
        std::vector<FileId> ids;
        for (auto& [id, file] : files_) {
            ids.push_back(id);
            for (auto waiter = file.waiters.begin(); waiter != file.waiters.end();) {
                const auto next = std::next(waiter);
                if (waiter->request.owner.client == client) forget_waiter(file, waiter);
                waiter = next;
            }
            for (auto owners = file.owners.begin(); owners != file.owners.end();) {
                const auto next = std::next(owners);
                if (owners->first.client == client) set(file, owners, {});
                owners = next;
            }
        }
        for (const FileId id : ids) promote(id, due);
    }
    for (const Granted& granted : due) granted();
}

void LockTable::release_network(FileId id) {
    if (!used_.load(std::memory_order_acquire)) return;
    Due due;
    {
        MutexLock lock(mutex_);
        const auto file = files_.find(id);
        if (file == files_.end()) return;
        auto& owners = file->second.owners;
        for (auto one = owners.begin(); one != owners.end();) {
            const auto next = std::next(one);
            if (one->first.kind == LockOwner::Kind::Network) set(file->second, one, {});
            one = next;
        }
        promote(id, due);
    }
    for (const Granted& granted : due) granted();
}

LockTable::Totals LockTable::totals() const {
    MutexLock lock(mutex_);
    return {locks_, waits_.size()};
}

std::vector<LockHolder> LockTable::holders(FileId id) const {
    MutexLock lock(mutex_);
    std::vector<LockHolder> all;
    const auto file = files_.find(id);
    if (file == files_.end()) return all;
    for (const auto& [owner, owners] : file->second.owners) {
        for (const Held& held : owners.locks) {
            all.push_back({owner, held.type, held.range, held.pid});
        }
    }
    return all;
}

bool LockTable::has_client(const std::string& client) const {
    MutexLock lock(mutex_);
    const auto is_of = [&](const LockOwner& owner) { return owner.client == client; };
    for (const auto& [id, file] : files_) {
        for (const auto& [owner, owners] : file.owners) {
            if (is_of(owner)) return true;
        }
        for (const Waiter& waiter : file.waiters) {
            if (is_of(waiter.request.owner)) return true;
        }
    }
    return false;
}

}  // namespace cfsgate::gateway
