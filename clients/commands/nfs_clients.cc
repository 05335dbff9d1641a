// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <vector>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/listing.h"
#include "clients/table.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

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

TableRow to_row(const json& client) {
    return {client_name(client),           owner_of(client),
            text_of(client, "speaks_for"), since_of(client),
            text_of(client, "requests"),   text_of(client, "errors"),
            text_of(client, "bytes_in"),   text_of(client, "bytes_out"),
            text_of(client, "last_error")};
}

}  // namespace

int run_nfs_clients(const Arguments& arguments) {
    int code = kOk;
    const auto response = ask_and_report(arguments, {{"command", "nfs-clients"}}, code);
    if (!response || arguments.json) return code;
    std::vector<TableRow> rows{{"CLIENT", "OWNER", "SPEAKS FOR", "SINCE", "REQUESTS", "ERRORS",
                                "BYTES IN", "BYTES OUT", "LAST ERROR"}};
    for (const json& client : response->value("clients", json::array())) {
        if (client.is_object()) rows.push_back(to_row(client));
    }
    print_lines(table_lines(rows));
    return code;
}

}  // namespace cfsgate::clients
