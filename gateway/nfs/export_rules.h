// SPDX-License-Identifier: Apache-2.0
// Whom outside of this host the tree is exported to, and how.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "gateway/file_system.h"
#include "gateway/nfs/socket_address.h"

namespace cfsgate::gateway::nfs {

/// Whose identity is replaced by nobody's.
enum class Squash : std::uint8_t {
    Root,  ///< uid 0 and gid 0
    All,   ///< everybody's
    None,  ///< nobody's: root there is root here
};

struct ExportRule {
    Network network;
    Squash squash = Squash::Root;
    bool high_ports = false;  ///< also connections from ports that need no privilege
    Restriction restriction;
};

/// "192.0.2.0/24", then in any order `ro` (the default) or `rw`, `squash=root` (the default),
/// `squash=all` or `squash=none`, `insecure` (connections from port 1024 up, too), and
/// `private=PATH[,PATH...]`: the private subtrees that are exported. Words are separated by blanks.
/// Errors: Invalid, with a text for whoever wrote the rule.
Result<ExportRule> parse_export_rule(std::string_view text);

/// Fixed once made. Threads: any.
class ExportRules {
public:
    ExportRules() = default;
    explicit ExportRules(std::vector<ExportRule> rules) : rules_(std::move(rules)) {}

    /// The rule with the smallest network that holds the address, the first one of several; null:
    /// none admits it. Valid as long as this object.
    const ExportRule* find(const IpAddress& address) const;
    bool empty() const { return rules_.empty(); }

private:
    std::vector<ExportRule> rules_;
};

}  // namespace cfsgate::gateway::nfs
