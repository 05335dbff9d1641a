// SPDX-License-Identifier: Apache-2.0
// A client of a server in this process. Its bytes are made by hand, so that no codec is checked
// against itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/nfs/socket_address.h"
#include "store/base/unique_fd.h"
#include "tests/unit/gateway/nfs/xdr_words.h"

namespace cfsgate::test {

/// What a client says of its caller.
struct Credential {
    bool given = true;  ///< else AUTH_NONE
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::vector<std::uint32_t> gids;
};
inline Credential nobody() { return {false, 0, 0, {}}; }
std::string encode_credential(const Credential& credential);

inline constexpr std::uint32_t kNfs = 100003;
inline constexpr std::uint32_t kMount = 100005;

struct Call {
    std::uint32_t xid = 0;
    std::uint32_t program = kNfs;
    std::uint32_t version = 3;
    std::uint32_t procedure = 0;
    Credential as;
    std::string arguments;
};
std::string encode_call(const Call& call);
/// One fragment.
std::string as_record(const std::string& bytes);

/// What connects from the first port that is free, from `port` on: 512 to 1023 need root.
class NfsClient {
public:
    explicit NfsClient(const gateway::nfs::SocketAddress& server, std::uint16_t port = 600);

    std::uint16_t port() const { return port_; }
    /// Ends the connection at once, so that the port can be used again.
    void close() { socket_.reset(); }

    void send_bytes(const std::string& bytes);
    void send(const Call& call) { send_bytes(as_record(encode_call(call))); }
    /// The next record; none if the server closes the connection or is silent for so long.
    std::optional<std::string> receive(
        std::chrono::milliseconds patience = std::chrono::seconds(10));
    /// The whole reply.
    std::string ask(const Call& call);
    /// Whether the server closes the connection before it says anything.
    bool is_closed();

private:
    std::optional<std::string> take(std::size_t count, std::chrono::steady_clock::time_point until);

    UniqueFd socket_;
    std::uint16_t port_ = 0;
    bool ended_ = false;
    std::string received_;
};

/// The attributes of SETATTR and CREATE.
struct Wanted {
    std::optional<std::uint32_t> mode = {};
    std::optional<std::uint32_t> uid = {};
    std::optional<std::uint32_t> gid = {};
    std::optional<std::uint64_t> size = {};
    std::optional<std::uint32_t> mtime = {};
    bool mtime_is_now = false;
};
std::string encode(const Wanted& wanted);

inline std::string word64(std::uint64_t value) {
    return words({static_cast<std::uint32_t>(value >> 32), static_cast<std::uint32_t>(value)});
}
/// A directory's handle and a name.
inline std::string where(const std::string& handle, std::string_view name) {
    return opaque(handle) + opaque(name);
}

}  // namespace cfsgate::test
