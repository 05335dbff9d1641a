// SPDX-License-Identifier: Apache-2.0
// A stream of bytes as a client sends it: records, RPC headers, credentials.
//
// The first byte says how the stream is cut, and under which limits it is read: whatever the cuts,
// the same records must come out.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/nfs/record_reader.h"
#include "gateway/nfs/rpc.h"
#include "tests/fuzz/expect.h"

namespace {

using namespace cfsgate::gateway::nfs;
using cfsgate::fuzz::expect;

struct Read {
    std::vector<std::string> records;
    bool failed = false;

    friend bool operator==(const Read&, const Read&) = default;
};

Read read_stream(std::string_view stream, std::size_t piece, RecordLimits limits) {
    RecordReader reader(limits);
    Read result;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
        const std::string copy(stream.substr(at, piece));  // reading past it shows
        std::string_view input = copy;
        while (!input.empty()) {
            const auto record = reader.next(input);
            if (!record) {
                result.failed = true;
                return result;
            }
            if (!*record) break;
            expect((*record)->size() <= limits.bytes, "a record is longer than the limit");
            result.records.emplace_back(**record);
        }
        expect(reader.held_bytes() <= 2 * limits.bytes + 4096, "the reader holds too much");
    }
    return result;
}

void check_refusal(const RpcRefusal& refusal, std::string_view record) {
    if (refusal.reply.empty()) return;
    const auto reply = Decoded<rpc2_reply>::whole(refusal.reply);
    expect(reply.has_value(), "a refusal does not decode");
    std::string_view rest = record;
    const auto start = Decoded<rpc2_start>::front(rest);
    expect(start.has_value() && (*start)->xid == (*reply)->xid, "a refusal of another call");
    expect((*reply)->body.stat == RPC2_MSG_DENIED, "a refusal that accepts");
}

void check_record(std::string_view record) {
    const auto parsed = parse_call(record);
    if (const auto* refusal = std::get_if<RpcRefusal>(&parsed)) {
        return check_refusal(*refusal, record);
    }
    const auto& call = std::get<RpcCall>(parsed);
    expect(call.credential.size() <= RPC2_AUTH_BYTES, "a credential is longer than allowed");
    expect(record.ends_with(call.arguments), "the arguments are not the record's end");
    const auto claim = parse_auth_sys(call.credential);
    if (!claim) return;
    expect(claim->gids.size() <= RPC2_GROUPS, "more groups than allowed");
    expect(claim->machine.size() <= RPC2_MACHINE_NAME, "a machine's name longer than allowed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
    RecordLimits limits;
    if ((data[0] & 0x80) != 0) limits = {64, 4};
    const std::size_t piece = std::max<std::size_t>(data[0] & 0x7f, 1);
    const Read whole = read_stream(stream, std::max<std::size_t>(stream.size(), 1), limits);
    expect(read_stream(stream, piece, limits) == whole, "the cuts of the stream matter");
    for (const std::string& record : whole.records) check_record(record);
    check_record(stream);
    return 0;
}
