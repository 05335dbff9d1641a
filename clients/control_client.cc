// SPDX-License-Identifier: Apache-2.0
#include "clients/control_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "store/base/unique_fd.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

constexpr std::size_t kResponseBytesMax = 256UL << 20;

Result<UniqueFd> connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) return fail(Errno::NameTooLong, path);
    std::memcpy(&address.sun_path[0], path.data(), path.size());
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return fail_posix(errno, "socket");
    const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
    if (::connect(socket.get(), generic, sizeof(address)) != 0) return fail_posix(errno, path);
    return socket;
}

Status send_all(const UniqueFd& socket, std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        // The daemon may have refused and closed; its answer is still to be read.
        if (count < 0 && errno == EPIPE) return {};
        if (count < 0) return fail_posix(errno, "send");
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
}

Result<std::string> receive_line(const UniqueFd& socket) {
    std::string line;
    std::array<char, 65536> piece{};
    while (line.size() < kResponseBytesMax) {
        const ssize_t count = ::recv(socket.get(), piece.data(), piece.size(), 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_posix(errno, "receive");
        if (count == 0) return fail(Errno::InputOutput, "the daemon closed without an answer");
        line.append(piece.data(), static_cast<std::size_t>(count));
        if (line.back() == '\n') return line;
    }
    return fail(Errno::BadMessage, "the answer is too long");
}

Result<std::string> exchange(const UniqueFd& socket, const json& request) {
    CFSGATE_TRY(
        send_all(socket, request.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"));
    return receive_line(socket);
}

Answer failed(ExitCode code, std::string text) { return {{}, {code, std::move(text)}}; }

}  // namespace

Answer ask(const std::string& control, const json& request) {
    const auto socket = connect_to(control);
    if (!socket) {
        return failed(kNotReachable, "no daemon answers on " + control + " (" +
                                         socket.error().detail +
                                         "); is cfsgated running, and are you root?");
    }
    const auto line = exchange(*socket, request);
    if (!line) return failed(kNotReachable, control + ": " + line.error().detail);
    json response = json::parse(*line, nullptr, false);
    if (!response.is_object()) return failed(kNotReachable, control + ": the answer is no JSON");
    if (response.value("ok", false)) return {std::move(response), {}};
    return failed(kFailed, response.value("error", "") + " (" + response.value("code", "") + ")");
}

int report(const AskError& error) {
    std::fprintf(stderr, "cfsgate: %s\n", error.text.c_str());
    return error.code;
}

std::optional<json> ask_and_report(const Arguments& arguments, const json& request, int& code) {
    auto answer = ask(arguments.control, request);
    if (!answer.response) {
        code = report(answer.error);
        return {};
    }
    code = kOk;
    if (arguments.json) std::printf("%s\n", answer.response->dump(2).c_str());
    return std::move(answer.response);
}

}  // namespace cfsgate::clients
