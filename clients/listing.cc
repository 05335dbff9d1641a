// SPDX-License-Identifier: Apache-2.0
#include "clients/listing.h"

#include <grp.h>
#include <pwd.h>

#include <array>

namespace cfsgate::clients {

std::string mode_text(std::string_view kind, std::uint32_t mode) {
    std::string text = "-rwxrwxrwx";
    for (std::size_t bit = 0; bit < 9; ++bit) {
        if ((mode >> (8 - bit) & 1) == 0) text[bit + 1] = '-';
    }
    if (kind == "directory") text[0] = 'd';
    if (kind == "symlink") text[0] = 'l';
    return text;
}

std::string time_text(std::time_t seconds) {
    std::tm local{};
    ::localtime_r(&seconds, &local);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
    return text.data();
}

std::string user_text(std::uint32_t uid) {
    passwd entry{};
    passwd* found = nullptr;
    std::array<char, 4096> buffer{};
    ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
    return found == nullptr ? std::to_string(uid) : found->pw_name;
}

std::string group_text(std::uint32_t gid) {
    group entry{};
    group* found = nullptr;
    std::array<char, 16384> buffer{};
    ::getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found);
    return found == nullptr ? std::to_string(gid) : found->gr_name;
}

}  // namespace cfsgate::clients
