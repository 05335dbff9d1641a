// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/backup_command.h"

#include <filesystem>

#include "store/backup.h"
#include "store/base/clock.h"
#include "store/state_file.h"

namespace cfsgate::gateway::daemon {
namespace {

using nlohmann::json;

/// The daemon must never write to its own mount, where it would wait for itself.
Result<std::string> path_of(const json& request, const char* key, const std::string& mount_point) {
    const auto field = request.find(key);
    if (field == request.end() || !field->is_string()) {
        return fail(Errno::Invalid, std::string("the request has no text \"") + key + "\"");
    }
    const std::string path = field->get<std::string>();
    if (!path.starts_with('/') || path.find('\0') != std::string::npos) {
        return fail(Errno::Invalid, path + ": the path of a backup must be absolute");
    }
    const auto relative = std::filesystem::path(path).lexically_normal().lexically_relative(
        std::filesystem::path(mount_point).lexically_normal());
    if (!mount_point.empty() && !relative.empty() && *relative.begin() != "..") {
        return fail(Errno::Invalid, path + ": a backup of the tree cannot lie in the tree");
    }
    return path;
}

}  // namespace

Result<json> back_up(const BackupSource& source, const json& request, const std::stop_token& stop) {
    store::BackupTarget target;
    target.file = CFSGATE_TRY(path_of(request, "file", source.mount_point));
    target.temporary = request.contains("temporary")
                           ? CFSGATE_TRY(path_of(request, "temporary", source.mount_point))
                           : store::temporary_beside(target.file);
    if (std::filesystem::path(target.temporary).parent_path() !=
        std::filesystem::path(target.file).parent_path()) {
        return fail(Errno::Invalid, "the temporary file must be in the same directory");
    }
    const auto force = request.find("force");
    target.replace = force != request.end() && force->is_boolean() && force->get<bool>();
    target.progress = [&stop](std::uint64_t, std::uint64_t) -> Status {
        if (!stop.stop_requested()) return {};
        return fail(Errno::Interrupted, "the daemon is ending; there is no backup");
    };
    store::BackupHeader header;
    header.time = system_wall_clock()();
    header.file_system = source.store.file_system_id();
    header.former = CFSGATE_TRY(store::read_state_file(source.state_directory)).former;
    header.node = source.node;
    const auto view = CFSGATE_TRY(source.store.read());
    header = CFSGATE_TRY(store::write_backup(target, std::move(header), *view));
    return json{{"file", target.file},       {"node", header.node},
                {"cluster", header.cluster}, {"program", header.program},
                {"time", header.time},       {"version", header.head.version.value()},
                {"entries", header.entries}, {"bytes", header.content_bytes}};
}

}  // namespace cfsgate::gateway::daemon
