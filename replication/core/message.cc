// SPDX-License-Identifier: Apache-2.0
#include "replication/core/message.h"

#include "store/base/bytes.h"

namespace cfsgate::replication {
namespace {

void put_header(ByteWriter& out, std::uint16_t type, std::uint16_t subtype, std::uint32_t protocol,
                std::uint32_t time) {
    out.put(type);
    out.put(subtype);
    out.put(protocol);
    out.put(time);
    out.put(std::uint32_t{0});
}

Epoch take_epoch(ByteReader& in) {
    Epoch epoch;
    epoch.counter = in.take<std::uint32_t>();
    epoch.time = in.take<std::uint32_t>();
    epoch.maker.node = NodeId(in.take<std::uint32_t>());
    epoch.maker.pid = in.take<std::uint32_t>();
    return epoch;
}

}  // namespace

Result<Message> decode_message(std::string_view bytes, std::uint32_t protocol) {
    ByteReader in(bytes);
    const auto type = in.take<std::uint16_t>();
    const auto subtype = in.take<std::uint16_t>();
    const auto version = in.take<std::uint32_t>();
    const auto time = in.take<std::uint32_t>();
    in.take<std::uint32_t>();  // reserved
    if (in.failed()) return fail(Errno::BadMessage, "message header cut short");
    if (version > protocol) return Message(NewerProtocol());
    if (version < protocol) return Message(OlderProtocol());
    if (type == static_cast<std::uint16_t>(MessageType::Normal)) {
        NormalMessage message{subtype, time, in.take<std::uint64_t>(), {}};
        if (in.failed()) return fail(Errno::BadMessage, "normal message header cut short");
        message.body = in.take_rest();
        return Message(std::move(message));
    }
    SyncMessage message{type, time, take_epoch(in), {}};
    if (in.failed()) return fail(Errno::BadMessage, "sync message header cut short");
    message.body = in.take_rest();
    return Message(std::move(message));
}

std::string encode_message(const NormalMessage& message, std::uint32_t protocol) {
    ByteWriter out;
    put_header(out, static_cast<std::uint16_t>(MessageType::Normal), message.subtype, protocol,
               message.time);
    out.put(message.count);
    out.put_bytes(message.body);
    return out.take();
}

std::string encode_message(const SyncMessage& message, std::uint32_t protocol) {
    ByteWriter out;
    put_header(out, message.type, 0, protocol, message.time);
    out.put(message.epoch.counter);
    out.put(message.epoch.time);
    out.put(message.epoch.maker.node.value());
    out.put(message.epoch.maker.pid);
    out.put_bytes(message.body);
    return out.take();
}

}  // namespace cfsgate::replication
