// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/lock_manager.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "gateway/nfs/xdr.h"
#include "store/base/bytes.h"
#include "store/base/files.h"

namespace cfsgate::gateway::nfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr std::size_t kClientsMax = 1024;
constexpr std::size_t kClientsOfOneMax = 64;  ///< names that come from one address
constexpr seconds kCallTime{3};
/// A client that does not take its lock in this time does not get it.
constexpr seconds kHandOverTime{60};
constexpr std::array kHandOverPauses{seconds(1), seconds(2), seconds(5), seconds(10)};
constexpr std::array kNotifyPauses{seconds(2), seconds(5), seconds(10), seconds(20)};
constexpr std::chrono::minutes kForgetIdle{10};
constexpr seconds kIdleTime{60};
constexpr std::uint64_t kOffsetMax = INT64_MAX;

struct Registration {
    const char* protocol;
    std::uint32_t program;
    std::uint32_t version;
    const char* name;
};
constexpr std::array<Registration, 10> kRegistrations{{
    {"tcp", 100003, 3, "NFS"},
    {"tcp6", 100003, 3, "NFS"},
    {"tcp", 100005, 3, "MOUNT"},
    {"tcp6", 100005, 3, "MOUNT"},
    {"tcp", NLM_PROGRAM, NLM_V4, "the lock manager"},
    {"tcp6", NLM_PROGRAM, NLM_V4, "the lock manager"},
    {"tcp", SM_PROGRAM, SM_V1, "the status monitor"},
    {"tcp6", SM_PROGRAM, SM_V1, "the status monitor"},
    {"udp", SM_PROGRAM, SM_V1, "the status monitor"},
    {"udp6", SM_PROGRAM, SM_V1, "the status monitor"},
}};

template <std::size_t N>
milliseconds pause(const std::array<seconds, N>& pauses, int attempt) {
    return pauses[std::min(static_cast<std::size_t>(attempt), N - 1)];
}

netobj to_netobj(const std::string& bytes) {
    return {static_cast<u_int>(bytes.size()), const_cast<char*>(bytes.data())};
}

std::string to_cookie(std::uint64_t id) {
    ByteWriter out;
    out.put(id);
    return out.take();
}

LockRequest to_request(const LockWords& words) {
    LockRequest request;
    request.file = words.file;
    request.owner = words.lock_owner();
    request.type = words.exclusive ? LockType::Exclusive : LockType::Shared;
    request.range = words.range();
    request.pid = 0;
    request.charged_to = words.client.account();
    return request;
}

bool same_lock(const LockWords& a, const LockWords& b) {
    return a.file == b.file && a.exclusive == b.exclusive && a.range() == b.range() &&
           a.lock_owner() == b.lock_owner();
}

std::string granted_arguments(std::uint64_t id, const LockWords& words) {
    const std::string cookie = to_cookie(id);
    std::string name = words.client.name;
    nlm4_testargs arguments{};
    arguments.cookie = to_netobj(cookie);
    arguments.exclusive = words.exclusive ? TRUE : FALSE;
    arguments.alock.caller_name = name.data();
    arguments.alock.fh = to_netobj(words.handle);
    arguments.alock.oh = to_netobj(words.owner);
    arguments.alock.svid = words.svid;
    arguments.alock.l_offset = words.offset;
    arguments.alock.l_len = words.length;
    auto bytes = encode_xdr(arguments);
    return bytes ? *bytes : std::string();
}

}  // namespace

LockRange LockWords::range() const {
    if (length == 0 || offset > kOffsetMax || length > kOffsetMax - offset + 1) {
        return {offset, LockRange::kToTheEnd};
    }
    return {offset, offset + length - 1};
}

LockOwner LockWords::lock_owner() const {
    ByteWriter bytes;
    bytes.put(static_cast<std::uint32_t>(svid));
    return {LockOwner::Kind::Network, client.key(), bytes.take() + owner};
}

std::shared_ptr<LockManager> LockManager::make(FileSystem& files, LockManagerOptions options,
                                               Logger log) {
    return std::shared_ptr<LockManager>(new LockManager(files, std::move(options), std::move(log)));
}

LockManager::LockManager(FileSystem& files, LockManagerOptions options, Logger log)
    : table_(files.locks()),
      options_(std::move(options)),
      log_(std::move(log)),
      // Ids are cookies: a late answer to one of a former start must meet no other.
      last_id_(static_cast<std::uint64_t>(steady_clock::now().time_since_epoch().count())) {}

// --- Start and end ---

void LockManager::start(const std::vector<SocketAddress>& addresses) {
    load();
    if (options_.rpcbind)
        later({}, [addresses](LockManager& self) { self.register_all(addresses); });
    std::vector<LockClient> before;
    {
        MutexLock lock(mutex_);
        for (const auto& [key, known] : clients_) before.push_back(known.client);
        if (!before.empty()) grace_end_ = steady_clock::now() + options_.grace;
    }
    if (before.empty()) return look_after_list(kForgetIdle);
    if (const Status saved = save(); !saved) {
        log_->error("hosts that hold locks cannot be noted: {}", saved.error().detail);
    }
    log_->info("{} hosts may claim their locks again within {} s; new ones wait", before.size(),
               options_.grace.count());
    for (const LockClient& client : before) {
        later({}, [client](LockManager& self) { self.notify(client, 0); });
    }
    look_after_list(options_.grace);
}

void LockManager::stop() {
    chores_.stop();
    std::vector<LockTable::WaitId> waits;
    {
        MutexLock lock(mutex_);
        for (const auto& [id, blocked] : blocked_) waits.push_back(blocked.wait);
        blocked_.clear();
    }
    for (const LockTable::WaitId wait : waits) table_.cancel(wait);
    forget_idle(seconds(0));
    if (registered_) unregister_all();
}

void LockManager::later(milliseconds in, std::function<void(LockManager&)> chore) {
    chores_.post(
        [weak = weak_from_this(), chore = std::move(chore)] {
            if (const auto self = weak.lock()) chore(*self);
        },
        in);
}

bool LockManager::in_grace() const {
    MutexLock lock(mutex_);
    return steady_clock::now() < grace_end_;
}

std::int32_t LockManager::state() const {
    MutexLock lock(mutex_);
    return state_;
}

// --- The list of clients ---

void LockManager::load() {
    if (options_.clients_file.empty()) return;
    const auto text = read_small_file(options_.clients_file, 1U << 20);
    if (!text && text.error().code == Errno::NotFound) return;
    const auto list =
        text ? parse_lock_clients(*text) : Result<LockClientList>(tl::unexpected(text.error()));
    if (!list) {
        log_->error("{}: {}; hosts that held locks are not told of the restart",
                    options_.clients_file, list.error().detail);
        return;
    }
    MutexLock lock(mutex_);
    state_ = static_cast<std::int32_t>((static_cast<std::uint32_t>(list->state) + 2) & 0x7fffffffU);
    for (const auto& [key, client] : list->clients) clients_[key].client = client;
}

Status LockManager::save() {
    if (options_.clients_file.empty()) return {};
    MutexLock one_at_a_time(file_mutex_);
    LockClientList list;
    {
        MutexLock lock(mutex_);
        list.state = state_;
        for (const auto& [key, known] : clients_) list.clients.emplace(key, known.client);
    }
    return write_file_atomically(options_.clients_file, format_lock_clients(list), 0600,
                                 Flush::Yes);
}

bool LockManager::knows(const LockClient& client) const {
    MutexLock lock(mutex_);
    return clients_.contains(client.key());
}

Status LockManager::remember(const LockClient& client) {
    {
        MutexLock lock(mutex_);
        const auto of_one = std::count_if(clients_.begin(), clients_.end(), [&](const auto& one) {
            return one.second.client.account() == client.account();
        });
        const bool full =
            clients_.size() >= kClientsMax || static_cast<std::size_t>(of_one) >= kClientsOfOneMax;
        if (full && !clients_.contains(client.key())) {
            return fail(Errno::NoSpace, "too many hosts hold locks");
        }
        Known& known = clients_[client.key()];
        known.client = client;
        known.used = steady_clock::now();
    }
    return save();
}

/// Those who hold nothing and wait for nothing. During the grace period they may still claim it.
void LockManager::forget_idle(seconds idle_for) {
    if (in_grace()) return;
    std::vector<std::string> keys;
    {
        MutexLock lock(mutex_);
        for (const auto& [key, known] : clients_) {
            // One that is about to lock must stay.
            if (steady_clock::now() - known.used > idle_for) keys.push_back(key);
        }
    }
    std::erase_if(keys, [&](const std::string& key) { return table_.has_client(key); });
    if (keys.empty()) return;
    {
        MutexLock lock(mutex_);
        for (const std::string& key : keys) clients_.erase(key);
    }
    if (const Status saved = save(); !saved) log_->warn("{}", saved.error().detail);
}

void LockManager::look_after_list(milliseconds in) {
    later(in + seconds(1), [](LockManager& self) {
        self.forget_idle(kIdleTime);
        self.look_after_list(kForgetIdle);
    });
}

// --- What clients ask for ---

std::optional<LockHolder> LockManager::test(const LockWords& words) const {
    return table_.test(to_request(words));
}

nlm4_stats LockManager::lock(const LockWords& words, const LockMode& mode) {
    bool gives_up_waiting = false;
    {
        MutexLock lock(mutex_);
        const bool grace = steady_clock::now() < grace_end_;
        if (grace != mode.reclaim) return NLM4_DENIED_GRACE_PERIOD;
        const auto known = clients_.find(words.client.key());
        if (mode.monitored == Monitored::Yes) {
            if (known == clients_.end()) return NLM4_DENIED_NOLOCKS;
            known->second.state = mode.client_state;
            known->second.used = steady_clock::now();
        }
        // It asks again: whatever was on its way to it has become the answer.
        const auto blocked = find_blocked(words);
        if (blocked != blocked_.end() && !blocked->second.granted) {
            if (mode.block) return NLM4_BLOCKED;
            gives_up_waiting = true;
        } else if (blocked != blocked_.end()) {
            blocked_.erase(blocked);
        }
    }
    if (gives_up_waiting) cancel(words);
    if (mode.block && !mode.reclaim) return wait(words);
    switch (table_.try_lock(to_request(words))) {
        case LockOutcome::Granted: return NLM4_GRANTED;
        case LockOutcome::Conflict:
        case LockOutcome::Waiting: return NLM4_DENIED;
        case LockOutcome::Deadlock: return NLM4_DEADLCK;
        case LockOutcome::NoRoom: return NLM4_DENIED_NOLOCKS;
    }
    return NLM4_FAILED;
}

nlm4_stats LockManager::wait(const LockWords& words) {
    std::uint64_t id = 0;
    {
        MutexLock lock(mutex_);
        id = ++last_id_;
        blocked_[id].words = words;
    }
    const auto made = table_.lock(to_request(words), [weak = weak_from_this(), id] {
        if (const auto self = weak.lock()) self->on_granted(id);
    });
    bool called_off = false;
    {
        MutexLock lock(mutex_);
        const auto blocked = blocked_.find(id);
        if (made.outcome != LockOutcome::Waiting) {
            blocked_.erase(id);
        } else if (blocked != blocked_.end()) {
            blocked->second.wait = made.wait;
        } else {
            called_off = true;
        }
    }
    if (called_off && !table_.cancel(made.wait)) {
        table_.unlock(words.file, words.lock_owner(), words.range());
    }
    switch (made.outcome) {
        case LockOutcome::Granted: return NLM4_GRANTED;
        case LockOutcome::Conflict:
        case LockOutcome::Waiting: return NLM4_BLOCKED;
        case LockOutcome::Deadlock: return NLM4_DEADLCK;
        case LockOutcome::NoRoom: return NLM4_DENIED_NOLOCKS;
    }
    return NLM4_FAILED;
}

LockManager::BlockedMap::iterator LockManager::find_blocked(const LockWords& words) {
    return std::find_if(blocked_.begin(), blocked_.end(),
                        [&](const auto& one) { return same_lock(one.second.words, words); });
}

nlm4_stats LockManager::cancel(const LockWords& words) {
    LockTable::WaitId wait;
    {
        MutexLock lock(mutex_);
        const auto blocked = find_blocked(words);
        if (blocked == blocked_.end()) return NLM4_GRANTED;  // nothing of it is left
        wait = blocked->second.wait;
        blocked_.erase(blocked);
    }
    // Granted a moment ago, and the client does not want it any more.
    if (!table_.cancel(wait)) table_.unlock(words.file, words.lock_owner(), words.range());
    return NLM4_GRANTED;
}

nlm4_stats LockManager::unlock(const LockWords& words) {
    {
        MutexLock lock(mutex_);
        const LockOwner owner = words.lock_owner();
        std::erase_if(blocked_, [&](const auto& one) {
            const LockWords& theirs = one.second.words;
            return one.second.granted && theirs.file == words.file &&
                   theirs.lock_owner() == owner && theirs.range().overlaps(words.range());
        });
    }
    const auto outcome = table_.unlock(words.file, words.lock_owner(), words.range());
    return outcome == LockOutcome::Granted ? NLM4_GRANTED : NLM4_DENIED_NOLOCKS;
}

void LockManager::release(const LockClient& client) {
    const std::string key = client.key();
    {
        MutexLock lock(mutex_);
        std::erase_if(blocked_,
                      [&](const auto& one) { return one.second.words.client.key() == key; });
    }
    table_.release_client(key);
}

void LockManager::free_all(const LockClient& client) { release(client); }

void LockManager::restarted(const LockClient& client, std::int32_t client_state) {
    const auto host = [](const std::string& name) { return name.substr(0, name.find('.')); };
    std::vector<LockClient> gone;
    {
        MutexLock lock(mutex_);
        for (auto& [key, known] : clients_) {
            const LockClient& one = known.client;
            // Some name themselves with their domain, and some not.
            if (one.address != client.address || one.mark != client.mark ||
                host(one.name) != host(client.name)) {
                continue;
            }
            // Told once more of a restart after which it has locked again.
            if (known.state != 0 && known.state == client_state) continue;
            gone.push_back(one);
        }
    }
    for (const LockClient& one : gone) {
        log_->info("{} at {} has restarted: its locks are free", one.name, one.address.to_string());
        release(one);
    }
}

// --- Handing over what a client waited for ---

void LockManager::on_granted(std::uint64_t id) {
    {
        MutexLock lock(mutex_);
        const auto blocked = blocked_.find(id);
        if (blocked == blocked_.end()) return;  // whoever took it away sees to the lock
        blocked->second.granted = true;
        blocked->second.granted_at = steady_clock::now();
    }
    later({}, [id](LockManager& self) { self.hand_over(id); });
}

void LockManager::hand_over(std::uint64_t id) {
    LockWords words;
    {
        MutexLock lock(mutex_);
        const auto blocked = blocked_.find(id);
        if (blocked == blocked_.end()) return;  // the client has asked again meanwhile
        words = blocked->second.words;
    }
    const auto answer =
        call(words.client, {NLM_PROGRAM, NLM_V4, NLMPROC4_GRANTED}, granted_arguments(id, words));
    if (answer) {
        if (const auto result = Decoded<nlm4_res>::whole(*answer)) {
            return hand_over_result(id, (*result)->stat.stat);
        }
    }
    int attempt = 0;
    {
        MutexLock lock(mutex_);
        const auto blocked = blocked_.find(id);
        if (blocked == blocked_.end()) return;
        if (steady_clock::now() - blocked->second.granted_at < kHandOverTime) {
            attempt = ++blocked->second.attempts;
        }
    }
    if (attempt == 0) {
        log_->warn("{} at {} does not take the lock that it waited for; the next one gets it",
                   words.client.name, words.client.address.to_string());
        return hand_over_result(id, NLM4_DENIED);
    }
    later(pause(kHandOverPauses, attempt - 1), [id](LockManager& self) { self.hand_over(id); });
}

void LockManager::hand_over_result(std::uint64_t id, std::uint32_t stat) {
    if (stat == NLM4_DENIED_GRACE_PERIOD) {  // it has just restarted, and will say so
        return later(kHandOverPauses.back(), [id](LockManager& self) { self.hand_over(id); });
    }
    LockWords words;
    {
        MutexLock lock(mutex_);
        const auto blocked = blocked_.find(id);
        if (blocked == blocked_.end() || !blocked->second.granted) return;
        words = blocked->second.words;
        blocked_.erase(blocked);
    }
    if (stat != NLM4_GRANTED) table_.unlock(words.file, words.lock_owner(), words.range());
}

void LockManager::granted_result(std::string_view cookie, std::uint32_t stat) {
    if (cookie.size() != sizeof(std::uint64_t)) return;
    ByteReader in(cookie);
    hand_over_result(in.take<std::uint64_t>(), stat);
}

// --- Calls to others ---

Result<std::string> LockManager::call(const LockClient& client, const RpcProcedure& procedure,
                                      std::string_view arguments) {
    const auto deadline = steady_clock::now() + kCallTime;
    const std::uint16_t port = CFSGATE_TRY(
        find_port(client.address, client.server, procedure.program, procedure.version, deadline));
    auto stream = CFSGATE_TRY(RpcStream::connect({client.address, port}, client.server, deadline));
    return stream.call(procedure, arguments, deadline);
}

void LockManager::send(const LockClient& client, std::uint32_t procedure, std::string arguments) {
    later({}, [client, procedure, arguments = std::move(arguments)](LockManager& self) {
        const auto answer = self.call(client, {NLM_PROGRAM, NLM_V4, procedure}, arguments);
        if (!answer) self.log_->debug("{}: {}", client.name, answer.error().detail);
    });
}

/// To its status monitor, under the name by which it knows us.
void LockManager::notify(const LockClient& client, int attempt) {
    std::string name = client.server.to_string();
    const stat_chge change{name.data(), state()};
    const auto arguments = encode_xdr(change);
    if (!arguments) return;
    const auto answer = call(client, {SM_PROGRAM, SM_V1, SM_NOTIFY}, *arguments);
    if (answer) return log_->debug("{} knows of the restart", client.name);
    if (!in_grace()) {
        return log_->warn(
            "{} at {} could not be told that this server has restarted; it has lost its locks: {}",
            client.name, client.address.to_string(), answer.error().detail);
    }
    later(pause(kNotifyPauses, attempt),
          [client, attempt](LockManager& self) { self.notify(client, attempt + 1); });
}

void LockManager::register_all(const std::vector<SocketAddress>& addresses) {
    for (const Registration& one : kRegistrations) {
        const bool v4 = !std::string_view(one.protocol).ends_with('6');
        const auto address =
            std::find_if(addresses.begin(), addresses.end(),
                         [&](const SocketAddress& each) { return each.ip.is_v4() == v4; });
        if (address == addresses.end()) continue;
        const Status done = register_program(one.protocol, one.program, one.version, address->port,
                                             steady_clock::now() + kCallTime);
        if (done) {
            registered_ = true;
            continue;
        }
        if (done.error().code != Errno::Exists) {
            return log_->error(
                "not registered, as rpcbind does not answer: {}; clients that lock need it",
                done.error().detail);
        }
        log_->error(
            "{} ({}) is registered by another server of this host already: clients that ask "
            "rpcbind get that one; stop it, then restart",
            one.name, one.protocol);
    }
    if (registered_) log_->info("registered with rpcbind");
}

void LockManager::unregister_all() {
    const auto deadline = steady_clock::now() + kCallTime;
    for (const Registration& one : kRegistrations) {
        const Status done = unregister_program(one.protocol, one.program, one.version, deadline);
        if (!done) return;  // nobody answers: nothing is registered either
    }
}

}  // namespace cfsgate::gateway::nfs
