// SPDX-License-Identifier: Apache-2.0
// What the journal keeps of a reply, read back at a start.
#include <cstdint>
#include <string>

#include "gateway/nfs/reply_cache.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cfsgate::gateway::nfs;
    using cfsgate::fuzz::expect;

    const std::string bytes(reinterpret_cast<const char*>(data), size);
    const auto note = decode_reply_note(bytes);
    if (!note) {
        expect(note.error().code == cfsgate::Errno::BadMessage, "a bad note is a BadMessage");
        return 0;
    }
    expect(encode_reply_note(*note) == bytes, "a note has one form");
    return 0;
}
