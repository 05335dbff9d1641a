// SPDX-License-Identifier: Apache-2.0
#include "store/repair.h"

#include <cstdio>
#include <ctime>

#include "clients/commands.h"
#include "clients/offline_store.h"
#include "store/store_files.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;

json findings_to_json(const std::vector<store::Finding>& findings) {
    json list = json::array();
    for (const store::Finding& finding : findings) {
        list.push_back({{"where", finding.where}, {"what", finding.what}});
    }
    return list;
}

json to_json(const store::RepairReport& report) {
    json taken = json::array();
    for (const auto& out : report.found.mending.taken_out) {
        taken.push_back({{"where", out.path}, {"what", out.why}});
    }
    return {{"ok", true},
            {"repaired", report.repaired},
            {"damaged", findings_to_json(report.found.damage)},
            {"changed", findings_to_json(report.found.mending.changed)},
            {"taken_out", std::move(taken)},
            {"lost", findings_to_json(report.found.lost)},
            {"source", report.found.source},
            {"version", report.version.value()},
            {"entries", report.found.tree.entries.size()},
            {"aside", report.aside}};
}

void print(const Arguments& arguments, const store::RepairReport& report) {
    if (arguments.json) {
        std::printf("%s\n",
                    to_json(report).dump(2, ' ', false, json::error_handler_t::replace).c_str());
        return;
    }
    for (const std::string& line : store::describe(report.found)) std::puts(line.c_str());
    const auto version = static_cast<unsigned long long>(report.version.value());
    const std::size_t entries = report.found.tree.entries.size();
    const char* state = arguments.state.c_str();
    if (report.found.is_well()) {
        if (report.repaired) {
            std::printf("%s: a repair that had stopped was brought to its end\n", state);
        }
        std::printf("%s: nothing is wrong; version %llu, %zu entries\n", state, version, entries);
    } else if (arguments.dry_run) {
        std::printf("%s: would be made of %s: version %llu, %zu entries\n", state,
                    report.found.source.c_str(), version, entries);
    } else {
        std::printf(
            "%s: repaired, made of %s: version %llu, %zu entries; what was damaged is in "
            "%s/%s\n",
            state, report.found.source.c_str(), version, entries, state, report.aside.c_str());
    }
}

Result<store::RepairReport> look(const Arguments& arguments) {
    if (store::repair_is_under_way(arguments.state)) {
        return fail(Errno::Busy,
                    arguments.state + ": a repair has not ended; run it again without --dry-run");
    }
    store::RepairReport report;
    report.found = CFSGATE_TRY(store::salvage(arguments.state));
    report.version = report.found.tree.head.version;
    return report;
}

}  // namespace

int run_repair(const Arguments& arguments) {
    const OfflineAccess access = lock_state(arguments);
    if (!access.lock) return report(access.error);
    const auto done = arguments.dry_run
                          ? look(arguments)
                          : store::repair(arguments.state, store::folder_time(std::time(nullptr)));
    if (!done) return report({kFailed, done.error().detail});
    print(arguments, *done);
    if (done->found.loses_something()) return kLost;
    return arguments.dry_run && !done->found.is_well() ? kFailed : kOk;
}

}  // namespace cfsgate::clients
