// SPDX-License-Identifier: Apache-2.0
// The procedures of NFSv3 and MOUNT, against a small tree.
//
// An input is a series of calls, each: u8 procedure (0-21 NFSv3, 22-27 MOUNT, modulo) | u8 caller |
// u16 size of the arguments (big-endian) | arguments. In the arguments a word at a multiple of four
// may stand for a whole handle, so that depth is reached:
//   "HND" and an index: that of an entry of the tree, or a stale one (small_tree.h);
//   "FID" and any byte, then eight bytes: a well-formed handle of that file id.
#include <array>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/nfs/procedures.h"
#include "gateway/nfs/xdr_writer.h"
#include "tests/fuzz/expect.h"
#include "tests/fuzz/small_tree.h"

namespace {

using namespace cfsgate;
using namespace cfsgate::gateway;
using namespace cfsgate::gateway::nfs;
using fuzz::expect;

constexpr std::size_t kCallsMax = 8;
constexpr std::uint32_t kNfsProcedures = 22;
constexpr std::uint32_t kAllProcedures = kNfsProcedures + 6;
constexpr std::uint32_t kXid = 0x01020304;

struct Call {
    std::uint32_t procedure = 0;
    std::uint8_t caller = 0;
    std::string arguments;

    bool is_nfs() const { return procedure < kNfsProcedures; }
    bool by_root() const { return caller % 5 == 0; }
};

ServedAsPtr served_as(std::uint8_t caller) {
    static const Restriction kReadOnly{true, {}};
    static const Restriction kNoPrivate{false, {}};
    Identity identity;
    switch (caller % 5) {
        case 0: identity = {0, 0, {}, nullptr}; break;
        case 1: identity = {1000, 1000, {33}, nullptr}; break;
        case 2: break;  // nobody
        case 3: identity = {0, 0, {}, &kReadOnly}; break;
        default: identity = {0, 0, {}, &kNoPrivate}; break;
    }
    return std::make_shared<const ServedAs>(identity);
}

bool may_change(std::uint8_t caller) { return caller % 5 == 0 || caller % 5 == 4; }

std::uint64_t big_endian(std::string_view bytes) {
    std::uint64_t value = 0;
    for (const char byte : bytes) value = (value << 8) | static_cast<unsigned char>(byte);
    return value;
}

std::string with_handles(const fuzz::SmallTree& tree, std::string_view raw) {
    std::string out;
    XdrWriter writer(out);
    while (!raw.empty()) {
        const std::string_view word = raw.substr(0, 4);
        raw.remove_prefix(word.size());
        if (word.size() == 4 && word.starts_with("HND")) {
            writer.put_opaque(tree.handle(static_cast<std::uint8_t>(word[3])));
        } else if (word.starts_with("FID") && raw.size() >= 8) {
            writer.put_opaque(tree.handle_of(big_endian(raw.substr(0, 8))));
            raw.remove_prefix(8);
        } else {
            out.append(word);
        }
    }
    return out;
}

std::optional<Call> take_call(const fuzz::SmallTree& tree, std::string_view& input) {
    if (input.size() < 4) return {};
    Call call;
    call.procedure = static_cast<unsigned char>(input[0]) % kAllProcedures;
    call.caller = static_cast<std::uint8_t>(input[1]);
    const auto size = static_cast<std::size_t>(big_endian(input.substr(2, 2)));
    input.remove_prefix(4);
    call.arguments = with_handles(tree, input.substr(0, size));
    input.remove_prefix(std::min(size, input.size()));
    return call;
}

// --- What must be true of every answer ---

template <class T>
bool decodes(std::string_view bytes) {
    return Decoded<T>::whole(bytes).has_value();
}

bool result_decodes(const Call& call, std::string_view result) {
    constexpr std::array<bool (*)(std::string_view), kAllProcedures> kDecoders{
        [](std::string_view bytes) { return bytes.empty(); },
        decodes<GETATTR3res>,
        decodes<SETATTR3res>,
        decodes<LOOKUP3res>,
        decodes<ACCESS3res>,
        decodes<READLINK3res>,
        decodes<READ3res>,
        decodes<WRITE3res>,
        decodes<CREATE3res>,
        decodes<MKDIR3res>,
        decodes<SYMLINK3res>,
        decodes<MKNOD3res>,
        decodes<REMOVE3res>,
        decodes<RMDIR3res>,
        decodes<RENAME3res>,
        decodes<LINK3res>,
        decodes<READDIR3res>,
        decodes<READDIRPLUS3res>,
        decodes<FSSTAT3res>,
        decodes<FSINFO3res>,
        decodes<PATHCONF3res>,
        decodes<COMMIT3res>,
        [](std::string_view bytes) { return bytes.empty(); },
        decodes<mountres3>,
        decodes<MountList>,
        [](std::string_view bytes) { return bytes.empty(); },
        [](std::string_view bytes) { return bytes.empty(); },
        decodes<MountExports>,
    };
    return kDecoders.at(call.procedure)(result);
}

/// What a client asked to get at most, behind the status.
std::optional<std::size_t> size_asked_for(const Call& call) {
    if (call.procedure == 16) {
        const auto arguments = Decoded<READDIR3args>::whole(call.arguments);
        if (arguments) return (*arguments)->count;
    } else if (call.procedure == 17) {
        const auto arguments = Decoded<READDIRPLUS3args>::whole(call.arguments);
        if (arguments) return (*arguments)->maxcount;
    }
    return {};
}

void check_reply(const Call& call, const Reply& reply) {
    const std::string header = gateway::nfs::accepted_reply(kXid);
    std::string whole = reply.head + reply.data;
    whole.append(xdr_padding(reply.data.size()), '\0');
    expect(whole.starts_with(header), "a reply begins with its header");
    const auto result = std::string_view(whole).substr(header.size());
    expect(result_decodes(call, result), "a result decodes");
    if (call.is_nfs() && call.procedure != 0) {
        const std::uint64_t status = big_endian(result.substr(0, 4));
        expect(status == reply.status, "the status is counted as it is sent");
        expect(status != NFS3ERR_SERVERFAULT, "every error has a name");
        const auto most = size_asked_for(call);
        expect(!most || status != NFS3_OK || result.size() - 4 <= *most, "a listing fits");
    }
    if (call.by_root()) return;
    const bool named = call.arguments.find(fuzz::kSecretName) != std::string::npos;
    expect(named || result.find(fuzz::kSecretName) == std::string_view::npos,
           "a private name is told");
    expect(result.find(fuzz::kSecretContent) == std::string_view::npos, "private content is told");
}

Reply outcome_of(const Change& change) {
    std::promise<Reply> answer;
    change.run(change.remembered ? "key" : "",
               [&](Reply reply) { answer.set_value(std::move(reply)); });
    return answer.get_future().get();
}

void run(const fuzz::SmallTree& tree, const Call& call) {
    Request request;
    request.xid = kXid;
    request.procedure = call.is_nfs() ? call.procedure : call.procedure - kNfsProcedures;
    request.client = 1;
    request.address = "192.0.2.1";
    request.as = served_as(call.caller);
    const std::string copy = call.arguments;  // reading past it shows
    request.arguments = copy;
    const Version before = tree.version();
    const Answer answer =
        call.is_nfs() ? call_nfs3(tree.adapter(), request) : call_mount3(tree.adapter(), request);
    expect(!std::holds_alternative<UnknownProcedure>(answer), "every procedure is there");
    if (const auto* reply = std::get_if<Reply>(&answer)) check_reply(call, *reply);
    if (const auto* change = std::get_if<Change>(&answer)) {
        check_reply(call, {change->later(), {}, NFS3ERR_JUKEBOX});
        check_reply(call, outcome_of(*change));
    }
    expect(may_change(call.caller) || tree.version() == before, "nobody but root changes the tree");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static fuzz::SmallTree tree;
    std::string_view input(reinterpret_cast<const char*>(data), size);
    tree.reset();
    for (std::size_t i = 0; i < kCallsMax; ++i) {
        const auto call = take_call(tree, input);
        if (!call) break;
        run(tree, *call);
    }
    return 0;
}
