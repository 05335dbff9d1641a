// SPDX-License-Identifier: Apache-2.0
#include "store/config_db/import_mark.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "store/base/files.h"

namespace cfsgate::store {
namespace {

std::string mark_path(const std::string& directory) { return directory + "/config.db.imported"; }

/// "size seconds.nanoseconds", or nothing where there is no such file.
Result<std::optional<std::string>> size_and_time(const std::string& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) {
        if (errno == ENOENT) return std::optional<std::string>();
        return fail_posix(errno, file + ": stat");
    }
    const auto nanoseconds = static_cast<long long>(status.st_mtim.tv_sec) * 1'000'000'000 +
                             static_cast<long long>(status.st_mtim.tv_nsec);
    return std::to_string(status.st_size) + " " + std::to_string(nanoseconds);
}

}  // namespace

std::string config_db_path(const std::string& directory) { return directory + "/config.db"; }

Result<std::optional<std::string>> config_db_fingerprint(const std::string& directory) {
    const std::string file = config_db_path(directory);
    const auto database = CFSGATE_TRY(size_and_time(file));
    if (!database) return std::optional<std::string>();
    const auto log = CFSGATE_TRY(size_and_time(file + "-wal"));
    return "config.db " + *database + " config.db-wal " + log.value_or("none") + "\n";
}

Result<std::optional<std::string>> read_import_mark(const std::string& directory) {
    auto mark = read_small_file(mark_path(directory));
    if (mark) return std::move(*mark);
    if (mark.error().code == Errno::NotFound) return std::optional<std::string>();
    return tl::unexpected(std::move(mark).error());
}

Status write_import_mark(const std::string& directory, const std::string& fingerprint) {
    return write_file_atomically(mark_path(directory), fingerprint, 0600, Flush::Yes);
}

Status mark_as_known(const std::string& directory, const std::string& file) {
    std::error_code error;
    if (!std::filesystem::equivalent(config_db_path(directory), file, error)) return {};
    const auto fingerprint = CFSGATE_TRY(config_db_fingerprint(directory));
    return fingerprint ? write_import_mark(directory, *fingerprint) : Status{};
}

}  // namespace cfsgate::store
