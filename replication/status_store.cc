// SPDX-License-Identifier: Apache-2.0
// Update: 256 bytes of key with NUL | value.   State: u32 bytes | u32 newest entry | entries.
#include "replication/status_store.h"

#include "store/base/bytes.h"

namespace cfsgate::replication {
namespace {

constexpr std::uint16_t kUpdate = 1;
constexpr std::size_t kKeyBytes = 256;
constexpr std::size_t kAddressBytesMax = 255;
constexpr std::uint32_t kLogBytes = 131072;
constexpr std::string_view kAddressKey = "nodeip";

}  // namespace

std::string StatusStore::state() {
    ByteWriter out;
    out.put(kLogBytes);
    std::string bytes = out.take();
    bytes.resize(kLogBytes);
    return bytes;
}

SubmitStatus StatusStore::tell_address(std::string_view ip) {
    std::string body(kAddressKey);
    body.resize(kKeyBytes);
    body += ip;
    body.push_back('\0');
    return {kUpdate, std::move(body)};
}

bool StatusStore::apply(const ApplyStatus& message) {
    if (message.subtype != kUpdate) return false;  // the log, and what nobody sends
    const std::string_view body = message.body;
    const auto end = body.substr(0, kKeyBytes).find('\0');
    if (body.size() < kKeyBytes || end == std::string_view::npos) {
        ++malformed_;
        return false;
    }
    if (body.substr(0, end) != kAddressKey) return false;
    const std::string_view value = body.substr(kKeyBytes);
    if (value.empty() || value.size() > kAddressBytesMax || value.back() != '\0') {
        ++malformed_;
        return false;
    }
    std::string& known = addresses_[message.from.node];
    const std::string_view address = value.substr(0, value.find('\0'));
    if (known == address) return false;
    known = address;
    return true;
}

std::string StatusStore::address_of(NodeId node) const {
    const auto found = addresses_.find(node);
    return found == addresses_.end() ? std::string() : found->second;
}

}  // namespace cfsgate::replication
