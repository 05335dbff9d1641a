// SPDX-License-Identifier: Apache-2.0
// corosync.conf, as far as `doctor` looks at it. No I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/base/result.h"

namespace cfsgate::clients {

/// `name { key: value ... section { ... } }`
struct ConfSection {
    std::string name;
    std::vector<std::pair<std::string, std::string>> values;
    std::vector<ConfSection> sections;

    /// The first one of this name; an empty one if there is none.
    const ConfSection& section(std::string_view wanted) const;
    /// The last one of this key; `fallback` if there is none.
    std::string value(std::string_view key, std::string_view fallback = "") const;
    /// The same; also `fallback` where it is no number.
    std::uint64_t number(std::string_view key, std::uint64_t fallback) const;
};

/// The whole text as one section without a name. Braces may stand anywhere in a line, which
/// corosync itself is stricter about; `#` begins a comment. Errors: Invalid, with the line.
Result<ConfSection> parse_corosync_conf(std::string_view text);

struct CorosyncSettings {
    std::string cluster_name;
    std::uint64_t config_version = 0;
    std::vector<std::string> node_names;  ///< one for each node, empty for one without a name
    std::uint64_t token_ms = 0;           ///< as it counts for this number of nodes
    std::uint64_t consensus_ms = 0;
    bool encrypted = false;
    bool key_in_text = false;  ///< `key`, in place of a file
    std::string key_file;
};

/// With corosync's own defaults for what is not there.
CorosyncSettings corosync_settings(const ConfSection& conf);

}  // namespace cfsgate::clients
