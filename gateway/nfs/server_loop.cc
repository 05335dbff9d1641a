// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/server_loop.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "gateway/nfs/lock_manager.h"
#include "store/base/bytes.h"
#include "store/base/crc32c.h"

namespace cfsgate::gateway::nfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMailboxId = 0;
constexpr std::uint64_t kFirstListenerId = 1;
constexpr std::uint64_t kFirstDatagramId = 512;
constexpr std::uint64_t kFirstConnectionId = 1024;
constexpr int kBacklog = 1024;
constexpr int kAcceptsAtOnce = 64;
constexpr std::size_t kReceiveBytes = 256U << 10;
constexpr std::size_t kCredentialsKept = 8;
/// After it another connection has its turn.
constexpr milliseconds kTurn{2};
constexpr seconds kTick{1};
constexpr seconds kGroupsPatience{30};
constexpr seconds kClientsPatience{2};

Status set_option(int socket, int level, int name, int value) {
    if (::setsockopt(socket, level, name, &value, sizeof(value)) == 0) return {};
    return fail_posix(errno, "setsockopt");
}

/// A peer that vanished without a word is found out within about two minutes.
Status keep_alive(int socket) {
    CFSGATE_TRY(set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1));
    CFSGATE_TRY(set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, 60));
    CFSGATE_TRY(set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, 10));
    return set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 6);
}

Result<SocketAddress> own_address(int socket) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        return fail_posix(errno, "getsockname");
    }
    return SocketAddress::from(address);
}

struct Program {
    std::uint32_t number;
    std::uint32_t version;
    Answer (*call)(const AdapterPtr&, const Request&);
};
constexpr std::array<Program, 4> kPrograms{{
    {NFS_PROGRAM, NFS_V3, call_nfs3},
    {MOUNT_PROGRAM, MOUNT_V3, call_mount3},
    {NLM_PROGRAM, NLM_V4, call_nlm4},
    {SM_PROGRAM, SM_V1, call_nsm},
}};

const Program* find_program(std::uint32_t number) {
    const auto* const found =
        std::find_if(kPrograms.begin(), kPrograms.end(),
                     [&](const Program& program) { return program.number == number; });
    return found == kPrograms.end() ? nullptr : found;
}

ServedAsPtr nobody() {
    static const ServedAsPtr kNobodyServed = std::make_shared<const ServedAs>(Identity{});
    return kNobodyServed;
}

}  // namespace

std::string Server::Loop::CallName::text() const {
    if (program == NFS_PROGRAM) return std::string(nfs3_procedure_name(procedure));
    const char* const name = program == MOUNT_PROGRAM ? "MOUNT "
                             : program == NLM_PROGRAM ? "NLM "
                                                      : "NSM ";
    return name + std::to_string(procedure);
}

Server::Loop::Loop(FileSystem& files, ServerOptions options, Logger log)
    : files_(files),
      options_(std::move(options)),
      log_(std::move(log)),
      adapter_(std::make_shared<Adapter>(files, std::move(options_.rules))),
      next_id_(kFirstConnectionId),
      scratch_(kReceiveBytes) {
    adapter_->networks = options_.networks;
    adapter_->locks = LockManager::make(files_, options_.locks, log_);
}

Server::Loop::~Loop() { stop(); }

// --- Start and end ---

Status Server::Loop::start() {
    doorman_ = CFSGATE_TRY(Doorman::make(adapter_->rules));
    epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.valid()) return fail_posix(errno, "epoll_create1");
    mailbox_ = CFSGATE_TRY(Mailbox::make());
    CFSGATE_TRY(watch(mailbox_->descriptor(), kMailboxId, EPOLLIN));
    for (const SocketAddress& address : options_.listen) {
        auto listening = listen(address);
        if (!listening) {
            listening.error().detail = address.to_string() + ": " + listening.error().detail;
            return listening;
        }
    }
    if (options_.locks.rpcbind) listen_for_datagrams();
    restore_replies();
    groups_ = std::make_unique<UserGroups>();
    workers_ = std::make_unique<ChangeWorkers>(files_);
    adapter_->locks->start(addresses);  // before anybody can ask for a lock
    thread_ = std::thread([this] {
        ::pthread_setname_np(::pthread_self(), "nfs-loop");
        run();
    });
    return {};
}

void Server::Loop::stop() {
    if (!thread_.joinable()) return;
    mailbox_->post([this] { stopping_ = true; });
    thread_.join();
    workers_->stop();
    adapter_->locks->stop();
    groups_->stop();
    mailbox_->close();
}

Status Server::Loop::listen(const SocketAddress& address) {
    socklen_t size = 0;
    const sockaddr_storage raw = address.to_sockaddr(size);
    Listener listener{
        UniqueFd(::socket(raw.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), address,
        true};
    const int fd = listener.fd.get();
    if (!listener.fd.valid()) return fail_posix(errno, "socket");
    CFSGATE_TRY(set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    if (raw.ss_family == AF_INET6) CFSGATE_TRY(set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&raw), size) != 0) {
        return fail_posix(errno, "bind");
    }
    if (::listen(fd, kBacklog) != 0) return fail_posix(errno, "listen");
    listener.address = CFSGATE_TRY(own_address(fd));
    addresses.push_back(listener.address);
    CFSGATE_TRY(watch(fd, kFirstListenerId + listeners_.size(), EPOLLIN));
    listeners_.push_back(std::move(listener));
    return {};
}

/// Linux hosts tell of their restart by UDP. Without it that is not heard, and nothing else changes.
void Server::Loop::listen_for_datagrams() {
    for (const SocketAddress& address : addresses) {
        socklen_t size = 0;
        const sockaddr_storage raw = address.to_sockaddr(size);
        UniqueFd fd(::socket(raw.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const bool bound =
            fd.valid() &&
            (raw.ss_family == AF_INET || set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
            ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&raw), size) == 0 &&
            watch(fd.get(), kFirstDatagramId + datagrams_.size(), EPOLLIN);
        if (!bound) {
            log_->error("{} by UDP: {}; restarts of hosts that hold locks go unnoticed there",
                        address.to_string(), std::generic_category().message(errno));
            continue;
        }
        datagrams_.push_back(std::move(fd));
    }
}

void Server::Loop::answer_datagrams(int descriptor) {
    for (int i = 0; i < kAcceptsAtOnce; ++i) {
        sockaddr_storage raw{};
        socklen_t size = sizeof(raw);
        const ssize_t got = ::recvfrom(descriptor, scratch_.data(), scratch_.size(), 0,
                                       reinterpret_cast<sockaddr*>(&raw), &size);
        if (got < 0) return;
        const auto from = SocketAddress::from(raw);
        // Nothing proves who sent it: only hosts that a rule admits.
        if (!from || from->is_loopback() || adapter_->rules.find(from->ip) == nullptr) continue;
        const std::string reply =
            answer_nsm_datagram(adapter_, *from, {scratch_.data(), static_cast<std::size_t>(got)});
        if (reply.empty()) continue;
        static_cast<void>(::sendto(descriptor, reply.data(), reply.size(), MSG_DONTWAIT,
                                   reinterpret_cast<const sockaddr*>(&raw), size));
    }
}

Status Server::Loop::watch(int descriptor, std::uint64_t id, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = id;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) == 0) return {};
    return fail_posix(errno, "epoll_ctl");
}

/// A client repeats what was not answered before the daemon's end: it must get the answer of then.
void Server::Loop::restore_replies() {
    const ReplyCacheLimits limits;
    const std::uint32_t now = files_.now();
    const auto age = static_cast<std::uint32_t>(limits.age.count());
    const auto notes = files_.notes(now > age ? now - age : 0, limits.replies);
    if (!notes) {
        log_->error(
            "the replies of before the start cannot be read, so repeated requests may be "
            "executed twice: {}",
            notes.error().detail);
        return;
    }
    const SteadyTime steady = std::chrono::steady_clock::now();
    std::size_t damaged = 0;
    for (const auto& note : *notes) {
        auto decoded = decode_reply_note(note.bytes);
        if (!decoded) {
            ++damaged;
            continue;
        }
        if (!decoded->verifier.empty()) {
            adapter_->exclusive_creates.add(decoded->file, decoded->verifier);
        } else if (decoded->file != FileId()) {
            adapter_->exclusive_creates.take_fresh(decoded->file);
        }
        replies_.finish(decoded->key, std::move(decoded->reply),
                        steady - seconds(now - std::min(now, note.time)));
    }
    if (damaged > 0) log_->warn("{} notes of changes are not understood; ignored", damaged);
}

// --- The loop ---

int Server::Loop::wait_milliseconds(SteadyTime now) const {
    if (!ready_.empty()) return 0;
    const bool listening = std::all_of(listeners_.begin(), listeners_.end(),
                                       [](const Listener& listener) { return listener.watched; });
    if (connections_.empty() && pending_.empty() && listening) return -1;
    const auto left = std::chrono::duration_cast<milliseconds>(next_tick_ - now).count();
    return static_cast<int>(std::clamp<std::int64_t>(left + 1, 0, 1000));
}

void Server::Loop::run() {
    std::array<epoll_event, 256> events{};
    while (!stopping_) {
        now_ = std::chrono::steady_clock::now();
        const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                       wait_milliseconds(now_));
        now_ = std::chrono::steady_clock::now();
        for (int i = 0; i < count; ++i) {
            const auto& event = events[static_cast<std::size_t>(i)];
            on_event(event.data.u64, event.events);
        }
        std::vector<std::uint64_t> ready;
        ready.swap(ready_);
        for (const std::uint64_t id : ready) {
            Connection* connection = find(id);
            if (connection == nullptr) continue;
            connection->has_its_turn = false;
            if (connection->unread.empty()) continue;
            const std::string input = std::exchange(connection->unread, {});
            process(*connection, input);
            settle(*connection);
        }
        std::vector<std::uint64_t> answered;
        answered.swap(answered_);
        for (const std::uint64_t id : answered) {
            if (Connection* connection = find(id)) settle(*connection);
        }
        if (now_ >= next_tick_) tick();
        for (const std::uint64_t id : closed_) connections_.erase(id);
        closed_.clear();
    }
    while (!connections_.empty()) {
        close(*connections_.begin()->second);
        connections_.erase(connections_.begin());
    }
}

void Server::Loop::on_event(std::uint64_t id, std::uint32_t events) {
    if (id == kMailboxId) {
        for (const auto& letter : mailbox_->take()) letter();
        return;
    }
    if (id >= kFirstDatagramId && id < kFirstConnectionId) {
        return answer_datagrams(datagrams_[id - kFirstDatagramId].get());
    }
    if (id < kFirstConnectionId) return accept_from(listeners_[id - kFirstListenerId]);
    Connection* connection = find(id);
    if (connection == nullptr) return;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) return close(*connection);
    if ((events & EPOLLIN) != 0) receive(*connection);
    settle(*connection);
}

// --- Connections ---

Connection* Server::Loop::find(std::uint64_t id) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || !found->second->fd.valid()) return nullptr;
    return found->second.get();
}

void Server::Loop::accept_from(Listener& listener) {
    for (int i = 0; i < kAcceptsAtOnce; ++i) {
        sockaddr_storage raw{};
        socklen_t size = sizeof(raw);
        UniqueFd socket(::accept4(listener.fd.get(), reinterpret_cast<sockaddr*>(&raw), &size,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!socket.valid()) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) return;
            if (accept_log_.allows(now_)) {
                log_->error("{}: no connection can be accepted for a second: {}",
                            listener.address.to_string(), std::generic_category().message(errno));
            }
            // What waits would wake the loop again and again.
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener.fd.get(), nullptr);
            listener.watched = false;
            return;
        }
        const auto from = SocketAddress::from(raw);
        const auto local = own_address(socket.get());
        if (!from || !local) continue;
        counters.accepted.fetch_add(1, std::memory_order_relaxed);
        admit(std::move(socket), *from, *local);
    }
}

bool Server::Loop::has_room_for(const Peer& peer) const {
    const auto* local = std::get_if<LocalPeer>(&peer);
    const bool root = local != nullptr && local->owner == 0;
    const ServerLimits& limits = options_.limits;
    return connections_.size() < limits.connections - (root ? 0 : limits.connections_kept_for_root);
}

void Server::Loop::admit(UniqueFd socket, const SocketAddress& from, const SocketAddress& local) {
    auto peer = doorman_->admit(from, local);
    if (peer && !has_room_for(*peer)) peer = fail(Errno::NoAccess, "too many connections");
    if (!peer) {
        counters.refused.fetch_add(1, std::memory_order_relaxed);
        if (refused_log_.allows(now_)) {
            log_->warn("connection from {} refused: {}", from.to_string(), peer.error().detail);
        }
        return;
    }
    const int fd = socket.get();
    const Status ready = [&]() -> Status {
        CFSGATE_TRY(set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1));
        CFSGATE_TRY(keep_alive(fd));
        return watch(fd, next_id_, EPOLLIN);
    }();
    if (!ready) {
        log_->warn("connection from {}: {}", from.to_string(), ready.error().detail);
        return;
    }
    auto connection = std::make_unique<Connection>(next_id_, std::move(socket), from,
                                                   std::move(*peer), options_.limits.record, now_);
    connection->events = EPOLLIN;
    Connection& added = *connection;
    connections_.emplace(next_id_++, std::move(connection));
    counters.connections.fetch_add(1, std::memory_order_relaxed);
    ask_for_groups(added);
}

/// Who speaks for everybody needs none.
void Server::Loop::ask_for_groups(Connection& connection) {
    auto* local = std::get_if<LocalPeer>(&connection.peer);
    if (local == nullptr || (local->owner == 0 && local->reserved_port)) return;
    connection.groups_from = now_;
    if (auto groups = groups_->find(local->owner)) {
        local->groups = std::move(groups);
        return;
    }
    // Later only what is asked for anew: with the groups of a minute ago the service goes on.
    connection.waiting_for_groups = local->groups == nullptr;
    const auto asked = groups_->request(
        local->owner, [this, mailbox = mailbox_, id = connection.id](const GroupsPtr& groups) {
            mailbox->post([this, id, groups] { on_groups(id, groups); });
        });
    if (!asked) on_groups(connection.id, nullptr);
    settle(connection);
}

void Server::Loop::on_groups(std::uint64_t id, const GroupsPtr& groups) {
    Connection* connection = find(id);
    if (connection == nullptr) return;
    auto& local = std::get<LocalPeer>(connection->peer);
    if (groups != nullptr) local.groups = groups;
    connection->credentials.clear();
    connection->waiting_for_groups = false;
    answered_.push_back(id);
}

void Server::Loop::drop(Connection& connection, const std::string& why) {
    counters.dropped.fetch_add(1, std::memory_order_relaxed);
    if (dropped_log_.allows(now_)) log_->warn("{}: closed: {}", connection.describe(), why);
    close(connection);
}

void Server::Loop::close(Connection& connection) {
    if (!connection.fd.valid()) return;
    all_bytes_ -= connection.charged;
    connection.charged = 0;
    connection.fd.reset();
    counters.connections.fetch_sub(1, std::memory_order_relaxed);
    closed_.push_back(connection.id);
}

// --- What comes in ---

bool Server::Loop::may_go_on(const Connection& connection) const {
    const ServerLimits& limits = options_.limits;
    return !connection.waiting_for_groups && connection.out.bytes() < limits.reply_bytes &&
           connection.calls_in_work < limits.calls_in_work &&
           connection.work_bytes < limits.work_bytes;
}

void Server::Loop::receive(Connection& connection) {
    if (!may_go_on(connection) || !connection.unread.empty()) return;
    const ssize_t got = ::recv(connection.fd.get(), scratch_.data(), scratch_.size(), MSG_DONTWAIT);
    if (got < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) close(connection);
        return;
    }
    if (got == 0) {
        connection.peer_is_done = true;
        return;
    }
    connection.bytes_in += static_cast<std::uint64_t>(got);
    process(connection, {scratch_.data(), static_cast<std::size_t>(got)});
}

void Server::Loop::process(Connection& connection, std::string_view input) {
    const SteadyTime turn_end = std::chrono::steady_clock::now() + kTurn;
    if (!connection.reader.partial()) connection.record_since = now_;
    while (!input.empty()) {
        if (!may_go_on(connection)) break;
        const auto record = connection.reader.next(input);
        if (!record) {
            counters.malformed.fetch_add(1, std::memory_order_relaxed);
            return drop(connection, record.error().detail);
        }
        if (!*record) return;
        connection.record_since = now_;
        handle(connection, **record);
        if (!connection.fd.valid()) return;
        if (!input.empty() && std::chrono::steady_clock::now() > turn_end) break;
    }
    connection.unread.assign(input);
}

void Server::Loop::handle(Connection& connection, std::string_view record) {
    auto parsed = parse_call(record);
    if (auto* refusal = std::get_if<RpcRefusal>(&parsed)) {
        counters.malformed.fetch_add(1, std::memory_order_relaxed);
        ++connection.errors;
        connection.last_error = refusal->reason;
        if (refusal->reply.empty()) return drop(connection, refusal->reason);
        return connection.out.push({std::move(refusal->reply), {}, 0});
    }
    const RpcCall& call = std::get<RpcCall>(parsed);
    counters.requests.fetch_add(1, std::memory_order_relaxed);
    ++connection.requests;
    connection.last_request = now_;
    const Program* program = find_program(call.program);
    if (program == nullptr) {
        return connection.out.push({error_reply(call.xid, RPC2_PROG_UNAVAIL), {}, 0});
    }
    if (call.version != program->version) {
        return connection.out.push(
            {error_reply(call.xid, RPC2_PROG_MISMATCH, {program->version, program->version}),
             {},
             0});
    }
    serve(connection, call, program->call);
}

/// The same credential comes again and again.
const KnownCredential& Server::Loop::known(Connection& connection, const std::string& credential) {
    auto& all = connection.credentials;
    for (const KnownCredential& one : all) {
        if (one.credential == credential) return one;
    }
    if (all.size() >= kCredentialsKept) all.erase(all.begin());
    all.push_back(judge_credential(connection, credential));
    return all.back();
}

KnownCredential Server::Loop::judge_credential(Connection& connection,
                                               const std::string& credential) {
    KnownCredential made{credential, nullptr, RPC2_AUTH_TOOWEAK, {}};
    Claim claim;
    ByteWriter key;
    if (!credential.empty()) {
        auto claimed = parse_auth_sys(credential);
        if (!claimed) {
            made.refusal = RPC2_AUTH_BADCRED;
            return made;
        }
        claim.given = true;
        claim.uid = claimed->uid;
        claim.gid = claimed->gid;
        claim.gids = std::move(claimed->gids);
        claim.machine = std::move(claimed->machine);
        key.put(std::uint32_t{claim.uid});
        key.put(std::uint32_t{claim.gid});
        for (const gid_t gid : claim.gids) key.put(std::uint32_t{gid});
    }
    const Judgement judgement = judge(connection.peer, claim, options_.policy);
    if (judgement.beyond) {
        counters.beyond_proof.fetch_add(1, std::memory_order_relaxed);
        if (!std::exchange(connection.said_beyond, true) && refused_log_.allows(now_)) {
            log_->warn("{}: claims to be uid {}, gid {}, more than is proven: {}",
                       connection.describe(), claim.uid, claim.gid,
                       judgement.identity ? "squashed" : "refused");
        }
    }
    if (judgement.identity) made.as = std::make_shared<const ServedAs>(*judgement.identity);
    made.key_part = connection.client_key() + key.take();
    return made;
}

void Server::Loop::serve(Connection& connection, const RpcCall& call,
                         Answer (*program)(const AdapterPtr&, const Request&)) {
    Request request{call.xid, call.procedure, connection.id, connection.ip,
                    nobody(), call.arguments, &connection};
    const std::string* key_part = nullptr;
    if (call.procedure != 0) {  // NULL is for everybody
        const KnownCredential& credential = known(connection, call.credential);
        if (credential.as == nullptr) {
            ++connection.errors;
            connection.last_error = credential.refusal == RPC2_AUTH_TOOWEAK
                                        ? "claims more than is proven"
                                        : "a malformed credential";
            return connection.out.push({auth_error_reply(call.xid, credential.refusal), {}, 0});
        }
        request.as = credential.as;
        key_part = &credential.key_part;
    }
    const CallName name{call.program, call.procedure};
    Answer answer = program(adapter_, request);
    if (auto* done = std::get_if<Reply>(&answer)) {
        return reply(connection, std::move(*done), name);
    }
    if (auto* change = std::get_if<Change>(&answer)) {
        return begin_change(connection, call, *key_part, std::move(*change));
    }
    const bool bad = std::holds_alternative<BadArguments>(answer);
    if (bad) counters.bad_arguments.fetch_add(1, std::memory_order_relaxed);
    ++connection.errors;
    connection.last_error = (bad ? "bad arguments of " : "unknown procedure ") + name.text();
    connection.out.push(
        {error_reply(call.xid, bad ? RPC2_GARBAGE_ARGS : RPC2_PROC_UNAVAIL), {}, 0});
}

void Server::Loop::begin_change(Connection& connection, const RpcCall& call,
                                const std::string& key_part, Change change) {
    RequestKey key;
    if (change.remembered) {
        ByteWriter rest;
        for (const std::uint32_t word :
             {call.xid, call.program, call.version, call.procedure,
              static_cast<std::uint32_t>(call.arguments.size()), Crc32c::of(call.arguments)}) {
            rest.put(word);
        }
        key = key_part + rest.take();
        const ReplyCache::Begun begun = replies_.begin(key, now_);
        if (begun.found == ReplyCache::Found::InProgress) {
            counters.repeats_dropped.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        if (begun.found == ReplyCache::Found::Done) {
            counters.repeats_replayed.fetch_add(1, std::memory_order_relaxed);
            return connection.out.push({*begun.reply, {}, 0});
        }
    }
    if (pending_.size() >= options_.limits.all_calls_in_work ||
        pending_bytes_ > options_.limits.all_work_bytes) {
        // The outcome of so many is not known that nothing more is begun. That is known of this
        // one, so trying again does no harm, whatever it is.
        replies_.forget(key);
        counters.late.fetch_add(1, std::memory_order_relaxed);
        return reply(connection, {change.later(), {}, NFS3ERR_JUKEBOX},
                     {call.program, call.procedure});
    }
    const std::uint64_t ticket = next_ticket_++;
    Pending pending;
    pending.connection = connection.id;
    pending.key = key;
    pending.since = now_;
    pending.bytes = call.arguments.size();
    pending.name = {call.program, call.procedure};
    if (change.harmless_to_repeat) pending.later = std::move(change.later);
    ++connection.calls_in_work;
    connection.work_bytes += pending.bytes;
    pending_bytes_ += pending.bytes;
    pending_.emplace(ticket, std::move(pending));
    workers_->post([this, mailbox = mailbox_, ticket, key, run = std::move(change.run)] {
        run(key, [this, mailbox, ticket](Reply reply) {
            mailbox->post([this, ticket, reply = std::move(reply)]() mutable {
                on_answered(ticket, std::move(reply));
            });
        });
    });
}

void Server::Loop::on_answered(std::uint64_t ticket, Reply done) {
    const auto found = pending_.find(ticket);
    if (found == pending_.end()) return;
    const Pending pending = std::move(found->second);
    pending_.erase(found);
    pending_bytes_ -= pending.bytes;
    if (!pending.key.empty() && !pending.answered) {
        replies_.finish(pending.key, done.head + done.data, now_);
    }
    Connection* connection = find(pending.connection);
    if (connection == nullptr) return;
    --connection->calls_in_work;
    connection->work_bytes -= pending.bytes;
    if (!pending.answered) reply(*connection, std::move(done), pending.name);
    answered_.push_back(connection->id);
}

// --- What goes out ---

void Server::Loop::reply(Connection& connection, Reply done, CallName name) {
    // A name that is not there is an everyday answer.
    if (done.status != NFS3_OK && done.status != NFS3ERR_NOENT) {
        ++connection.errors;
        connection.last_error = std::string(nfs3_status_name(done.status)) + " in " + name.text();
    }
    connection.out.push(std::move(done));
}

void Server::Loop::flush(Connection& connection) {
    const std::size_t before = connection.out.bytes();
    if (before == 0) {
        connection.progress = now_;
        return;
    }
    const auto sent = connection.out.send(connection.fd.get());
    if (!sent) return close(connection);
    connection.bytes_out += before - connection.out.bytes();
    if (*sent) connection.progress = now_;
}

/// After anything has happened to a connection: sends, and decides what to wait for.
void Server::Loop::settle(Connection& connection) {
    if (!connection.fd.valid()) return;
    flush(connection);
    if (!connection.fd.valid()) return;
    if (connection.peer_is_done && connection.out.empty() && connection.calls_in_work == 0 &&
        connection.unread.empty()) {
        return close(connection);
    }
    const bool goes_on = may_go_on(connection);
    if (goes_on && !connection.unread.empty() && !std::exchange(connection.has_its_turn, true)) {
        ready_.push_back(connection.id);
    }
    std::uint32_t events = 0;
    if (goes_on && connection.unread.empty() && !connection.peer_is_done) events |= EPOLLIN;
    if (!connection.out.empty()) events |= EPOLLOUT;
    if (events != connection.events) {
        epoll_event event{};
        event.events = events;
        event.data.u64 = connection.id;
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event);
        connection.events = events;
    }
    charge(connection);
}

void Server::Loop::charge(Connection& connection) {
    const std::size_t now = connection.memory();
    all_bytes_ += now;
    all_bytes_ -= connection.charged;
    connection.charged = now;
    if (all_bytes_ > options_.limits.all_bytes) make_room();
}

/// Whoever holds most goes.
void Server::Loop::make_room() {
    const auto largest = std::max_element(
        connections_.begin(), connections_.end(),
        [](const auto& a, const auto& b) { return a.second->charged < b.second->charged; });
    if (largest != connections_.end()) drop(*largest->second, "all connections hold too much");
}

// --- Time ---

void Server::Loop::tick() {
    next_tick_ = now_ + kTick;
    adapter_->virtual_texts.drop_old(now_);
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
        Listener& listener = listeners_[i];
        if (listener.watched) continue;
        listener.watched = watch(listener.fd.get(), kFirstListenerId + i, EPOLLIN).has_value();
    }
    answer_late(now_);
    close_stalled(now_);
}

/// "Try again later" beats silence, where trying again does no harm. The outcome, when it comes,
/// has no caller any more.
void Server::Loop::answer_late(SteadyTime now) {
    for (auto& [ticket, pending] : pending_) {
        if (pending.answered || !pending.later || now - pending.since < options_.deadline) {
            continue;
        }
        pending.answered = true;
        counters.late.fetch_add(1, std::memory_order_relaxed);
        std::string later = pending.later();
        if (!pending.key.empty()) replies_.finish(pending.key, later, now);
        if (Connection* connection = find(pending.connection)) {
            reply(*connection, {std::move(later), {}, NFS3ERR_JUKEBOX}, pending.name);
            answered_.push_back(connection->id);
        }
    }
}

void Server::Loop::close_stalled(SteadyTime now) {
    const ServerLimits& limits = options_.limits;
    for (const auto& [id, connection] : connections_) {
        Connection& one = *connection;
        if (!one.fd.valid()) continue;
        if (one.waiting_for_groups && now - one.groups_from > kGroupsPatience) {
            on_groups(id, nullptr);
        }
        if (one.reader.partial() && one.unread.empty() && may_go_on(one) &&
            now - one.record_since > limits.record_time) {
            drop(one, "a record did not come to its end");
        } else if (!one.out.empty() && now - one.progress > limits.reply_time) {
            drop(one, "it does not take its replies");
        } else if (one.calls_in_work == 0 && one.out.empty() &&
                   now - one.last_request > limits.idle_time) {
            close(one);
        } else if (!one.waiting_for_groups && one.last_request > one.groups_from &&
                   now - one.groups_from > std::chrono::minutes(1)) {
            ask_for_groups(one);
        }
    }
}

Result<std::vector<ClientStatus>> Server::Loop::clients() {
    auto answer = std::make_shared<std::promise<std::vector<ClientStatus>>>();
    auto future = answer->get_future();
    mailbox_->post([this, answer] {
        std::vector<ClientStatus> all;
        all.reserve(connections_.size());
        for (const auto& [id, connection] : connections_) {
            if (connection->fd.valid()) all.push_back(connection->status(now_));
        }
        answer->set_value(std::move(all));
    });
    if (future.wait_for(kClientsPatience) != std::future_status::ready) {
        return fail(Errno::TimedOut, "the NFS server does not answer");
    }
    return future.get();
}

}  // namespace cfsgate::gateway::nfs
