// SPDX-License-Identifier: Apache-2.0
// The event loop of Server: everything in it belongs to its own thread.
#pragma once

#include <future>
#include <thread>
#include <unordered_map>

#include "gateway/nfs/change_workers.h"
#include "gateway/nfs/connection.h"
#include "gateway/nfs/doorman.h"
#include "gateway/nfs/reply_cache.h"
#include "gateway/nfs/server.h"
#include "gateway/nfs/user_groups.h"
#include "store/base/mailbox.h"

namespace cfsgate::gateway::nfs {

/// Lets a message through every ten seconds.
class LogLimit {
public:
    bool allows(SteadyTime now) {
        if (now < next_) return false;
        next_ = now + std::chrono::seconds(10);
        return true;
    }

private:
    SteadyTime next_{};
};

class Server::Loop {
public:
    Loop(FileSystem& files, ServerOptions options, Logger log);
    ~Loop();

    Status start();
    void stop();

    std::vector<SocketAddress> addresses;
    ServerCounters counters;
    Result<std::vector<ClientStatus>> clients();

private:
    struct CallName {
        std::uint32_t program = 0;
        std::uint32_t procedure = 0;
        std::string text() const;
    };
    struct Listener {
        UniqueFd fd;
        SocketAddress address;
        bool watched = false;
    };
    /// A change that is not answered.
    struct Pending {
        std::uint64_t connection = 0;
        RequestKey key;  ///< empty: not remembered
        SteadyTime since;
        std::size_t bytes = 0;
        CallName name;
        std::function<std::string()> later;  ///< empty: there is no answer but the outcome
        bool answered = false;               ///< "try again later"
    };

    Status listen(const SocketAddress& address);
    Status watch(int descriptor, std::uint64_t id, std::uint32_t events);
    void listen_for_datagrams();
    void answer_datagrams(int descriptor);
    void restore_replies();

    void run();
    int wait_milliseconds(SteadyTime now) const;
    void on_event(std::uint64_t id, std::uint32_t events);

    // --- Connections ---
    void accept_from(Listener& listener);
    void admit(UniqueFd socket, const SocketAddress& from, const SocketAddress& local);
    bool has_room_for(const Peer& peer) const;
    void ask_for_groups(Connection& connection);
    void on_groups(std::uint64_t id, const GroupsPtr& groups);
    Connection* find(std::uint64_t id);
    void drop(Connection& connection, const std::string& why);
    void close(Connection& connection);

    // --- What comes in ---
    bool may_go_on(const Connection& connection) const;
    void receive(Connection& connection);
    void process(Connection& connection, std::string_view input);
    void handle(Connection& connection, std::string_view record);
    void serve(Connection& connection, const RpcCall& call,
               Answer (*program)(const AdapterPtr&, const Request&));
    const KnownCredential& known(Connection& connection, const std::string& credential);
    KnownCredential judge_credential(Connection& connection, const std::string& credential);
    void begin_change(Connection& connection, const RpcCall& call, const std::string& key_part,
                      Change change);
    void on_answered(std::uint64_t ticket, Reply reply);

    // --- What goes out ---
    void reply(Connection& connection, Reply reply, CallName name);
    void flush(Connection& connection);
    void settle(Connection& connection);
    void charge(Connection& connection);
    void make_room();

    void tick();
    void answer_late(SteadyTime now);
    void close_stalled(SteadyTime now);

    FileSystem& files_;
    ServerOptions options_;
    Logger log_;
    AdapterPtr adapter_;
    std::optional<Doorman> doorman_;
    UniqueFd epoll_;
    std::shared_ptr<Mailbox> mailbox_;
    std::vector<Listener> listeners_;
    std::vector<UniqueFd> datagrams_;
    std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
    std::vector<std::uint64_t> closed_;  ///< to be erased at the end of the round
    std::vector<std::uint64_t> ready_;   ///< have something to process that epoll does not know of
    std::vector<std::uint64_t> answered_;
    std::unordered_map<std::uint64_t, Pending> pending_;
    ReplyCache replies_;
    std::uint64_t next_id_;
    std::uint64_t next_ticket_ = 1;
    std::size_t all_bytes_ = 0;
    std::size_t pending_bytes_ = 0;  ///< of all changes that are not answered
    std::vector<char> scratch_;
    SteadyTime next_tick_{};
    SteadyTime now_{};
    LogLimit refused_log_;
    LogLimit dropped_log_;
    LogLimit accept_log_;
    bool stopping_ = false;
    std::unique_ptr<UserGroups> groups_;
    std::unique_ptr<ChangeWorkers> workers_;
    std::thread thread_;
};

}  // namespace cfsgate::gateway::nfs
