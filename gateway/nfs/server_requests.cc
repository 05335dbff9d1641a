// SPDX-License-Identifier: Apache-2.0
// What comes in and what goes out.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "gateway/nfs/lock_manager.h"
#include "gateway/nfs/server_loop.h"
#include "store/base/bytes.h"
#include "store/base/crc32c.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::size_t kCredentialsKept = 8;
/// After it another connection has its turn.
constexpr std::chrono::milliseconds kTurn{2};

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
        if (!change.later) return;
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

}  // namespace cfsgate::gateway::nfs
