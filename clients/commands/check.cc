// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <optional>

#include "clients/commands.h"
#include "clients/offline_store.h"
#include "store/checker.h"
#include "store/state_file.h"
#include "store/tree_file_probe.h"

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

/// Of a tree.mdb with pages that end who reads them: what else there is, without that. Nothing for
/// one that can be read, and where no start would read it.
std::optional<json> look_past_damaged_pages(const std::string& directory) {
    const auto state = store::read_state_file(directory);
    const bool read_by_start =
        state && (state->clean() || state->boot_id == store::system_boot_id());
    if (!read_by_start) return {};
    const auto probe = store::probe_tree_file(directory + "/tree.mdb");
    if (probe || probe.error().code != Errno::Corrupt) return {};
    const auto found = store::salvage(directory);
    store::CheckReport report;
    report.state = state->clean() ? "clean" : "in use";
    if (!found) {
        report.findings.push_back({"tree.mdb", probe.error().detail});
        return to_json(report);
    }
    report.findings = found->damage;
    report.entries = found->tree.entries.size() + 1;
    report.content_bytes = content_bytes_of(found->tree);
    report.version = found->tree.head.version.value();
    report.tree_checksum = to_hex(checksum_of(found->tree));
    return to_json(report);
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
    if (const auto damaged = look_past_damaged_pages(arguments.state)) {
        return print_answer(arguments, *damaged);
    }
    const auto checked = store::check_directory(arguments.state);
    if (!checked) return report({kFailed, arguments.state + ": " + checked.error().detail});
    return print_answer(arguments, to_json(*checked));
}

}  // namespace cfsgate::clients
