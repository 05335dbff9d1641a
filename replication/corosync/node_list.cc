// SPDX-License-Identifier: Apache-2.0
#include "replication/corosync/node_list.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <map>
#include <optional>
#include <string_view>

#include <corosync/cmap.h>

#include "replication/corosync/corosync_error.h"

namespace cfsgate::replication {

struct NodeList::Handle {
    Handle() = default;
    ~Handle() {
        if (open) cmap_finalize(handle);
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    cmap_handle_t handle = 0;
    bool open = false;
};

namespace {

constexpr std::string_view kNodePrefix = "nodelist.node.";
constexpr std::int32_t kAnyChange = CMAP_TRACK_ADD | CMAP_TRACK_DELETE | CMAP_TRACK_MODIFY;

/// A key that is missing is no error, and neither is one of another type: nothing is read.
template <class T>
std::optional<T> take_if_there(cs_error_t answer, T value) {
    if (answer != CS_OK) return std::nullopt;
    return value;
}

std::optional<std::uint32_t> read_u32(cmap_handle_t handle, const std::string& key) {
    std::uint32_t value = 0;
    const cs_error_t answer = cmap_get_uint32(handle, key.c_str(), &value);
    return take_if_there(answer, value);
}

std::optional<std::uint64_t> read_u64(cmap_handle_t handle, const std::string& key) {
    std::uint64_t value = 0;
    const cs_error_t answer = cmap_get_uint64(handle, key.c_str(), &value);
    return take_if_there(answer, value);
}

std::optional<std::string> read_string(cmap_handle_t handle, const std::string& key) {
    char* raw = nullptr;
    if (cmap_get_string(handle, key.c_str(), &raw) != CS_OK) return std::nullopt;
    const std::unique_ptr<char, decltype(&std::free)> owner(raw, &std::free);
    return std::string(raw);
}

/// Whether the key is the address of a link, as `ring1_addr`; its number then.
std::optional<unsigned> link_of(std::string_view field) {
    constexpr std::string_view before = "ring";
    constexpr std::string_view behind = "_addr";
    if (!field.starts_with(before) || !field.ends_with(behind)) return std::nullopt;
    field = field.substr(before.size());
    unsigned link = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), link);
    if (error != std::errc() || std::string_view(end) != behind) return std::nullopt;
    return link;
}

/// The fields of each node that corosync has keys for, by its position in the node list.
using Fields = std::map<unsigned, std::vector<std::string>>;

/// Adds a key such as `nodelist.node.3.ring0_addr`.
void add_key(std::string_view key, Fields& fields) {
    key.remove_prefix(std::min(key.size(), kNodePrefix.size()));
    unsigned position = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), position);
    const auto used = static_cast<std::size_t>(end - key.data());
    if (error != std::errc() || used >= key.size() || key[used] != '.') return;
    fields[position].emplace_back(key.substr(used + 1));
}

Result<Fields> list_fields(cmap_handle_t handle) {
    cmap_iter_handle_t keys = 0;
    CFSGATE_TRY(
        check_corosync(cmap_iter_init(handle, kNodePrefix.data(), &keys), "cmap_iter_init"));
    Fields fields;
    std::array<char, CMAP_KEYNAME_MAXLEN + 1> key{};
    cs_error_t answer = CS_OK;
    while ((answer = cmap_iter_next(handle, keys, key.data(), nullptr, nullptr)) == CS_OK) {
        add_key(key.data(), fields);
    }
    cmap_iter_finalize(handle, keys);
    if (answer != CS_ERR_NO_SECTIONS) CFSGATE_TRY(check_corosync(answer, "cmap_iter_next"));
    return fields;
}

/// Nothing if the node lacks an id or every name.
std::optional<ConfiguredNode> read_node(cmap_handle_t handle, unsigned position,
                                        const std::vector<std::string>& fields) {
    const std::string prefix = std::string(kNodePrefix) + std::to_string(position) + ".";
    const auto id = read_u32(handle, prefix + "nodeid");
    std::map<unsigned, std::string> addresses;
    for (const auto& field : fields) {
        const auto link = link_of(field);
        if (!link) continue;
        if (auto address = read_string(handle, prefix + field)) {
            addresses[*link] = std::move(*address);
        }
    }
    auto name = read_string(handle, prefix + "name");
    if (!name && addresses.count(0) > 0) name = addresses[0];
    if (!id || !name) return std::nullopt;

    ConfiguredNode node;
    node.id = NodeId(*id);
    node.name = std::move(*name);
    node.votes = read_u32(handle, prefix + "quorum_votes").value_or(1);
    for (auto& [link, address] : addresses) node.addresses.push_back(std::move(address));
    return node;
}

}  // namespace

Result<std::unique_ptr<NodeList>> NodeList::connect(std::function<void()> on_change) {
    auto handle = std::make_unique<Handle>();
    CFSGATE_TRY(check_corosync(cmap_initialize(&handle->handle), "cmap_initialize"));
    handle->open = true;
    const cmap_handle_t map = handle->handle;
    int descriptor = -1;
    CFSGATE_TRY(check_corosync(cmap_fd_get(map, &descriptor), "cmap_fd_get"));

    std::unique_ptr<NodeList> made(new NodeList(std::move(handle), std::move(on_change)));
    made->descriptor_ = descriptor;
    const auto notify = [](cmap_handle_t, cmap_track_handle_t, std::int32_t, const char*,
                           cmap_notify_value, cmap_notify_value,
                           void* list) noexcept { static_cast<NodeList*>(list)->changed_ = true; };
    cmap_track_handle_t track = 0;  // ends with the handle
    CFSGATE_TRY(
        check_corosync(cmap_track_add(map, kNodePrefix.data(), kAnyChange | CMAP_TRACK_PREFIX,
                                      notify, made.get(), &track),
                       "cmap_track_add"));
    CFSGATE_TRY(check_corosync(
        cmap_track_add(map, "totem.config_version", kAnyChange, notify, made.get(), &track),
        "cmap_track_add"));
    return made;
}

NodeList::NodeList(std::unique_ptr<Handle> handle, std::function<void()> on_change)
    : handle_(std::move(handle)), on_change_(std::move(on_change)) {}

NodeList::~NodeList() = default;

Status NodeList::dispatch() {
    CFSGATE_TRY(check_corosync(cmap_dispatch(handle_->handle, CS_DISPATCH_ALL), "cmap_dispatch"));
    if (changed_) {
        changed_ = false;
        on_change_();
    }
    return {};
}

Result<ClusterConfig> NodeList::read() const {
    const cmap_handle_t map = handle_->handle;
    const Fields fields = CFSGATE_TRY(list_fields(map));
    ClusterConfig config;
    auto name = read_string(map, "totem.cluster_name");
    if (!name) return fail(Errno::NotFound, "corosync.conf has no cluster_name");
    config.cluster_name = std::move(*name);
    config.config_version = read_u64(map, "totem.config_version").value_or(0);
    for (const auto& [position, of_node] : fields) {
        if (auto node = read_node(map, position, of_node)) config.nodes.push_back(std::move(*node));
    }
    config.self = NodeId(read_u32(map, "runtime.votequorum.this_node_id").value_or(0));
    config.token_ms = read_u32(map, "runtime.config.totem.token").value_or(0);
    config.consensus_ms = read_u32(map, "runtime.config.totem.consensus").value_or(0);
    return config;
}

}  // namespace cfsgate::replication
