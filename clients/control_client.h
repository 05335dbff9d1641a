// SPDX-License-Identifier: Apache-2.0
// Asks the daemon over its control socket. Never touches the mount.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "clients/arguments.h"
#include "clients/exit_code.h"
#include "store/base/result.h"

namespace cfsgate::clients {

/// Why an answer is missing.
struct AskError {
    ExitCode code = kFailed;
    std::string text;
};

struct Answer {
    std::optional<nlohmann::json> response;  ///< set where the daemon said "ok"
    AskError error;                          ///< where it is not
};

/// Sends one request and waits for its response.
Answer ask(const std::string& control, const nlohmann::json& request);

/// Prints an error in the form of all messages. Returns its exit code.
int report(const AskError& error);

/// ask(), then prints the error, or with --json the response. Nothing is returned in the first case,
/// with the exit code in `code`.
std::optional<nlohmann::json> ask_and_report(const Arguments& arguments,
                                             const nlohmann::json& request, int& code);

}  // namespace cfsgate::clients
