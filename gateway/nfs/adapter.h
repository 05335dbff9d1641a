// SPDX-License-Identifier: Apache-2.0
// What the procedures have in common: a request, an answer, and the state beside the tree.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "gateway/file_system.h"
#include "gateway/nfs/caller.h"
#include "gateway/nfs/exclusive_creates.h"
#include "gateway/nfs/reply_cache.h"
#include "gateway/nfs/rpc.h"
#include "gateway/nfs/translate.h"

namespace cfsgate::gateway::nfs {

inline constexpr std::string_view kExportPath = "/etc/pve";
/// Of READ, WRITE and the listings.
inline constexpr std::uint32_t kTransferBytesMax = 1U << 20;

/// Whom a request is served as. Immutable, so that changes in work may hold on to it.
class ServedAs final : public GroupSource {
public:
    explicit ServedAs(Identity identity) : identity_(std::move(identity)) {}

    std::vector<gid_t> groups_of(const Caller&) const override { return identity_.groups; }
    Caller caller() const { return {identity_.uid, identity_.gid, 0, this, identity_.restriction}; }
    const Identity& identity() const { return identity_; }

private:
    Identity identity_;
};
using ServedAsPtr = std::shared_ptr<const ServedAs>;

struct Connection;
class LockManager;

struct Request {
    std::uint32_t xid = 0;
    std::uint32_t procedure = 0;
    std::uint64_t client = 0;  ///< of the connection
    std::string_view address;  ///< of the peer, for lists; borrowed like the arguments
    ServedAsPtr as;
    std::string_view arguments;        ///< borrowed until the procedure returns
    const Connection* from = nullptr;  ///< borrowed likewise

    Caller caller() const { return as->caller(); }
};

/// A whole reply with its RPC header; `data`, where there is some, follows `head` and a padding to
/// four bytes follows it, so that file data is not copied once more.
struct Reply {
    std::string head;
    std::string data;
    std::uint32_t status = NFS3_OK;  ///< for the counters
};

/// Where a change's reply goes; called once, on any thread.
using Answered = std::function<void(Reply)>;

/// A call that is answered later. It runs on a thread that may wait.
struct Change {
    /// Whether executing it once more can do no harm, so that "try again later" is a fit answer
    /// while the outcome is not known.
    bool harmless_to_repeat = false;
    /// Whether a repeat must get the first answer.
    bool remembered = true;
    std::function<void(const RequestKey& key, Answered answered)> run;
    /// The whole reply that says "try again later".
    std::function<std::string()> later;
};

struct BadArguments {};
struct UnknownProcedure {};
using Answer = std::variant<Reply, Change, BadArguments, UnknownProcedure>;

/// The texts of virtual files as each client last saw them: size and content of one moment. On the
/// loop's thread only.
class VirtualTexts {
public:
    using Time = std::chrono::steady_clock::time_point;

    /// The text of a moment ago, or of now.
    std::shared_ptr<OpenFile> get(FileSystem& files, std::uint64_t client, FileId id, Time now);
    void drop_old(Time now);

private:
    struct Text {
        std::shared_ptr<OpenFile> file;
        Time made;
    };
    std::map<std::pair<std::uint64_t, FileId>, Text> texts_;
};

/// The state of the export. Outlives every change in work.
struct Adapter {
    Adapter(FileSystem& served, ExportRules export_rules);

    FileSystem& files;
    const ExportRules rules;  ///< identities point into them
    const std::uint64_t file_system;
    ExclusiveCreates exclusive_creates;
    std::shared_ptr<LockManager> locks;
    VirtualTexts virtual_texts;
    /// Another one in each process: all that was answered UNSTABLE might be gone. Nothing ever is.
    std::array<char, NFS3_WRITEVERFSIZE> write_verifier{};
    std::vector<std::string> networks;  ///< of the export rules, for EXPORT
    /// Host and directory of what is mounted, as far as clients say; for DUMP.
    std::map<std::string, std::string> mounted;

    /// Errors: as decode_handle().
    Result<FileId> id_of(const nfs_fh3& handle) const;
    std::string handle_of(FileId id) const;
    /// Of a virtual file those of its kept text.
    Attributes as_seen(const Request& request, const Attributes& attributes);
    Result<Attributes> attributes(const Request& request, FileId id);
    post_op_attr post_op(const Request& request, FileId id);
};
using AdapterPtr = std::shared_ptr<Adapter>;

Answer call_nfs3(const AdapterPtr& adapter, const Request& request);
Answer call_mount3(const AdapterPtr& adapter, const Request& request);
Answer call_nlm4(const AdapterPtr& adapter, const Request& request);
Answer call_nsm(const AdapterPtr& adapter, const Request& request);
/// The reply to a datagram, empty for none. Only SM_NOTIFY comes by them.
std::string answer_nsm_datagram(const AdapterPtr& adapter, const SocketAddress& from,
                                std::string_view bytes);
/// "GETATTR", for lists and logs.
std::string_view nfs3_procedure_name(std::uint32_t procedure);
std::string_view nfs3_status_name(std::uint32_t status);

// --- For the procedures ---

/// The reply of a value.
template <class T>
std::string whole_reply(std::uint32_t xid, const T& value) {
    std::string out = accepted_reply(xid);
    // What cannot be encoded cannot come out of a procedure: its texts come from the tree.
    if (!append_xdr(value, out)) return error_reply(xid, RPC2_SYSTEM_ERR);
    return out;
}
template <class T>
Reply reply_with(std::uint32_t xid, std::uint32_t status, const T& value) {
    return {whole_reply(xid, value), {}, status};
}

}  // namespace cfsgate::gateway::nfs
