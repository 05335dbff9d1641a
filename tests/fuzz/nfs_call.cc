// SPDX-License-Identifier: Apache-2.0
// The procedures of NFSv3 and MOUNT, against a small tree.
//
// Procedures 0-21 are NFSv3's, 22-27 MOUNT's. The input: nfs_input.h.
#include <array>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/nfs/procedures.h"
#include "tests/fuzz/expect.h"
#include "tests/fuzz/nfs_input.h"
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

using fuzz::big_endian;
using fuzz::Call;
using fuzz::served_as;

bool is_nfs(const Call& call) { return call.procedure < kNfsProcedures; }

bool may_change(std::uint8_t caller) { return caller % 5 == 0 || caller % 5 == 4; }

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
    if (is_nfs(call) && call.procedure != 0) {
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
    request.procedure = is_nfs(call) ? call.procedure : call.procedure - kNfsProcedures;
    request.client = 1;
    request.address = "192.0.2.1";
    request.as = served_as(call.caller);
    const std::string copy = call.arguments;  // reading past it shows
    request.arguments = copy;
    const Version before = tree.version();
    const Answer answer =
        is_nfs(call) ? call_nfs3(tree.adapter(), request) : call_mount3(tree.adapter(), request);
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
        const auto call = fuzz::take_call(tree, input, kAllProcedures);
        if (!call) break;
        run(tree, *call);
    }
    return 0;
}
