// SPDX-License-Identifier: Apache-2.0
// The control socket: any bytes to a real one, with every command behind it, over a small store. A
// request gets one line of JSON, and the store stays a store.
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "gateway/daemon/control_commands.h"
#include "gateway/daemon/control_server.h"
#include "gateway/daemon/nfs_service.h"
#include "gateway/daemon/purge_worker.h"
#include "store/checker.h"
#include "tests/fuzz/expect.h"
#include "tests/fuzz/small_tree.h"

namespace {

using namespace cfsgate;
using cfsgate::fuzz::expect;
using nlohmann::json;
namespace daemon_part = gateway::daemon;

class Socket {
public:
    Socket() : file_(folder_.file("control")), out_(folder_.file("out")) {
        std::filesystem::create_directory(out_);
        daemon_part::ControlLimits limits;
        limits.request_bytes_max = 2000;
        auto handler = [this](const json& request, const std::stop_token& stop) {
            return commands_->run(confined(request), stop);
        };
        server_ = test::take(daemon_part::ControlServer::start(file_, std::move(handler), limits,
                                                               counters_, null_logger()));
    }
    ~Socket() { server_.reset(); }

    void run(std::string_view input) {
        tree_.reset();
        daemon_part::NfsOptions off;
        off.on = false;
        const daemon_part::NfsService nfs(tree_.files(), off, std::chrono::seconds(5),
                                          null_logger());
        daemon_part::PurgeWorker purges(tree_.store(), null_logger());
        const auto status = [](bool) -> Result<json> {
            return json{{"node", "node1"}, {"mount", {{"point", "/nowhere"}}}};
        };
        commands_ = std::make_unique<daemon_part::ControlCommands>(
            tree_.store(), tree_.files(), tree_.directory(), std::chrono::seconds(5), status, nfs,
            purges, nullptr);
        check(input, exchange(input));
        commands_.reset();
        const auto view = test::take(tree_.store().read());
        const auto report = store::check_tree(*view);
        expect(report && report->findings.empty(), "the tree stays well");
        for (const auto& entry : std::filesystem::directory_iterator(out_)) {
            std::filesystem::remove_all(entry.path());
        }
    }

private:
    /// Files are written to a directory of ours only.
    json confined(json request) const {
        for (const char* key : {"file", "temporary"}) {
            if (!request.contains(key) || !request[key].is_string()) continue;
            const auto path = request[key].get<std::string>();
            if (!path.starts_with('/')) continue;
            std::string name = path.substr(path.rfind('/') + 1, 40);
            if (name == "." || name == "..") name = "x";
            request[key] = out_ + "/" + name;
        }
        return request;
    }

    std::string exchange(std::string_view input) const {
        const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(&address.sun_path[0], file_.data(), file_.size());
        const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
        expect(::connect(socket.get(), generic, sizeof(address)) == 0, "the socket answers");
        const timeval limit{20, 0};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        while (!input.empty()) {
            const ssize_t count = ::send(socket.get(), input.data(), input.size(), MSG_NOSIGNAL);
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0) break;  // too much for the server, which has closed
            input.remove_prefix(static_cast<std::size_t>(count));
        }
        ::shutdown(socket.get(), SHUT_WR);
        std::string answer;
        char piece[4096];
        for (;;) {
            const ssize_t count = ::recv(socket.get(), &piece[0], sizeof(piece), 0);
            if (count < 0 && errno == EINTR) continue;  // libFuzzer's own clock
            if (count < 0 && errno == ECONNRESET) return answer;
            expect(count >= 0, "the answer comes in time");
            if (count == 0) return answer;
            answer.append(&piece[0], static_cast<std::size_t>(count));
        }
    }

    static void check(std::string_view input, std::string_view answer) {
        const auto requests = std::count(input.begin(), input.end(), '\n');
        long answers = 0;
        while (!answer.empty()) {
            const std::size_t end = answer.find('\n');
            if (end == std::string_view::npos) return;  // reset in the middle
            const json line = json::parse(answer.substr(0, end), nullptr, false);
            expect(line.is_object() && line.contains("ok") && line["ok"].is_boolean(),
                   "an answer is an object with ok");
            expect(line["ok"].get<bool>() || line.contains("code"), "a refusal has a code");
            answer.remove_prefix(end + 1);
            ++answers;
        }
        // One more says that there was too much.
        expect(answers <= requests + 1, "one answer for a request");
    }

    fuzz::SmallTree tree_;
    test::TempDirectory folder_;
    std::string file_;
    std::string out_;
    std::unique_ptr<daemon_part::ControlCommands> commands_;
    daemon_part::ControlCounters counters_;
    std::unique_ptr<daemon_part::ControlServer> server_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Socket socket;
    socket.run({reinterpret_cast<const char*>(data), size});
    return 0;
}
