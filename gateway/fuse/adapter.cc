// SPDX-License-Identifier: Apache-2.0
#include "gateway/fuse/adapter.h"

#include <cstring>
#include <fstream>
#include <sstream>

namespace cfsgate::gateway::fuse {

std::uintptr_t Handles::add(HandlePtr handle) {
    auto owned = std::make_unique<HandlePtr>(std::move(handle));
    const auto key = reinterpret_cast<std::uintptr_t>(owned.get());
    MutexLock lock(mutex_);
    handles_.emplace(key, std::move(owned));
    return key;
}

void Handles::remove(std::uintptr_t key) {
    std::unique_ptr<HandlePtr> ended;
    MutexLock lock(mutex_);
    const auto found = handles_.find(key);
    if (found == handles_.end()) return;
    ended = std::move(found->second);
    handles_.erase(found);
}

std::vector<gid_t> ProcGroups::groups_of(const Caller& caller) const {
    std::vector<gid_t> groups;
    std::ifstream file("/proc/" + std::to_string(caller.pid) + "/status");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("Groups:")) continue;
        std::istringstream numbers(line.substr(std::strlen("Groups:")));
        for (gid_t group = 0; numbers >> group;) groups.push_back(group);
        break;
    }
    return groups;
}

Adapter::Adapter(FileSystem& file_system, Logger logger)
    : files(file_system),
      log(std::move(logger)),
      held([this](const HandlePtr& handle) { publish_truncation(handle, [](const Status&) {}); }),
      locks(files.locks()) {}

void Adapter::publish_truncation(const HandlePtr& handle, HeldTruncations::Done then) {
    WriteMode mode;
    mode.truncate = true;
    files.write(*handle->file, 0, {}, mode,
                [this, handle, then = std::move(then)](Result<std::uint32_t> written) {
                    held.published(handle->file->id());
                    if (written) return then({});
                    log->warn("a truncation could not be published: {}", written.error().detail);
                    then(tl::unexpected(std::move(written).error()));
                });
}

}  // namespace cfsgate::gateway::fuse
