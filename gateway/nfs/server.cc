// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/server.h"

#include "gateway/nfs/server_loop.h"

namespace cfsgate::gateway::nfs {

Server::Server(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(FileSystem& files, ServerOptions options,
                                              Logger log) {
    auto loop = std::make_unique<Loop>(files, std::move(options), std::move(log));
    CFSGATE_TRY(loop->start());
    return std::unique_ptr<Server>(new Server(std::move(loop)));
}

void Server::stop() { loop_->stop(); }
std::vector<SocketAddress> Server::addresses() const { return loop_->addresses; }
const ServerCounters& Server::counters() const { return loop_->counters; }
Result<std::vector<ClientStatus>> Server::clients() const { return loop_->clients(); }

}  // namespace cfsgate::gateway::nfs
