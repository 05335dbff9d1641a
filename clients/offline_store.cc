// SPDX-License-Identifier: Apache-2.0
#include "clients/offline_store.h"

#include <filesystem>
#include <system_error>

#include "store/base/files.h"

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

Answer ask_holder(const Arguments& arguments, const nlohmann::json& request,
                  const AskError& in_use) {
    const Answer status = ask(arguments.control, {{"command", "status"}});
    if (!status.response) return {{}, in_use};
    const auto& store = status.response->value("store", nlohmann::json::object());
    if (!same_directory(store.value("state", ""), arguments.state)) return {{}, in_use};
    return ask(arguments.control, request);
}

}  // namespace cfsgate::clients
