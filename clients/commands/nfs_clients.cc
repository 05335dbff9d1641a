// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/listing.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

constexpr std::size_t kColumns = 9;
using Row = std::array<std::string, kColumns>;

/// An answer that is not as agreed shows as "-" and does not end the program.
std::string text_of(const json& client, const char* key) {
    const auto found = client.find(key);
    if (found == client.end() || found->is_null()) return "-";
    const std::string text = found->is_string() ? found->get<std::string>() : found->dump();
    return text.empty() ? "-" : text;
}

std::string owner_of(const json& client) {
    const auto found = client.find("owner");
    if (found == client.end() || !found->is_number_unsigned()) return "-";
    return user_text(found->get<std::uint32_t>());
}

std::string since_of(const json& client) {
    const auto found = client.find("since");
    if (found == client.end() || !found->is_number_integer()) return "-";
    return time_text(found->get<std::time_t>());
}

std::string client_name(const json& client) {
    const std::string address = text_of(client, "address");
    const bool v6 = address.find(':') != std::string::npos;
    return (v6 ? "[" + address + "]" : address) + ":" + text_of(client, "port");
}

Row to_row(const json& client) {
    return {client_name(client),           owner_of(client),
            text_of(client, "speaks_for"), since_of(client),
            text_of(client, "requests"),   text_of(client, "errors"),
            text_of(client, "bytes_in"),   text_of(client, "bytes_out"),
            text_of(client, "last_error")};
}

void print_table(const std::vector<Row>& rows) {
    std::array<std::size_t, kColumns> widths{};
    for (const Row& row : rows) {
        for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    for (const Row& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < kColumns; ++i) {
            line += row[i];
            if (i + 1 < kColumns) line.append(widths[i] - row[i].size() + 2, ' ');
        }
        std::printf("%s\n", line.c_str());
    }
}

}  // namespace

int run_nfs_clients(const Arguments& arguments) {
    int code = kOk;
    const auto response = ask_and_report(arguments, {{"command", "nfs-clients"}}, code);
    if (!response || arguments.json) return code;
    std::vector<Row> rows{{"CLIENT", "OWNER", "SPEAKS FOR", "SINCE", "REQUESTS", "ERRORS",
                           "BYTES IN", "BYTES OUT", "LAST ERROR"}};
    for (const json& client : response->value("clients", json::array())) {
        if (client.is_object()) rows.push_back(to_row(client));
    }
    print_table(rows);
    return code;
}

}  // namespace cfsgate::clients
