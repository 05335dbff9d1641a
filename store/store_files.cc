// SPDX-License-Identifier: Apache-2.0
#include "store/store_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "store/file_io.h"

namespace cfsgate::store {

bool is_store_file(std::string_view name) {
    constexpr std::array<std::string_view, 7> kPrefixes{
        "tree.mdb", "journal.", "spare.journal", "snapshot.", "lost.", "named.", "new.snapshot."};
    return name == "state" || name == "purged" ||
           std::any_of(kPrefixes.begin(), kPrefixes.end(),
                       [&](std::string_view prefix) { return name.starts_with(prefix); });
}

Result<std::vector<std::string>> store_files(const std::string& directory) {
    std::vector<std::string> names = CFSGATE_TRY(list_files(directory, ""));
    std::erase_if(names, [](const std::string& name) { return !is_store_file(name); });
    std::stable_partition(names.begin(), names.end(),
                          [](const std::string& name) { return name != "state"; });
    return names;
}

std::string folder_time(std::time_t time) {
    std::tm local{};
    ::localtime_r(&time, &local);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y%m%d-%H%M%S", &local);
    return text.data();
}

Result<std::string> make_folder(const std::string& directory, const std::string& name) {
    constexpr int kTriesMax = 1000;
    for (int i = 0; i < kTriesMax; ++i) {
        const std::string folder = i == 0 ? name : name + "." + std::to_string(i);
        if (::mkdir((directory + "/" + folder).c_str(), 0700) == 0) return folder;
        if (errno != EEXIST) return fail_posix(errno, directory + "/" + folder);
    }
    return fail(Errno::Exists, directory + "/" + name + ": exists already");
}

Result<std::string> move_store_aside(const std::string& directory, const std::string& time) {
    const auto names = CFSGATE_TRY(store_files(directory));
    const std::string folder =
        directory + "/" + CFSGATE_TRY(make_folder(directory, "store-" + time));
    for (const std::string& name : names) {
        const std::string from = directory + "/" + name;
        if (std::rename(from.c_str(), (folder + "/" + name).c_str()) != 0) {
            return fail_posix(errno, from + ": move to " + folder);
        }
    }
    CFSGATE_TRY(sync_directory(folder));
    CFSGATE_TRY(sync_directory(directory));
    return folder;
}

}  // namespace cfsgate::store
