// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <ctime>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/json_fields.h"
#include "clients/listing.h"
#include "clients/table.h"

namespace cfsgate::clients {

using nlohmann::json;

int run_snapshot(const Arguments& arguments) {
    int code = kOk;
    ask_and_report(arguments, {{"command", "snapshot"}}, code);
    return code;
}

int run_snapshot_create(const Arguments& arguments) {
    json request = {{"command", "snapshot-create"}};
    if (!arguments.operands.empty()) request["name"] = arguments.operands[0];
    int code = kOk;
    const auto response = ask_and_report(arguments, request, code);
    if (response && !arguments.json) std::printf("%s\n", text_field(*response, {"name"}).c_str());
    return code;
}

int run_snapshot_list(const Arguments& arguments) {
    int code = kOk;
    const auto response = ask_and_report(arguments, {{"command", "snapshot-list"}}, code);
    if (!response || arguments.json) return code;
    std::vector<TableRow> rows;
    for (const json& snapshot : list_field(*response, {"snapshots"})) {
        rows.push_back(
            {text_field(snapshot, {"version"}), "#" + text_field(snapshot, {"sequence"}),
             time_text(static_cast<std::time_t>(number_field(snapshot, {"written"}).value_or(0))),
             text_field(snapshot, {"kind"}), text_field(snapshot, {"entries"}) + " entries",
             text_field(snapshot, {"bytes"}) + " bytes", text_field(snapshot, {"name"})});
    }
    print_lines(table_lines(rows));
    return code;
}

int run_snapshot_delete(const Arguments& arguments) {
    int code = kOk;
    ask_and_report(arguments, {{"command", "snapshot-delete"}, {"name", arguments.operands[0]}},
                   code);
    return code;
}

}  // namespace cfsgate::clients
