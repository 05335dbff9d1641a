// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/control_server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace cfsgate::gateway::daemon {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

Result<sockaddr_un> to_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        return fail(Errno::NameTooLong,
                    path + ": too long for a socket; choose another (--control)");
    }
    std::memcpy(&address.sun_path[0], path.data(), path.size());
    return address;
}

const sockaddr* generic(const sockaddr_un& address) {
    return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

UniqueFd new_socket() {
    return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/// Removes the socket of a daemon that has ended, and nothing else.
Status remove_stale(const std::string& path, const sockaddr_un& address) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        return errno == ENOENT ? Status{} : fail_posix(errno, path + ": stat");
    }
    if (!S_ISSOCK(status.st_mode)) {
        return fail(Errno::Exists, path +
                                       ": in the way of the control socket, and no socket; "
                                       "remove it, or use another --control");
    }
    const UniqueFd probe = new_socket();
    if (!probe.valid()) return fail_posix(errno, path + ": socket");
    if (::connect(probe.get(), generic(address), sizeof(address)) == 0 || errno == EAGAIN) {
        return fail(Errno::Busy,
                    path + ": another daemon answers there; stop it, or use another --control");
    }
    if (errno == ECONNREFUSED && ::unlink(path.c_str()) != 0) {
        return fail_posix(errno, path + ": remove the old socket");
    }
    return {};
}

Result<UniqueFd> listen_on(const std::string& path) {
    constexpr int kBacklog = 64;
    const sockaddr_un address = CFSGATE_TRY(to_address(path));
    CFSGATE_TRY(remove_stale(path, address));
    UniqueFd socket = new_socket();
    if (!socket.valid()) return fail_posix(errno, path + ": socket");
    if (::bind(socket.get(), generic(address), sizeof(address)) != 0) {
        return fail_posix(errno, path + ": bind");
    }
    // Nobody can connect before listen(), so the mode is right from the start.
    if (::chmod(path.c_str(), 0600) != 0) return fail_posix(errno, path + ": chmod");
    if (::listen(socket.get(), kBacklog) != 0) return fail_posix(errno, path + ": listen");
    return socket;
}

bool is_root(const UniqueFd& socket) {
    ucred peer{};
    socklen_t size = sizeof(peer);
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
    return peer.uid == 0;
}

enum class Wait { Ready, TimedOut, Stopped };

/// Waits for `events` on the socket, the deadline or the end of the server.
Wait wait_for(const UniqueFd& socket, short events, const UniqueFd& stop,
              Clock::time_point deadline) {
    std::array<pollfd, 2> entries{{{stop.get(), POLLIN, 0}, {socket.get(), events, 0}}};
    while (true) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        const auto time = std::max<std::chrono::milliseconds::rep>(left.count(), 0);
        const int ready = ::poll(entries.data(), entries.size(), static_cast<int>(time));
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return Wait::TimedOut;
        return entries[0].revents != 0 ? Wait::Stopped : Wait::Ready;
    }
}

}  // namespace

std::string make_response(const Result<json>& result) {
    json response;
    if (result) {
        response = *result;
        response["ok"] = true;
    } else {
        response = {{"ok", false},
                    {"code", std::string(to_string(result.error().code))},
                    {"error", result.error().detail}};
    }
    // Names come from the tree and may be no UTF-8.
    return response.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string answer_line(std::string_view line, const ControlHandler& handler,
                        const std::stop_token& stop, ControlCounters& counters) {
    const json request = json::parse(line.begin(), line.end(), nullptr, false);
    if (!request.is_object() || !request.contains("command") || !request["command"].is_string()) {
        ++counters.bad_requests;
        return make_response(
            fail(Errno::BadMessage, "a request is one JSON object with a text \"command\""));
    }
    ++counters.requests;
    return make_response(handler(request, stop));
}

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& path,
                                                            ControlHandler handler,
                                                            const ControlLimits& limits,
                                                            ControlCounters& counters, Logger log) {
    UniqueFd listener = CFSGATE_TRY(listen_on(path));
    UniqueFd stop_event(::eventfd(0, EFD_CLOEXEC));
    if (!stop_event.valid()) return fail_posix(errno, "eventfd");
    return std::unique_ptr<ControlServer>(
        new ControlServer(path, std::move(handler), limits, counters, std::move(log),
                          std::move(listener), std::move(stop_event)));
}

ControlServer::ControlServer(std::string path, ControlHandler handler, const ControlLimits& limits,
                             ControlCounters& counters, Logger log, UniqueFd listener,
                             UniqueFd stop_event)
    : path_(std::move(path)),
      handler_(std::move(handler)),
      limits_(limits),
      log_(std::move(log)),
      listener_(std::move(listener)),
      stop_event_(std::move(stop_event)),
      counters_(counters),
      thread_([this] { run(); }) {
    ::pthread_setname_np(thread_.native_handle(), "control");
}

ControlServer::~ControlServer() {
    ::unlink(path_.c_str());
    stop_.request_stop();
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_event_.get(), &one, sizeof(one));
    thread_.join();
    for (Connection& connection : connections_) connection.thread.join();
}

void ControlServer::run() {
    constexpr std::chrono::hours kLong{24};
    while (true) {
        const Wait wait = wait_for(listener_, POLLIN, stop_event_, Clock::now() + kLong);
        if (wait == Wait::Stopped) return;
        if (wait == Wait::Ready) accept_one();
    }
}

void ControlServer::reap() {
    std::erase_if(connections_, [](Connection& connection) {
        if (!connection.done) return false;
        connection.thread.join();
        return true;
    });
}

void ControlServer::accept_one() {
    constexpr std::chrono::milliseconds kWithoutDescriptors{200};
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
        log_->warn("{}: cannot take a connection: {}", path_,
                   std::generic_category().message(errno));
        wait_for(UniqueFd(), 0, stop_event_, Clock::now() + kWithoutDescriptors);
        return;
    }
    reap();
    if (!is_root(socket)) {
        ++counters_.refused;
        send(socket, make_response(fail(Errno::NoAccess, "only root may ask")));
        return;
    }
    if (connections_.size() >= limits_.connections_max) {
        ++counters_.refused;
        send(socket, make_response(fail(Errno::Busy, "too many connections; try again")));
        return;
    }
    ++counters_.connections;
    Connection& connection = connections_.emplace_back();
    connection.socket = std::move(socket);
    connection.thread = std::thread([this, &connection] {
        serve(connection);
        connection.socket.reset();  // now, not when the next connection makes us look
        connection.done = true;
    });
}

/// False when there is no further request: the peer has closed, was too slow or sent too much.
bool ControlServer::read_line(const UniqueFd& socket, std::string& buffer, std::string& line) {
    std::array<char, 16384> piece{};
    std::size_t searched = 0;
    auto deadline = Clock::now() + (buffer.empty() ? limits_.idle_time : limits_.request_time);
    while (true) {
        const std::size_t end = buffer.find('\n', searched);
        if (end != std::string::npos) {
            line = buffer.substr(0, end);
            buffer.erase(0, end + 1);
            return true;
        }
        searched = buffer.size();
        if (buffer.size() > limits_.request_bytes_max) {
            ++counters_.bad_requests;
            send(socket, make_response(fail(Errno::BadMessage, "the request is too long")));
            return false;
        }
        const Wait wait = wait_for(socket, POLLIN, stop_event_, deadline);
        const ssize_t count =
            wait == Wait::Ready ? ::recv(socket.get(), piece.data(), piece.size(), 0) : 0;
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (count <= 0) {
            if (!buffer.empty()) ++counters_.bad_requests;
            return false;
        }
        if (buffer.empty()) deadline = Clock::now() + limits_.request_time;
        buffer.append(piece.data(), static_cast<std::size_t>(count));
    }
}

void ControlServer::serve(const Connection& connection) {
    ::pthread_setname_np(::pthread_self(), "control peer");
    std::string buffer;
    std::string line;
    bool open = true;
    while (open && read_line(connection.socket, buffer, line)) {
        open = send(connection.socket, answer_line(line, handler_, stop_.get_token(), counters_));
    }
}

/// False when the peer has gone or does not read.
bool ControlServer::send(const UniqueFd& socket, std::string_view text) const {
    const auto deadline = Clock::now() + limits_.response_time;
    while (!text.empty()) {
        const ssize_t count = ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
        if (count > 0) {
            text.remove_prefix(static_cast<std::size_t>(count));
        } else if (errno != EAGAIN && errno != EINTR) {
            return false;
        } else if (wait_for(socket, POLLOUT, stop_event_, deadline) != Wait::Ready) {
            return false;
        }
    }
    return true;
}

}  // namespace cfsgate::gateway::daemon
