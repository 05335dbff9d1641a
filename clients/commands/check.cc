// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "clients/commands.h"
#include "clients/offline_store.h"
#include "store/checker.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

json to_json(const store::CheckReport& report) {
    json findings = json::array();
    for (const store::Finding& finding : report.findings) {
        findings.push_back({{"where", finding.where}, {"what", finding.what}});
    }
    return {{"ok", true},
            {"scope", "directory"},
            {"findings", std::move(findings)},
            {"entries", report.entries},
            {"bytes", report.content_bytes},
            {"version", report.version},
            {"checksum", report.tree_checksum},
            {"state", report.state},
            {"journal_segments", report.journal_segments},
            {"journal_records", report.journal_records},
            {"snapshots", report.snapshots}};
}

void print_text(const json& answer) {
    const bool whole = answer.value("scope", "") == "directory";
    for (const auto& finding : answer["findings"]) {
        std::printf("%s: %s\n", finding.value("where", "").c_str(),
                    finding.value("what", "").c_str());
    }
    std::printf("%zu findings in %s: version %s, %s entries, %s bytes, checksum %s\n",
                answer["findings"].size(), whole ? "the store" : "the tree of the running daemon",
                answer["version"].dump().c_str(), answer["entries"].dump().c_str(),
                answer["bytes"].dump().c_str(), answer.value("checksum", "").c_str());
    if (!whole) return;
    std::printf("journal: %s records in %s segments; %s snapshots; state %s\n",
                answer["journal_records"].dump().c_str(), answer["journal_segments"].dump().c_str(),
                answer["snapshots"].dump().c_str(), answer.value("state", "").c_str());
}

int print_answer(const Arguments& arguments, const json& answer) {
    if (arguments.json) {
        std::printf("%s\n", answer.dump(2).c_str());
    } else {
        print_text(answer);
    }
    return answer["findings"].empty() ? kOk : kFailed;
}

}  // namespace

int run_check(const Arguments& arguments) {
    const OfflineAccess access = lock_state(arguments);
    if (!access.lock) {
        if (access.error.code != kInUse) return report(access.error);
        const Answer answer = ask_holder(arguments, {{"command", "check"}}, access.error);
        return answer.response ? print_answer(arguments, *answer.response) : report(answer.error);
    }
    const auto checked = store::check_directory(arguments.state);
    if (!checked) return report({kFailed, arguments.state + ": " + checked.error().detail});
    return print_answer(arguments, to_json(*checked));
}

}  // namespace cfsgate::clients
