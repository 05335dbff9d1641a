// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <ctime>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/json_fields.h"
#include "clients/listing.h"
#include "clients/moment.h"
#include "clients/table.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

constexpr int kPage = 1000;

std::string detail_of(const json& record) {
    const std::string what = text_field(record, {"what"});
    if (what == "takeover") {
        return "tree of " + text_field(record, {"from"}) + ": " + text_field(record, {"removed"}) +
               " entries removed, " + text_field(record, {"entries"}) + " put in";
    }
    std::string text = text_field(record, {"path"});
    if (what == "rename") text += " -> " + text_field(record, {"target"});
    if (what == "mtime") {
        text += " = " +
                time_text(static_cast<std::time_t>(number_field(record, {"mtime"}).value_or(0)));
    }
    if (what == "write") {
        text += " (" + text_field(record, {"bytes"}) + " bytes at " +
                text_field(record, {"offset"}) +
                (is_true(record, {"truncate"}) ? ", cut behind)" : ")");
    }
    return text;
}

TableRow row_of(const json& record) {
    const std::string via = text_field(record, {"via"});
    const std::string node = text_field(record, {"node_name"});
    return {text_field(record, {"version"}),
            "#" + text_field(record, {"sequence"}),
            time_text(static_cast<std::time_t>(number_field(record, {"time"}).value_or(0))),
            (node.empty() ? "-" : node) + (via.empty() ? "" : "/" + via),
            text_field(record, {"what"}),
            detail_of(record)};
}

/// False, with a message, where the text is no time.
bool add_moment(json& request, const char* key, const std::string& text) {
    if (text.empty()) return true;
    const auto moment = parse_moment(text, std::time(nullptr));
    if (moment) request[key] = *moment;
    return moment.has_value();
}

}  // namespace

int run_log(const Arguments& arguments) {
    json request = {{"command", "log"}, {"oldest_first", arguments.reverse}};
    if (!arguments.operands.empty()) {
        request["path"] = tree_path(arguments, arguments.operands[0]);
    }
    if (!add_moment(request, "since", arguments.since) ||
        !add_moment(request, "until", arguments.until)) {
        return report({kUsage, "--since, --until: no time; see docs/history.md"});
    }
    json records = json::array();
    for (int left = arguments.count; left > 0;) {
        request["count"] = std::min(left, kPage);
        const Answer answer = ask(arguments.control, request);
        if (!answer.response) return report(answer.error);
        const auto& page = list_field(*answer.response, {"records"});
        for (const json& record : page) records.push_back(record);
        left -= static_cast<int>(page.size());
        if (page.size() < request["count"].get<std::size_t>()) break;
        request["from"] = number_field(page.back(), {"sequence"}).value_or(0);
    }
    if (arguments.json) {
        std::printf("%s\n", json{{"ok", true}, {"records", records}}.dump(2).c_str());
        return kOk;
    }
    std::vector<TableRow> rows;
    for (const json& record : records) rows.push_back(row_of(record));
    print_lines(table_lines(rows));
    return kOk;
}

}  // namespace cfsgate::clients
