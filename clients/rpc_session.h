// SPDX-License-Identifier: Apache-2.0
// One TCP connection to an RPC server through libnfs, and waiting on it with a deadline.
#pragma once

#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "clients/libnfs.h"
#include "store/base/result.h"

namespace cfsgate::clients {

struct RpcServer {
    std::string host = "127.0.0.1";
    int port = 2049;
    int timeout_seconds = 30;  ///< without a byte from or to the server
};

/// Calls as the effective user, with all its groups that AUTH_SYS has room for. Root calls from a
/// port below 1024, as far as one is free.
///
/// Errors: TimedOut; Interrupted; NoAccess where the server refuses the credentials; InputOutput
/// for any other failure of the connection; of connect() also Invalid for a host without an
/// address. After TimedOut and InputOutput every further call fails, and whether the call was
/// performed is not known. The detail names the server.
class RpcSession {
public:
    /// Tries the addresses of the host in turn; then a NULL call of this program.
    static Result<std::unique_ptr<RpcSession>> connect(const RpcServer& server,
                                                       std::uint32_t program,
                                                       std::uint32_t version);
    RpcSession(const RpcSession&) = delete;
    RpcSession& operator=(const RpcSession&) = delete;
    ~RpcSession();

    rpc_context* context() const { return context_; }
    bool usable() const { return usable_; }

    /// Begins a call that will report to the callback; 0 if it could.
    using Start = std::function<int(rpc_cb callback, void* private_data)>;
    /// Sees the decoded reply, which is gone afterwards.
    using Take = std::function<void(void* reply)>;
    Status exchange(const Start& start, const Take& take);

    /// A pause, as exchange() interrupted.
    Status pause(int milliseconds);

    /// Calls end early once *flag is set: at once between calls, after some seconds inside one, so
    /// that it is known what was done. Null: never.
    void end_when(const volatile std::sig_atomic_t* flag) { interrupted_ = flag; }
    /// Called a few times a second while waiting.
    void set_tick(std::function<void()> tick) { tick_ = std::move(tick); }

private:
    struct Reply {
        const Take* take = nullptr;
        bool done = false;
        int status = 0;
        std::string text;
    };

    explicit RpcSession(const RpcServer& server);
    Status connect_to(const std::string& address, std::uint32_t program, std::uint32_t version);
    Status wait();
    Status serve(int events);
    Status outcome() const;
    tl::unexpected<Error> broken(Errno code, const std::string& why);
    std::string server_text() const;
    bool interrupted() const { return interrupted_ != nullptr && *interrupted_ != 0; }
    static void on_reply(rpc_context* context, int status, void* data, void* private_data) noexcept;

    RpcServer server_;
    rpc_context* context_ = nullptr;
    Reply reply_;  // outlives the context: destroying that one reports what is still open
    bool usable_ = true;
    const volatile std::sig_atomic_t* interrupted_ = nullptr;
    std::function<void()> tick_;
};

}  // namespace cfsgate::clients
