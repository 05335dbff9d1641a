// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/tree_access.h"

#include <algorithm>
#include <system_error>

#include "gateway/daemon/await.h"
#include "store/model/limits.h"
#include "store/model/path.h"

namespace cfsgate::gateway::daemon {
namespace {

constexpr int kLinksMax = 8;
constexpr int kPutTriesMax = 8;
const Caller kRoot{};

/// The same result, with the path in front of its error.
template <class T>
Result<T> about(const std::string& path, Result<T> result) {
    if (!result) {
        auto& error = result.error();
        error.detail = path + ": " +
                       (error.detail.empty() ? std::generic_category().message(to_posix(error.code))
                                             : error.detail);
    }
    return result;
}

}  // namespace

Result<Attributes> TreeAccess::walk(const std::string& path, int& links_left) const {
    Attributes at = CFSGATE_TRY(files_.getattr(kRootId));
    for (const std::string_view component : path_components(path)) {
        if (component == ".") continue;
        if (component == "..") return fail(Errno::Invalid, "'..' is not allowed");
        at = CFSGATE_TRY(files_.lookup(kRoot, at.id, component));
        at = CFSGATE_TRY(follow(at, links_left));
    }
    return at;
}

/// All links are in the root, so their targets start there.
Result<Attributes> TreeAccess::follow(Attributes entry, int& links_left) const {
    if (entry.kind != FileKind::Symlink) return entry;
    if (links_left-- <= 0) return fail(Errno::Invalid, "too many symbolic links");
    return walk(CFSGATE_TRY(files_.readlink(entry.id)), links_left);
}

Result<Attributes> TreeAccess::find(const std::string& path) const {
    int links_left = kLinksMax;
    return about(path, walk(path, links_left));
}

Result<TreeAccess::Place> TreeAccess::find_place(const std::string& path) const {
    const auto components = path_components(path);
    if (components.empty()) return fail(Errno::Invalid, "'" + path + "' names the root");
    const std::string name(components.back());
    if (name == "." || name == "..") return fail(Errno::Invalid, path + ": no name at the end");
    std::string directory;
    for (std::size_t i = 0; i + 1 < components.size(); ++i) {
        directory = join_path(directory, components[i]);
    }
    return Place{CFSGATE_TRY(find(directory)).id, name};
}

Result<std::string> TreeAccess::get(const std::string& path) const {
    const Attributes entry = CFSGATE_TRY(find(path));
    if (entry.kind == FileKind::Directory) {
        return fail(Errno::IsDirectory, path + ": is a directory");
    }
    const std::shared_ptr<OpenFile> file =
        CFSGATE_TRY(about(path, files_.open(kRoot, entry.id, {.read = true, .write = false})));
    return about(path, files_.read(*file, 0, limits::kFileBytesMax));
}

Result<std::shared_ptr<OpenFile>> TreeAccess::open_for_put(const Place& place,
                                                           const std::stop_token& stop) {
    constexpr OpenMode kWrite{.read = false, .write = true};
    const auto found = files_.lookup(kRoot, place.directory, place.name);
    if (found) {
        int links_left = kLinksMax;
        return files_.open(kRoot, CFSGATE_TRY(follow(*found, links_left)).id, kWrite);
    }
    if (found.error().code != Errno::NotFound) return tl::unexpected(found.error());
    auto created = CFSGATE_TRY(await<FileSystem::Created>(
        [&](auto done) {
            files_.create(kRoot, place.directory, place.name, false, kWrite, std::move(done));
        },
        deadline_, stop));
    return std::move(created.file);
}

Status TreeAccess::fill(OpenFile& file, std::string content, const std::stop_token& stop) {
    CFSGATE_TRY(await<std::uint32_t>(
        [&](auto done) {
            files_.write(file, 0, std::move(content), {.truncate = true, .append = false},
                         std::move(done));
        },
        deadline_, stop));
    return await<void>([&](auto done) { files_.fsync(file, std::move(done)); }, deadline_, stop);
}

Status TreeAccess::put_once(const std::string& path, const std::string& content,
                            const std::stop_token& stop) {
    const Place place = CFSGATE_TRY(find_place(path));
    const std::shared_ptr<OpenFile> file = CFSGATE_TRY(about(path, open_for_put(place, stop)));
    return about(path, fill(*file, content, stop));
}

Status TreeAccess::put(const std::string& path, std::string content, const std::stop_token& stop) {
    if (content.size() > limits::kFileBytesMax) {
        return fail(Errno::FileTooBig, path + ": a file holds at most " +
                                           std::to_string(limits::kFileBytesMax) + " bytes");
    }
    // The file may be replaced or removed at any moment; then the name means another one.
    Status status;
    for (int tries = 0; tries < kPutTriesMax; ++tries) {
        status = put_once(path, content, stop);
        if (status || status.error().code != Errno::StaleHandle) return status;
    }
    return status;
}

Status TreeAccess::create(const std::string& path, const std::stop_token& stop) {
    const Place place = CFSGATE_TRY(find_place(path));
    CFSGATE_TRY(about(path, open_for_put(place, stop)));
    return {};
}

Status TreeAccess::set_time(const std::string& path, std::uint32_t seconds,
                            const std::stop_token& stop) {
    const FileId entry = CFSGATE_TRY(find(path)).id;
    CFSGATE_TRY(about(
        path, await<Attributes>(
                  [&](auto done) { files_.set_mtime(kRoot, entry, seconds, std::move(done)); },
                  deadline_, stop)));
    return {};
}

Status TreeAccess::remove(const std::string& path, const std::stop_token& stop) {
    const Place place = CFSGATE_TRY(find_place(path));
    const auto entry = CFSGATE_TRY(about(path, files_.lookup(kRoot, place.directory, place.name)));
    return about(path,
                 await<void>(
                     [&](auto done) {
                         if (entry.kind == FileKind::Directory) {
                             files_.rmdir(kRoot, place.directory, place.name, std::move(done));
                         } else {
                             files_.unlink(kRoot, place.directory, place.name, std::move(done));
                         }
                     },
                     deadline_, stop));
}

Status TreeAccess::rename(const std::string& from, const std::string& to,
                          const std::stop_token& stop) {
    const Place source = CFSGATE_TRY(find_place(from));
    const Place target = CFSGATE_TRY(find_place(to));
    CFSGATE_TRY(about(from + " to " + to, await<FileId>(
                                              [&](auto done) {
                                                  files_.rename(kRoot, source.directory,
                                                                source.name, target.directory,
                                                                target.name, std::move(done));
                                              },
                                              deadline_, stop)));
    return {};
}

Status TreeAccess::make_directory(const std::string& path, const std::stop_token& stop) {
    const Place place = CFSGATE_TRY(find_place(path));
    CFSGATE_TRY(about(
        path,
        await<Attributes>(
            [&](auto done) { files_.mkdir(kRoot, place.directory, place.name, std::move(done)); },
            deadline_, stop)));
    return {};
}

Result<TreeAccess::Item> TreeAccess::make_item(FileId directory, std::string name) const {
    Item item{.name = std::move(name), .attributes = {}, .target = {}};
    item.attributes = CFSGATE_TRY(files_.lookup(kRoot, directory, item.name));
    if (item.attributes.kind == FileKind::Symlink) {
        item.target = CFSGATE_TRY(files_.readlink(item.attributes.id));
    }
    return item;
}

Result<std::vector<TreeAccess::Item>> TreeAccess::list(const std::string& path) const {
    const Attributes entry = CFSGATE_TRY(find(path));
    if (entry.kind != FileKind::Directory) return std::vector{Item{path, entry, {}}};
    std::vector<std::string> names;
    CFSGATE_TRY(about(path, files_.readdir(kRoot, entry.id, 0, Listing::NamesOnly,
                                           [&](const DirectoryEntry& child) {
                                               if (child.name != "." && child.name != "..")
                                                   names.emplace_back(child.name);
                                               return true;
                                           })));
    std::sort(names.begin(), names.end());
    std::vector<Item> items;
    for (std::string& name : names) {
        auto item = make_item(entry.id, std::move(name));
        if (item) {
            items.push_back(std::move(*item));
        } else if (item.error().code != Errno::NotFound) {  // else: removed in the meantime
            return about(path, Result<std::vector<Item>>(tl::unexpected(item.error())));
        }
    }
    return items;
}

}  // namespace cfsgate::gateway::daemon
