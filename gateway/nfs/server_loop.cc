// SPDX-License-Identifier: Apache-2.0
// Start and end, connections, time; server_requests.cc has what goes over them.
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

}  // namespace

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
