// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/json_fields.h"
#include "clients/listing.h"
#include "clients/moment.h"
#include "clients/table.h"
#include "store/base/base64.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

int print_file(const json& entry, const std::string& path) {
    const auto content = decode_base64(text_field(entry, {"data"}));
    if (!content) return report({kFailed, path + ": the answer does not decode"});
    const std::size_t written = std::fwrite(content->data(), 1, content->size(), stdout);
    if (written != content->size() || std::fflush(stdout) != 0) {
        return report({kFailed, "stdout: cannot be written"});
    }
    return kOk;
}

void print_directory(const json& directory) {
    std::vector<TableRow> rows;
    for (const json& entry : list_field(directory, {"entries"})) {
        const bool is_directory = text_field(entry, {"kind"}) == "directory";
        rows.push_back(
            {text_field(entry, {"version"}),
             time_text(static_cast<std::time_t>(number_field(entry, {"mtime"}).value_or(0))),
             is_directory ? "-" : text_field(entry, {"size"}),
             text_field(entry, {"name"}) + (is_directory ? "/" : "")});
    }
    print_lines(table_lines(rows));
}

}  // namespace

int run_show(const Arguments& arguments) {
    const PathAt wanted = split_position(tree_path(arguments, arguments.operands[0]));
    if (wanted.position.empty()) {
        return report({kUsage,
                       "show: a position is missing: PATH@VERSION, PATH@#RECORD or "
                       "PATH@SNAPSHOT; see cfsgate log"});
    }
    int code = kOk;
    const auto response = ask_and_report(
        arguments, {{"command", "show"}, {"path", wanted.path}, {"at", wanted.position}}, code);
    if (!response || arguments.json) return code;
    if (text_field(*response, {"kind"}) == "file") return print_file(*response, wanted.path);
    print_directory(*response);
    return kOk;
}

}  // namespace cfsgate::clients
