// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/export_rules.h"

#include <algorithm>
#include <string>

#include "store/model/path.h"

namespace cfsgate::gateway::nfs {
namespace {

/// The text before `separator`, taken off the front of `rest` with it.
std::string_view take_until(std::string_view& rest, std::string_view separator) {
    const auto end = std::min(rest.find_first_of(separator), rest.size());
    const auto front = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return front;
}

std::vector<std::string_view> split_words(std::string_view text) {
    std::vector<std::string_view> words;
    while (!text.empty()) {
        const auto word = take_until(text, " \t");
        if (!word.empty()) words.push_back(word);
    }
    return words;
}

tl::unexpected<Error> invalid(const std::string& what) { return fail(Errno::Invalid, what); }

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

/// In the one way that the tree's paths are written in.
Result<std::string> parse_private_path(std::string_view text) {
    std::string path;
    for (const auto component : path_components(text)) {
        if (component == "." || component == "..") {
            return invalid(quoted(text) + " is no plain path");
        }
        path = join_path(path, component);
    }
    if (!is_private_path(path)) {
        return invalid(quoted(text) + " is no private subtree, such as priv/acme or nodes/n1/priv");
    }
    return path;
}

Status parse_private_paths(std::string_view list, std::vector<std::string>& paths) {
    if (list.empty()) return invalid("private= names no subtree");
    while (!list.empty()) paths.push_back(CFSGATE_TRY(parse_private_path(take_until(list, ","))));
    return {};
}

Status parse_squash(std::string_view value, Squash& squash) {
    if (value == "root") {
        squash = Squash::Root;
    } else if (value == "all") {
        squash = Squash::All;
    } else if (value == "none") {
        squash = Squash::None;
    } else {
        return invalid("squash is root, all or none, not " + quoted(value));
    }
    return {};
}

/// What a rule says once at most.
enum class Topic : std::uint8_t { ReadOrWrite, Squash, Ports, Private };

/// One option into the rule; returns what it is about.
Result<Topic> parse_option(std::string_view word, ExportRule& rule) {
    if (word == "ro" || word == "rw") {
        rule.restriction.read_only = word == "ro";
        return Topic::ReadOrWrite;
    }
    if (word == "insecure") {
        rule.high_ports = true;
        return Topic::Ports;
    }
    std::string_view value = word;
    const auto key = take_until(value, "=");
    if (key == "squash") {
        CFSGATE_TRY(parse_squash(value, rule.squash));
        return Topic::Squash;
    }
    if (key == "private") {
        CFSGATE_TRY(parse_private_paths(value, rule.restriction.private_paths));
        return Topic::Private;
    }
    return invalid("unknown option " + quoted(word) +
                   "; there are ro, rw, squash=, insecure and private=");
}

Result<Network> parse_network(std::string_view word) {
    const Network network = CFSGATE_TRY(Network::parse(word));
    // A network around it, such as 0.0.0.0/0, is fine: loopback callers do not come by it.
    if (network.address().is_loopback()) {
        return invalid(quoted(word) + " is this host itself, which needs no rule: the system " +
                       "says who its callers are");
    }
    return network;
}

}  // namespace

Result<ExportRule> parse_export_rule(std::string_view text) {
    const auto words = split_words(text);
    if (words.empty()) return invalid("an export rule begins with an address or a network");
    ExportRule rule{.network = CFSGATE_TRY(parse_network(words.front())),
                    .restriction = {.read_only = true, .private_paths = {}}};
    std::vector<Topic> said;
    for (auto word = words.begin() + 1; word != words.end(); ++word) {
        const Topic topic = CFSGATE_TRY(parse_option(*word, rule));
        if (std::find(said.begin(), said.end(), topic) != said.end()) {
            return invalid(quoted(*word) + " says again what was said before");
        }
        said.push_back(topic);
    }
    return rule;
}

const ExportRule* ExportRules::find(const IpAddress& address) const {
    const ExportRule* best = nullptr;
    for (const ExportRule& rule : rules_) {
        if (!rule.network.contains(address)) continue;
        if (best == nullptr || rule.network.prefix_bits() > best->network.prefix_bits()) {
            best = &rule;
        }
    }
    return best;
}

}  // namespace cfsgate::gateway::nfs
