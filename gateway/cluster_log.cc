// SPDX-License-Identifier: Apache-2.0
#include "gateway/cluster_log.h"

#include <cstdio>

namespace cfsgate::gateway {
namespace {

constexpr std::size_t kEntriesMax = 1000;

std::string to_line(const LogEntry& entry) {
    std::string line = "{\"uid\": " + std::to_string(entry.uid);
    line += ", \"time\": " + std::to_string(entry.time);
    line += ", \"pri\": " + std::to_string(entry.priority);
    line += ", \"tag\": \"" + json_escape(entry.tag) + "\"";
    line += ", \"pid\": " + std::to_string(entry.pid);
    line += ", \"node\": \"" + json_escape(entry.node) + "\"";
    line += ", \"user\": \"" + json_escape(entry.user) + "\"";
    line += ", \"msg\": \"" + json_escape(entry.message) + "\"}";
    return line;
}

}  // namespace

std::string json_escape(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
            out += code;
        } else {
            out += c;
        }
    }
    return out;
}

void ClusterLog::add(LogEntry entry) {
    MutexLock lock(mutex_);
    entry.uid = ++last_uid_;
    entry.node = node_;
    entries_.push_back(std::move(entry));
    if (entries_.size() > kEntriesMax) entries_.pop_front();
}

std::string ClusterLog::to_json(std::size_t count) const {
    MutexLock lock(mutex_);
    std::string text = "{\n\"data\": [\n";
    std::size_t left = std::min(count, entries_.size());
    for (auto entry = entries_.rbegin(); left > 0; ++entry, --left) {
        text += to_line(*entry);
        text += left > 1 ? ",\n" : "\n";
    }
    text += "]\n}\n";
    return text;
}

}  // namespace cfsgate::gateway
