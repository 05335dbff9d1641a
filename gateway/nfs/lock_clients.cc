// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/lock_clients.h"

#include <algorithm>
#include <sstream>

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::string_view kTitle = "cfsgate-lock-clients 1";
constexpr std::size_t kNameBytesMax = 255;

Result<LockClient> parse_client(std::istringstream& words) {
    LockClient client;
    std::string address;
    std::string server;
    if (!(words >> address >> server >> client.mark >> client.name)) {
        return fail(Errno::BadMessage, "a client's line is too short");
    }
    client.address = CFSGATE_TRY(IpAddress::parse(address));
    client.server = CFSGATE_TRY(IpAddress::parse(server));
    return client;
}

}  // namespace

std::string LockClient::account() const { return address.to_string() + " " + mark; }

std::string LockClient::key() const { return account() + " " + name; }

bool is_plain_name(std::string_view name) {
    return !name.empty() && name.size() <= kNameBytesMax &&
           std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

std::string format_lock_clients(const LockClientList& list) {
    std::ostringstream out;
    out << kTitle << "\nstate " << list.state << "\n";
    for (const auto& [key, client] : list.clients) {
        out << "client " << client.address.to_string() << " " << client.server.to_string() << " "
            << client.mark << " " << client.name << "\n";
    }
    return out.str();
}

Result<LockClientList> parse_lock_clients(std::string_view text) {
    LockClientList list;
    std::istringstream lines{std::string(text)};
    std::string line;
    if (!std::getline(lines, line) || line != kTitle) {
        return fail(Errno::BadMessage, "no list of lock clients");
    }
    bool has_state = false;
    while (std::getline(lines, line)) {
        std::istringstream words(line);
        std::string kind;
        words >> kind;
        if (kind == "state") {
            has_state = static_cast<bool>(words >> list.state);
        } else if (kind == "client") {
            LockClient client = CFSGATE_TRY(parse_client(words));
            list.clients.emplace(client.key(), std::move(client));
        } else {
            return fail(Errno::BadMessage, "an unknown line: " + kind);
        }
    }
    if (!has_state) return fail(Errno::BadMessage, "a list without a state");
    return list;
}

}  // namespace cfsgate::gateway::nfs
