// SPDX-License-Identifier: Apache-2.0
// The formats are those that existing clients parse, byte for byte: docs/virtual-files.md.
#include "gateway/virtual_files.h"

namespace cfsgate::gateway {
namespace {

constexpr std::size_t kLogEntriesShown = 50;

/// Names and addresses come from other nodes; what would break the text is left out.
std::string in_json(std::string_view text) {
    std::string clean;
    for (const char c : text) {
        if (c >= ' ' && c <= '~' && c != '"' && c != '\\') clean.push_back(c);
    }
    return clean;
}

}  // namespace

std::string VirtualFiles::text(VirtualEntry entry) const {
    const std::string node = "nodes/" + options_.node_name;
    switch (entry) {
        case VirtualEntry::Local: return node;
        case VirtualEntry::QemuServer: return node + "/qemu-server";
        case VirtualEntry::OpenVz: return node + "/openvz";
        case VirtualEntry::Lxc: return node + "/lxc";
        case VirtualEntry::Version: return version_text();
        case VirtualEntry::Members: return members_text();
        case VirtualEntry::VmList: return vm_list_text();
        case VirtualEntry::Rrd: return {};  // no metrics come in without the IPC service
        case VirtualEntry::ClusterLog: return log_.to_json(kLogEntriesShown);
        case VirtualEntry::Debug:
            return options_.debug_enabled && options_.debug_enabled() ? "1\n" : "0\n";
    }
    return {};
}

std::string VirtualFiles::version_text() const {
    std::string text = "{\n";
    const auto line = [&text](std::string_view key, std::uint64_t value) {
        text += "\"" + std::string(key) + "\": " + std::to_string(value) + ",\n";
    };
    line("starttime", options_.start_time);
    const auto cluster = options_.cluster ? options_.cluster() : std::nullopt;
    line("clinfo", cluster ? cluster->info_version : 0);
    line("vmlist", store_.guests().list().version);
    for (std::size_t i = 0; i < store::kObservedPaths.size(); ++i) {
        line(store::kObservedPaths[i], store_.change_counters().get(i));
    }
    text += "\"kvstore\": {\n\"" + options_.node_name + "\": {\n}\n}\n}\n";
    return text;
}

std::string VirtualFiles::members_text() const {
    const auto cluster = options_.cluster ? options_.cluster() : std::nullopt;
    std::string text = "{\n\"nodename\": \"" + options_.node_name + "\",\n\"version\": ";
    if (!cluster || cluster->name.empty()) {
        return text + std::to_string(cluster ? cluster->info_version : 0) + "\n}\n";
    }
    text += std::to_string(cluster->info_version) + ",\n\"cluster\": { \"name\": \"" +
            in_json(cluster->name) + "\", \"version\": " + std::to_string(cluster->config_version) +
            ", \"nodes\": " + std::to_string(cluster->nodes.size()) +
            ", \"quorate\": " + (cluster->quorate ? "1" : "0") + " },\n\"nodelist\": {\n";
    const char* separator = "";
    for (const auto& node : cluster->nodes) {
        text += separator;
        text += "  \"" + in_json(node.name) + "\": { \"id\": " + std::to_string(node.id.value()) +
                ", \"online\": " + (node.online ? "1" : "0");
        if (!node.ip.empty()) text += ", \"ip\": \"" + in_json(node.ip) + "\"";
        text += "}";
        separator = ",\n";
    }
    return text + "\n  }\n}\n";
}

std::string VirtualFiles::vm_list_text() const {
    const auto listing = store_.guests().list();
    std::string text = "{\n\"version\": " + std::to_string(listing.version);
    if (listing.guests.empty()) return text + "\n\n}\n";
    text += ",\n\"ids\": {\n";
    const char* separator = "";
    for (const auto& [vmid, guest] : listing.guests) {
        text += separator;
        text += "\"" + std::to_string(vmid) + "\": { \"node\": \"" + guest.node +
                "\", \"type\": \"" + std::string(to_string(guest.type)) +
                "\", \"version\": " + std::to_string(guest.version) + " }";
        separator = ",\n";
    }
    return text + "}\n\n}\n";
}

}  // namespace cfsgate::gateway
