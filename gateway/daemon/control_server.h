// SPDX-License-Identifier: Apache-2.0
// The socket for the command `cfsgate`: one JSON object per line, request and response in turn.
// docs/command.md describes the requests.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "store/base/log.h"
#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace cfsgate::gateway::daemon {

/// Performs a request; runs on the connection's thread and may wait, but not beyond `stop`.
using ControlHandler =
    std::function<Result<nlohmann::json>(const nlohmann::json& request, std::stop_token stop)>;

struct ControlLimits {
    std::size_t request_bytes_max = 8UL << 20;  ///< a put carries 1 MiB in base64
    std::size_t connections_max = 64;
    std::chrono::milliseconds request_time{10000};   ///< for a request once its first byte came
    std::chrono::milliseconds idle_time{60000};      ///< between requests
    std::chrono::milliseconds response_time{10000};  ///< for the peer to take a response
};

struct ControlCounters {
    std::atomic<std::uint64_t> connections{0};
    std::atomic<std::uint64_t> refused{0};  ///< not root, or one too many
    std::atomic<std::uint64_t> requests{0};
    std::atomic<std::uint64_t> bad_requests{0};  ///< no JSON object, too long, or cut off
};

/// {"ok":true,...} or {"ok":false,"code":"NotFound","error":"..."}, as one line with its LF.
std::string make_response(const Result<nlohmann::json>& result);

/// Parses one line and hands it to the handler; the response, or why the line is no request.
std::string answer_line(std::string_view line, const ControlHandler& handler,
                        const std::stop_token& stop, ControlCounters& counters);

class ControlServer {
public:
    /// Borrows the counters. Listens on `path` (0600); a socket that nobody serves any more is replaced. Errors: Busy
    /// where another daemon answers there, NameTooLong, what the system says.
    static Result<std::unique_ptr<ControlServer>> start(const std::string& path,
                                                        ControlHandler handler,
                                                        const ControlLimits& limits,
                                                        ControlCounters& counters, Logger log);
    /// Stops listening, tells running requests to stop and waits for them; removes the socket.
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

private:
    struct Connection {
        UniqueFd socket;
        std::atomic<bool> done{false};
        std::thread thread;
    };

    ControlServer(std::string path, ControlHandler handler, const ControlLimits& limits,
                  ControlCounters& counters, Logger log, UniqueFd listener, UniqueFd stop_event);
    void run();
    void accept_one();
    void reap();
    void serve(const Connection& connection);
    bool read_line(const UniqueFd& socket, std::string& buffer, std::string& line);
    bool send(const UniqueFd& socket, std::string_view text) const;

    std::string path_;
    ControlHandler handler_;
    ControlLimits limits_;
    Logger log_;
    UniqueFd listener_;
    UniqueFd stop_event_;  // readable once the end was asked for
    std::stop_source stop_;
    ControlCounters& counters_;
    std::list<Connection> connections_;  // of thread_ alone
    std::thread thread_;
};

}  // namespace cfsgate::gateway::daemon
