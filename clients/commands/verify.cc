// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdio>
#include <thread>

#include "clients/commands.h"
#include "clients/control_client.h"
#include "clients/json_fields.h"

namespace cfsgate::clients {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kBetweenLooks{100};

Answer status_of(const Arguments& arguments) {
    return ask(arguments.control, {{"command", "status"}});
}

json last_of(const Answer& status) {
    return field(*status.response, {"cluster", "last_verification"});
}

/// The first result that is another one than `before`.
Answer wait_for_result(const Arguments& arguments, const json& before) {
    const auto end = Clock::now() + kPatience;
    while (Clock::now() < end) {
        const Answer status = status_of(arguments);
        if (!status.response) return status;
        json last = last_of(status);
        if (last.is_object() && last != before) return {std::move(last), {}};
        std::this_thread::sleep_for(kBetweenLooks);
    }
    return {{}, {kFailed, "no result within 30 s; it may still come, see cfsgate status"}};
}

Answer verify(const Arguments& arguments) {
    const Answer status = status_of(arguments);
    if (!status.response) return status;
    const Answer asked = ask(arguments.control, {{"command", "verify"}});
    return asked.response ? wait_for_result(arguments, last_of(status)) : asked;
}

}  // namespace

int run_verify(const Arguments& arguments) {
    Answer result = verify(arguments);
    if (!result.response) return report(result.error);
    const bool equal = is_true(*result.response, {"equal"});
    if (arguments.json) {
        (*result.response)["ok"] = true;
        std::printf("%s\n", result.response->dump(2).c_str());
    } else {
        std::puts(equal ? "equal" : "different");
    }
    return equal ? kOk : kFailed;
}

}  // namespace cfsgate::clients
