// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <future>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/json_fields.h"
#include "clients/listing.h"
#include "clients/moment.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kBetweenLooks{1};

/// Nothing, with a message, where the command line does not say what to do.
std::optional<json> make_request(const Arguments& arguments) {
    json request = {{"command", "restore"}, {"dry_run", arguments.dry_run}};
    const auto refuse = [](const char* why) -> std::optional<json> {
        report({kUsage, std::string("restore: ") + why + "; see cfsgate restore --help"});
        return {};
    };
    if (!arguments.all) {
        if (arguments.operands.empty()) return refuse("what? PATH@POSITION, or --all");
        if (!arguments.at.empty() || !arguments.version.empty()) {
            return refuse("--at and --version are for --all");
        }
        const PathAt wanted = split_position(tree_path(arguments, arguments.operands[0]));
        if (wanted.position.empty()) return refuse("a position is missing: PATH@POSITION");
        request["path"] = wanted.path;
        request["at"] = wanted.position;
        return request;
    }
    if (!arguments.operands.empty()) return refuse("--all takes no PATH");
    if (arguments.at.empty() == arguments.version.empty()) {
        return refuse("--all needs either --at TIME or --version POSITION");
    }
    request["all"] = true;
    if (!arguments.version.empty()) {
        request["at"] = arguments.version;
        return request;
    }
    const auto moment = parse_moment(arguments.at, std::time(nullptr));
    if (!moment) return refuse("--at: no time");
    request["time"] = *moment;
    return request;
}

/// Shows on a terminal how far it is.
Answer ask_with_progress(const Arguments& arguments, const json& request) {
    auto answer = std::async(std::launch::async, [&] { return ask(arguments.control, request); });
    const bool visible = ::isatty(STDERR_FILENO) != 0;
    bool drawn = false;
    while (answer.wait_for(kBetweenLooks) != std::future_status::ready) {
        if (!visible) continue;
        const Answer status = ask(arguments.control, {{"command", "status"}});
        if (!status.response || !is_true(*status.response, {"restore", "running"})) continue;
        std::fprintf(stderr, "\r\033[Krestoring: %s of %s operations",
                     text_field(*status.response, {"restore", "done"}).c_str(),
                     text_field(*status.response, {"restore", "total"}).c_str());
        drawn = true;
    }
    if (drawn) std::fputs("\r\033[K", stderr);
    return answer.get();
}

std::string detail_of(const json& operation) {
    const std::string detail = text_field(operation, {"detail"});
    if (text_field(operation, {"what"}) != "mtime") return detail;
    return "= " + time_text(static_cast<std::time_t>(std::strtoul(detail.c_str(), nullptr, 10)));
}

void print(const json& answer, bool dry_run) {
    for (const json& operation : list_field(answer, {"operations"})) {
        std::printf("%s %s %s\n", text_field(operation, {"what"}).c_str(),
                    text_field(operation, {"path"}).c_str(), detail_of(operation).c_str());
    }
    for (const json& left : list_field(answer, {"left"})) {
        std::printf("left as it is: %s (%s)\n", text_field(left, {"path"}).c_str(),
                    text_field(left, {"why"}).c_str());
    }
    const std::string snapshot = text_field(answer, {"snapshot"});
    if (!snapshot.empty()) {
        std::printf("the tree as it was before this is kept as snapshot %s\n", snapshot.c_str());
    }
    std::printf(
        "%s as of version %s (%s): %s operations%s\n", dry_run ? "to be" : "restored",
        text_field(answer, {"position", "version"}).c_str(),
        time_text(static_cast<std::time_t>(number_field(answer, {"position", "time"}).value_or(0)))
            .c_str(),
        text_field(answer, {"total"}).c_str(), dry_run ? "; nothing was changed" : "");
}

}  // namespace

int run_restore(const Arguments& arguments) {
    const auto request = make_request(arguments);
    if (!request) return kUsage;
    const Answer answer = ask_with_progress(arguments, *request);
    if (!answer.response) return report(answer.error);
    if (arguments.json) {
        std::printf("%s\n", answer.response->dump(2).c_str());
    } else {
        print(*answer.response, arguments.dry_run);
    }
    return kOk;
}

}  // namespace cfsgate::clients
