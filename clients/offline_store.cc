// SPDX-License-Identifier: Apache-2.0
#include "clients/offline_store.h"

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "store/base/files.h"
#include "store/repair.h"
#include "store/store.h"

namespace cfsgate::clients {
namespace {

std::string holder(const Arguments& arguments) {
    auto pid = read_small_file(arguments.pid_file, 32);
    if (!pid || pid->empty()) return "by another process";
    if (pid->back() == '\n') pid->pop_back();
    return "by the daemon with pid " + *pid + ", as " + arguments.pid_file + " says";
}

bool same_directory(const std::string& one, const std::string& other) {
    std::error_code error;
    return std::filesystem::equivalent(one, other, error);
}

}  // namespace

OfflineAccess lock_state(const Arguments& arguments) {
    std::error_code error;
    if (!std::filesystem::is_directory(arguments.state, error)) {
        return {{}, {kFailed, arguments.state + ": there is no such directory (--state)"}};
    }
    auto lock = store::DirectoryLock::acquire(arguments.state, std::chrono::seconds(0));
    if (lock) return {std::move(*lock), {}};
    if (lock.error().code != Errno::Busy) return {{}, {kFailed, lock.error().detail}};
    return {{},
            {kInUse,
             arguments.state + ": the store is in use " + holder(arguments) + "; stop it first"}};
}

OfflineTree read_state(const Arguments& arguments) {
    OfflineTree tree;
    auto lock = store::DirectoryLock::share(arguments.state);
    if (!lock && lock.error().code == Errno::Busy) {
        tree.error = {kInUse, arguments.state + ": the store is in use " + holder(arguments) +
                                  ", which does not answer on " + arguments.control};
        return tree;
    }
    if (!lock) {
        tree.error = {kFailed, lock.error().detail};
        return tree;
    }
    tree.lock = std::move(*lock);
    if (store::repair_is_under_way(arguments.state)) {
        tree.error = {kFailed,
                      arguments.state + ": a repair has not ended; run cfsgate repair again"};
        return tree;
    }
    store::SalvageOptions options;
    options.thorough = false;
    auto found = store::salvage(arguments.state, options);
    if (!found) {
        tree.error = {kFailed, found.error().detail};
        return tree;
    }
    if (!found->is_well()) {
        std::fprintf(stderr,
                     "cfsgate: %s is damaged: this is of %s, version %llu; see cfsgate repair "
                     "--dry-run\n",
                     arguments.state.c_str(), found->source.c_str(),
                     static_cast<unsigned long long>(found->tree.head.version.value()));
    }
    tree.store = std::move(*found);
    return tree;
}

bool is_for_files(const Arguments& arguments, const nlohmann::json& request, Answer& answer) {
    if (arguments.state_given) {
        const Answer status = ask(arguments.control, {{"command", "status"}});
        if (!status.response) {
            answer = status;
            return status.error.code == kNotReachable && store::Store::exists(arguments.state);
        }
        const auto& store = status.response->value("store", nlohmann::json::object());
        if (!same_directory(store.value("state", ""), arguments.state)) return true;
    }
    answer = ask(arguments.control, request);
    return !answer.response && answer.error.code == kNotReachable &&
           store::Store::exists(arguments.state);
}

Answer ask_holder(const Arguments& arguments, const nlohmann::json& request,
                  const AskError& in_use) {
    const Answer status = ask(arguments.control, {{"command", "status"}});
    if (!status.response) return {{}, in_use};
    const auto& store = status.response->value("store", nlohmann::json::object());
    if (!same_directory(store.value("state", ""), arguments.state)) return {{}, in_use};
    return ask(arguments.control, request);
}

}  // namespace cfsgate::clients
