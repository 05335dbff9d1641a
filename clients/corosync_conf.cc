// SPDX-License-Identifier: Apache-2.0
#include "clients/corosync_conf.h"

#include <algorithm>
#include <charconv>

namespace cfsgate::clients {
namespace {

// corosync.conf(5)
constexpr std::uint64_t kTokenMs = 3000;
constexpr std::uint64_t kTokenCoefficientMs = 650;
constexpr std::uint64_t kTimeMsMax = 1000ULL * 60 * 60 * 24;  // so that sums do not overflow
constexpr const char* kKeyFile = "/etc/corosync/authkey";

std::string trimmed(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\v\f";
    const auto first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return "";
    return std::string(text.substr(first, text.find_last_not_of(kSpace) - first + 1));
}

/// Takes the text up to `separator` and the separator off `text`; all of it where there is none.
std::string_view cut(std::string_view& text, char separator) {
    const auto at = std::min(text.find(separator), text.size());
    const auto head = text.substr(0, at);
    text.remove_prefix(std::min(at + 1, text.size()));
    return head;
}

class Parser {
public:
    Status take_line(std::string_view line) {
        ++line_;
        line = line.substr(0, line.find('#'));
        while (!trimmed(line).empty()) CFSGATE_TRY(take_item(line));
        return {};
    }

    Result<ConfSection> finish() {
        if (open_.size() > 1) return wrong("'" + open_.back().name + " {' has no end");
        return std::move(open_.front());
    }

private:
    Status take_item(std::string_view& line) {
        const auto at = line.find_first_of(":{}");
        if (at == std::string_view::npos) return wrong("'" + trimmed(line) + "' has no value");
        const std::string word = trimmed(line.substr(0, at));
        const char separator = line[at];
        line.remove_prefix(at + 1);
        if (separator == '}') return close(word);
        if (word.empty()) return wrong("a name is missing");
        if (separator == '{') {
            open_.push_back({word, {}, {}});
            return {};
        }
        // An address of IPv6 has colons of its own; a brace may end the section.
        const std::string_view value = line.substr(0, line.find('}'));
        open_.back().values.emplace_back(word, trimmed(value));
        line.remove_prefix(value.size());
        return {};
    }

    Status close(const std::string& before) {
        if (!before.empty()) return wrong("'" + before + "' has no value");
        if (open_.size() == 1) return wrong("'}' without '{'");
        ConfSection done = std::move(open_.back());
        open_.pop_back();
        open_.back().sections.push_back(std::move(done));
        return {};
    }

    tl::unexpected<Error> wrong(const std::string& what) const {
        return fail(Errno::Invalid, "line " + std::to_string(line_) + ": " + what);
    }

    std::vector<ConfSection> open_{ConfSection()};  // from the outside in
    std::size_t line_ = 0;
};

/// Explicit values win over what `secauth` implies; only knet encrypts.
bool is_encrypted(const ConfSection& totem) {
    if (totem.value("transport", "knet") != "knet") return false;
    const bool implied = totem.value("secauth", "off") == "on";
    return totem.value("crypto_cipher", implied ? "aes256" : "none") != "none" ||
           totem.value("crypto_hash", implied ? "sha256" : "none") != "none";
}

std::uint64_t time_of(const ConfSection& totem, std::string_view key, std::uint64_t fallback) {
    return std::min(totem.number(key, fallback), kTimeMsMax);
}

}  // namespace

const ConfSection& ConfSection::section(std::string_view wanted) const {
    static const ConfSection kNone;
    const auto found = std::find_if(sections.begin(), sections.end(),
                                    [&](const ConfSection& one) { return one.name == wanted; });
    return found == sections.end() ? kNone : *found;
}

std::string ConfSection::value(std::string_view key, std::string_view fallback) const {
    const auto found = std::find_if(values.rbegin(), values.rend(),
                                    [&](const auto& one) { return one.first == key; });
    return found == values.rend() ? std::string(fallback) : found->second;
}

std::uint64_t ConfSection::number(std::string_view key, std::uint64_t fallback) const {
    const std::string text = value(key);
    std::uint64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    return read.ec == std::errc() && read.ptr == text.data() + text.size() ? number : fallback;
}

Result<ConfSection> parse_corosync_conf(std::string_view text) {
    Parser parser;
    while (!text.empty()) CFSGATE_TRY(parser.take_line(cut(text, '\n')));
    return parser.finish();
}

CorosyncSettings corosync_settings(const ConfSection& conf) {
    const ConfSection& totem = conf.section("totem");
    CorosyncSettings settings;
    settings.cluster_name = totem.value("cluster_name");
    settings.config_version = totem.number("config_version", 0);
    for (const ConfSection& node : conf.section("nodelist").sections) {
        if (node.name == "node") settings.node_names.push_back(node.value("name"));
    }
    const std::uint64_t nodes = settings.node_names.size();
    settings.token_ms = time_of(totem, "token", kTokenMs);
    if (nodes > 2) {
        settings.token_ms += time_of(totem, "token_coefficient", kTokenCoefficientMs) * (nodes - 2);
    }
    settings.consensus_ms = time_of(totem, "consensus", settings.token_ms * 6 / 5);
    settings.encrypted = is_encrypted(totem);
    settings.key_file = totem.value("keyfile");
    settings.key_in_text = settings.key_file.empty() && !totem.value("key").empty();
    if (settings.key_file.empty()) settings.key_file = kKeyFile;
    return settings;
}

}  // namespace cfsgate::clients
