// SPDX-License-Identifier: Apache-2.0
// The procedures of NLM 4 and NSM 1, against a small tree and a real lock table.
//
// Procedures 0-23 are NLM's, 24-30 NSM's. The input: nfs_input.h.
#include <array>
#include <cstdint>
#include <future>
#include <set>
#include <string>
#include <string_view>

#include "gateway/nfs/connection.h"
#include "gateway/nfs/lock_manager.h"
#include "tests/fuzz/expect.h"
#include "tests/fuzz/nfs_input.h"

namespace {

using namespace cfsgate;
using namespace cfsgate::gateway;
using namespace cfsgate::gateway::nfs;
using fuzz::Call;
using fuzz::expect;

constexpr std::size_t kCallsMax = 12;
constexpr std::uint32_t kNlmProcedures = 24;
constexpr std::uint32_t kAllProcedures = kNlmProcedures + 7;
constexpr std::uint32_t kXid = 0x01020304;

bool is_nlm(const Call& call) { return call.procedure < kNlmProcedures; }

template <class T>
bool decodes(std::string_view bytes) {
    return Decoded<T>::whole(bytes).has_value();
}

bool result_decodes(const Call& call, std::string_view result) {
    if (!is_nlm(call)) {
        switch (call.procedure - kNlmProcedures) {
            case SM_STAT:
            case SM_MON: return decodes<sm_stat_res>(result);
            case SM_UNMON:
            case SM_UNMON_ALL: return decodes<sm_stat>(result);
            default: return result.empty();
        }
    }
    switch (call.procedure) {
        case NLMPROC4_TEST: return decodes<nlm4_testres>(result);
        case NLMPROC4_LOCK:
        case NLMPROC4_NM_LOCK:
        case NLMPROC4_CANCEL:
        case NLMPROC4_UNLOCK:
        case NLMPROC4_GRANTED: return decodes<nlm4_res>(result);
        case NLMPROC4_SHARE:
        case NLMPROC4_UNSHARE: return decodes<nlm4_shareres>(result);
        default: return result.empty();
    }
}

/// By its own name, each client can free what it holds.
void note_client(const Call& call, std::set<std::string>& names) {
    const std::string copy = call.arguments;
    if (call.procedure != NLMPROC4_LOCK && call.procedure != NLMPROC4_LOCK_MSG &&
        call.procedure != NLMPROC4_NM_LOCK) {
        return;
    }
    const auto arguments = Decoded<nlm4_lockargs>::whole(copy);
    if (arguments) names.insert((*arguments)->alock.caller_name);
}

/// Nobody but unrestricted root may have a lock on it.
void check_secret(const fuzz::SmallTree& tree, const Call& call, std::string_view result) {
    if (call.by_root()) return;
    if (call.procedure != NLMPROC4_LOCK && call.procedure != NLMPROC4_NM_LOCK) return;
    const std::string copy = call.arguments;
    const auto arguments = Decoded<nlm4_lockargs>::whole(copy);
    const netobj& handle = (*arguments)->alock.fh;
    constexpr std::uint8_t kSecret = 6;
    if (std::string_view(handle.n_bytes, handle.n_len) != tree.handle(kSecret)) return;
    const auto answer = Decoded<nlm4_res>::whole(result);
    expect((*answer)->stat.stat != NLM4_GRANTED && (*answer)->stat.stat != NLM4_BLOCKED,
           "a private file is locked");
}

Reply outcome_of(const Change& change) {
    std::promise<Reply> answer;
    change.run("", [&](Reply reply) { answer.set_value(std::move(reply)); });
    return answer.get_future().get();
}

class Export {
public:
    explicit Export(const fuzz::SmallTree& tree)
        : tree_(tree),
          connection_(1, UniqueFd(), take(SocketAddress::parse("127.0.0.1:700")),
                      LocalPeer{0, true, nullptr}, RecordLimits(), SteadyTime()) {
        LockManagerOptions options;
        options.grace = std::chrono::seconds(0);
        tree_.adapter()->locks = LockManager::make(tree_.adapter()->files, options, null_logger());
    }
    ~Export() {
        tree_.adapter()->locks->stop();
        tree_.adapter()->locks.reset();
    }
    Export(const Export&) = delete;
    Export& operator=(const Export&) = delete;

    void run(const Call& call) {
        Request request;
        request.xid = kXid;
        request.procedure = is_nlm(call) ? call.procedure : call.procedure - kNlmProcedures;
        request.client = 1;
        request.address = "127.0.0.1";
        request.as = fuzz::served_as(call.caller);
        request.from = &connection_;
        const std::string copy = call.arguments;  // reading past it shows
        request.arguments = copy;
        note_client(call, names_);
        const Answer answer =
            is_nlm(call) ? call_nlm4(tree_.adapter(), request) : call_nsm(tree_.adapter(), request);
        if (const auto* reply = std::get_if<Reply>(&answer)) check_reply(call, *reply);
        if (const auto* change = std::get_if<Change>(&answer)) {
            check_reply(call, outcome_of(*change));
        }
    }

    /// What clients have got goes with them, and nothing else is left.
    void check_end() {
        LockManager& locks = *tree_.adapter()->locks;
        for (const std::string& name : names_) locks.free_all(connection_.lock_client(name));
        for (std::uint8_t index = 0; index < 12; ++index) {
            LockWords words;
            words.client = connection_.lock_client("another");
            words.handle = tree_.handle(index);
            const auto id = tree_.adapter()->id_of(
                {{static_cast<u_int>(words.handle.size()), words.handle.data()}});
            if (!id) continue;
            words.file = *id;
            words.owner = "o";
            words.exclusive = true;
            expect(!locks.test(words), "a lock is left that nobody holds");
        }
    }

private:
    static SocketAddress take(Result<SocketAddress> address) {
        expect(address.has_value(), "an address");
        return *address;
    }

    void check_reply(const Call& call, const Reply& reply) {
        const std::string header = gateway::nfs::accepted_reply(kXid);
        const std::string whole = reply.head + reply.data;
        expect(whole.starts_with(header), "a reply begins with its header");
        const auto result = std::string_view(whole).substr(header.size());
        expect(result_decodes(call, result), "a result decodes");
        if (is_nlm(call)) check_secret(tree_, call, result);
    }

    const fuzz::SmallTree& tree_;
    Connection connection_;
    std::set<std::string> names_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static fuzz::SmallTree tree;
    std::string_view input(reinterpret_cast<const char*>(data), size);
    tree.reset();
    Export served(tree);
    for (std::size_t i = 0; i < kCallsMax; ++i) {
        const auto call = fuzz::take_call(tree, input, kAllProcedures);
        if (!call) break;
        served.run(*call);
    }
    served.check_end();
    return 0;
}
