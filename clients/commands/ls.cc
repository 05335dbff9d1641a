// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <cstdio>
#include <ctime>

#include "clients/commands.h"
#include "clients/control_client.h"

namespace cfsgate::clients {
namespace {

/// Such as "-rw-r-----".
std::string mode_text(const std::string& kind, std::uint32_t mode) {
    std::string text = "-rwxrwxrwx";
    for (std::size_t bit = 0; bit < 9; ++bit) {
        if ((mode >> (8 - bit) & 1) == 0) text[bit + 1] = '-';
    }
    if (kind == "directory") text[0] = 'd';
    if (kind == "symlink") text[0] = 'l';
    return text;
}

std::string time_text(std::uint32_t seconds) {
    const auto time = static_cast<std::time_t>(seconds);
    std::tm local{};
    ::localtime_r(&time, &local);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
    return text.data();
}

void print(const nlohmann::json& entry) {
    const std::string target = entry.value("target", "");
    std::printf("%s %9llu %s %s%s%s\n",
                mode_text(entry.value("kind", ""), entry.value("mode", 0U)).c_str(),
                static_cast<unsigned long long>(entry.value("size", std::uint64_t{0})),
                time_text(entry.value("mtime", 0U)).c_str(), entry.value("name", "").c_str(),
                target.empty() ? "" : " -> ", target.c_str());
}

}  // namespace

int run_ls(const Arguments& arguments) {
    int code = kOk;
    const std::string path =
        arguments.operands.empty() ? "" : tree_path(arguments, arguments.operands[0]);
    const auto response = ask_and_report(arguments, {{"command", "ls"}, {"path", path}}, code);
    if (!response || arguments.json) return code;
    for (const auto& entry : response->value("entries", nlohmann::json::array())) print(entry);
    return code;
}

}  // namespace cfsgate::clients
