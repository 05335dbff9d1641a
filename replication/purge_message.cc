// SPDX-License-Identifier: Apache-2.0
#include "replication/purge_message.h"

#include <algorithm>

#include "store/model/limits.h"
#include "store/model/path.h"

namespace cfsgate::replication {
namespace {

constexpr std::string_view kPrefix = "../cfsgate-purge/";

bool is_control(char character) {
    const auto value = static_cast<unsigned char>(character);
    return value < 0x20 || value == 0x7f;
}

}  // namespace

Operation purge_message(std::string_view path) { return Delete{std::string(kPrefix).append(path)}; }

std::optional<std::string_view> purge_path_of(const Operation& operation) {
    const auto* const message = std::get_if<Delete>(&operation);
    if (message == nullptr || !message->path.starts_with(kPrefix)) return {};
    return std::string_view(message->path).substr(kPrefix.size());
}

Status check_purge_path(std::string_view path) {
    if (path.size() > limits::kPathBytesMax)
        return fail(Errno::NameTooLong, "the path is too long");
    const auto components = path_components(path);
    if (components.empty()) return fail(Errno::Invalid, "the path names the whole tree");
    std::string normalised;
    for (const std::string_view component : components) {
        if (component == "." || component == "..") {
            return fail(Errno::Invalid, "the path has '.' or '..' in it");
        }
        if (component.size() > limits::kNameBytesMax) {
            return fail(Errno::NameTooLong, "the path has a name that is too long");
        }
        normalised = join_path(normalised, component);
    }
    if (path != normalised) return fail(Errno::Invalid, "the path has slashes too many");
    if (std::any_of(path.begin(), path.end(), is_control)) {
        return fail(Errno::Invalid, "the path has control characters in it");
    }
    return {};
}

}  // namespace cfsgate::replication
