// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/json_fields.h"
#include "clients/moment.h"
#include "clients/text_diff.h"
#include "store/base/base64.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

std::string kind_of(const json& entry) {
    return entry.is_object() ? text_field(entry, {"kind"}) : "nothing";
}

/// Why the contents are not compared; empty where they are.
std::string why_not_shown(const json& entry) {
    if (kind_of(entry) != "file" || entry.contains("data")) return "";
    return is_true(entry, {"purged"}) ? "was purged" : "is too much; look at a part";
}

std::string content_of(const json& entry) {
    return decode_base64(text_field(entry, {"data"})).value_or("");
}

std::string text_of(const json& change, const std::string& at, const std::string& other_at) {
    const std::string path = text_field(change, {"path"});
    const json& before = field(change, {"before"});
    const json& after = field(change, {"after"});
    const std::string kinds = kind_of(before) + " -> " + kind_of(after);
    const bool files =
        kinds == "file -> file" || kinds == "file -> nothing" || kinds == "nothing -> file";
    if (!files) return path + ": " + kinds + "\n";
    for (const json* side : {&before, &after}) {
        const std::string why = why_not_shown(*side);
        if (!why.empty()) return path + ": " + kinds + "; its content " + why + "\n";
    }
    const std::string text = unified_diff(
        content_of(before), content_of(after), before.is_object() ? path + "@" + at : "/dev/null",
        after.is_object() ? path + (other_at.empty() ? "" : "@" + other_at) : "/dev/null");
    return text.empty() ? path + ": " + kinds + ", empty\n" : text;
}

}  // namespace

int run_diff(const Arguments& arguments) {
    const PathAt one = split_position(tree_path(arguments, arguments.operands[0]));
    PathAt other = one;
    other.position.clear();
    if (arguments.operands.size() > 1) {
        other = split_position(tree_path(arguments, arguments.operands[1]));
        if (other.path.empty()) other.path = one.path;
    }
    if (one.position.empty() || (arguments.operands.size() > 1 && other.position.empty())) {
        return report({kUsage,
                       "diff: a position is missing: PATH@VERSION, PATH@#RECORD or "
                       "PATH@SNAPSHOT; see cfsgate log"});
    }
    json request = {
        {"command", "diff"}, {"path", one.path}, {"at", one.position}, {"other_path", other.path}};
    if (!other.position.empty()) request["other_at"] = other.position;
    int code = kOk;
    const auto response = ask_and_report(arguments, request, code);
    if (!response || arguments.json) return code;
    for (const json& change : list_field(*response, {"changes"})) {
        const std::string text = text_of(change, one.position, other.position);
        std::fwrite(text.data(), 1, text.size(), stdout);
    }
    if (std::fflush(stdout) != 0) return report({kFailed, "stdout: cannot be written"});
    return kOk;
}

}  // namespace cfsgate::clients
