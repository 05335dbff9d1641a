// SPDX-License-Identifier: Apache-2.0
// The text of an export rule, from the configuration.
#include <cstdint>
#include <string>

#include "gateway/nfs/export_rules.h"
#include "store/model/path.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cfsgate::gateway::nfs;
    using cfsgate::fuzz::expect;

    const std::string text(reinterpret_cast<const char*>(data), size);
    const auto rule = parse_export_rule(text);
    if (!rule) {
        expect(rule.error().code == cfsgate::Errno::Invalid, "a rule is refused as Invalid");
        expect(!rule.error().detail.empty(), "a rule is refused with a reason");
        return 0;
    }
    const std::string network = rule->network.to_string();
    const auto again = Network::parse(network);
    expect(again && *again == rule->network, "a network reads as it was written");
    expect(!rule->network.address().is_loopback(), "no rule is about this host");
    for (const std::string& path : rule->restriction.private_paths) {
        expect(cfsgate::is_private_path(path), "a private path is private");
    }
    const ExportRules rules({*rule});
    expect(rules.find(rule->network.address()) != nullptr, "a rule holds its own address");
    return 0;
}
