// SPDX-License-Identifier: Apache-2.0
// The tree by path, as root, without the mount: for the control socket when the mount hangs.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/file_system.h"

namespace cfsgate::gateway::daemon {

/// Paths are relative to the root of the tree; a leading slash is allowed. Symbolic links are
/// followed. Errors: those of FileSystem with the path in the detail; Invalid for "..";
/// Interrupted when `stop` is requested. Threads: any, each call waits.
class TreeAccess {
public:
    /// Borrows `files`. A call that waits longer than `deadline` fails with TimedOut.
    TreeAccess(FileSystem& files, std::chrono::milliseconds deadline)
        : files_(files), deadline_(deadline) {}

    struct Item {
        std::string name;
        Attributes attributes;
        std::string target;  ///< of a symbolic link
    };

    Result<std::string> get(const std::string& path) const;
    /// Creates the file or replaces its whole content, durably, in one operation if it exists.
    Status put(const std::string& path, std::string content, const std::stop_token& stop);
    /// An empty file, unless there is a file.
    Status create(const std::string& path, const std::stop_token& stop);
    Status set_time(const std::string& path, std::uint32_t seconds, const std::stop_token& stop);
    /// A file or an empty directory.
    Status remove(const std::string& path, const std::stop_token& stop);
    Status rename(const std::string& from, const std::string& to, const std::stop_token& stop);
    Status make_directory(const std::string& path, const std::stop_token& stop);
    /// What is in a directory, sorted by name; of a file, itself.
    Result<std::vector<Item>> list(const std::string& path) const;

private:
    struct Place {
        FileId directory;
        std::string name;
    };
    Result<Attributes> find(const std::string& path) const;
    Result<Place> find_place(const std::string& path) const;
    Result<Attributes> walk(const std::string& path, int& links_left) const;
    Result<Attributes> follow(Attributes entry, int& links_left) const;
    Result<Item> make_item(FileId directory, std::string name) const;
    Result<std::shared_ptr<OpenFile>> open_for_put(const Place& place, const std::stop_token& stop);
    Status put_once(const std::string& path, const std::string& content,
                    const std::stop_token& stop);
    Status fill(OpenFile& file, std::string content, const std::stop_token& stop);

    FileSystem& files_;
    std::chrono::milliseconds deadline_;
};

}  // namespace cfsgate::gateway::daemon
