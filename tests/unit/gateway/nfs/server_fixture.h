// SPDX-License-Identifier: Apache-2.0
// A server on a real socket of this host, over a real store, and a client of root's.
#pragma once

#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "gateway/nfs/adapter.h"
#include "gateway/nfs/file_handle.h"
#include "gateway/nfs/server.h"
#include "tests/support/store_directory.h"
#include "tests/unit/gateway/nfs/holding_sequencer.h"
#include "tests/unit/gateway/nfs/nfs_client.h"

namespace cfsgate::gateway::nfs {

using test::Call;
using test::Credential;
using test::NfsClient;
using test::opaque;
using test::take;
using test::Wanted;
using test::where;
using test::word64;
using test::words;

inline constexpr gid_t kGroup = 33;

/// By number (RFC 1813, 3).
enum Procedure : std::uint32_t {
    kNull,
    kGetattr,
    kSetattr,
    kLookup,
    kAccess,
    kReadlink,
    kRead,
    kWrite,
    kCreate,
    kMkdir,
    kSymlink,
    kMknod,
    kRemove,
    kRmdir,
    kRename,
    kLink,
    kReaddir,
    kReaddirplus,
    kFsstat,
    kFsinfo,
    kPathconf,
    kCommit,
};

class ServerTest : public testing::Test {
protected:
    ServerTest() {
        options.node_name = "node1";
        options.www_data = kGroup;
        options.clock = [this] { return directory.now; };
        server_options.listen = {take(SocketAddress::parse("127.0.0.1:0"))};
        make_entry(MakeDirectory{"d"});
        make_file("d/f", "1234567");
        make_entry(MakeDirectory{"d/e"});
        make_entry(MakeDirectory{"priv"});
        make_file("priv/secret", "secret-content");
        make_entry(MakeDirectory{"nodes"});
        make_entry(MakeDirectory{"nodes/node1"});
    }
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "only root has reserved ports";
        start();
    }

    /// Everything anew over the same directory, as a new process does it.
    void start() {
        client.reset();
        server.reset();
        files.reset();
        sequencer.reset();
        store.reset();
        store = directory.open();
        sequencer = std::make_unique<HoldingSequencer>(
            replication::make_local_sequencer(*store, options.clock));
        files = std::make_unique<FileSystem>(*store, *sequencer, options, null_logger());
        start_server();
    }
    void start_server() {
        server.reset();
        server = take(Server::start(*files, server_options, null_logger()));
        connect();
    }
    void connect(std::uint16_t port = 600) {
        client.reset();
        client = std::make_unique<NfsClient>(address(), port);
    }
    SocketAddress address() const { return server->addresses().at(0); }

    // --- The tree ---

    void make_entry(const Operation& operation) {
        ASSERT_EQ(test::result_of(*store, operation, {NodeId(0), directory.now}), 0);
    }
    void make_file(const std::string& path, const std::string& content) {
        make_entry(CreateFile{path});
        WriteFile write;
        write.path = path;
        write.data = content;
        ASSERT_EQ(test::result_of(*store, write, {NodeId(0), directory.now}),
                  static_cast<int>(content.size()));
    }
    std::string handle(const std::string& path) const {
        return encode_handle(files->id(), take(files->resolve(path)));
    }
    std::uint64_t tree_version() const { return take(store->read())->head().version.value(); }
    std::string content(const std::string& path) const { return test::content_of(*store, path); }
    bool exists(const std::string& path) const { return test::exists_in(*store, path); }
    fattr3 attributes(const std::string& path) const {
        return to_fattr3(take(files->getattr(take(files->resolve(path)))), files->id());
    }

    // --- Calls ---

    Call make_call(std::uint32_t procedure, const std::string& arguments) {
        return {++xid, test::kNfs, 3, procedure, who, arguments};
    }
    /// The result of a call that the RPC layer accepts.
    std::string result_of(const Call& call) {
        const std::string reply = client->ask(call);
        const std::string header = words({call.xid, 1, 0, 0, 0, 0});
        EXPECT_TRUE(reply.starts_with(header)) << "procedure " << call.procedure;
        return reply.starts_with(header) ? reply.substr(header.size()) : "";
    }
    std::string result_of(std::uint32_t procedure, const std::string& arguments) {
        return result_of(make_call(procedure, arguments));
    }
    template <class Res>
    Decoded<Res> call(std::uint32_t procedure, const std::string& arguments) {
        return take(Decoded<Res>::whole(result_of(procedure, arguments)));
    }
    /// Of any procedure but NULL.
    nfsstat3 status_of(std::uint32_t procedure, const std::string& arguments) {
        const std::string result = result_of(procedure, arguments);
        std::string_view at = result;
        return static_cast<nfsstat3>(test::take_word(at));
    }

    template <class Condition>
    static bool wait_until(const Condition& condition) {
        for (int i = 0; i < 2000; ++i) {
            if (condition()) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return false;
    }

    test::StoreDirectory directory;
    std::unique_ptr<store::Store> store = directory.open();
    FileSystemOptions options;
    ServerOptions server_options;
    std::unique_ptr<HoldingSequencer> sequencer;
    std::unique_ptr<FileSystem> files;
    std::unique_ptr<Server> server;
    std::unique_ptr<NfsClient> client;
    std::uint32_t xid = 0x10000000;
    Credential who;
    const Credential user{true, 1000, 1000, {}};
    const Credential www_data{true, 33, kGroup, {}};
    const Credential member{true, 1000, 1000, {7, kGroup}};
};

inline std::string bytes_of(const nfs_fh3& handle) {
    return {handle.data.data_val, handle.data.data_len};
}

/// Attributes as words, so that two can be compared.
inline std::string encoded(const fattr3& attributes) { return take(encode_xdr(attributes)); }
inline std::string encoded(const post_op_attr& attributes) {
    return attributes.attributes_follow != FALSE ? encoded(attributes.post_op_attr_u.attributes)
                                                 : "none";
}

/// What weak cache data says of the state before: size, mtime, ctime.
inline std::string before_of(const fattr3& attributes) {
    return word64(attributes.size) + words({attributes.mtime.seconds, 0, attributes.ctime.seconds,
                                            attributes.ctime.nseconds});
}
inline std::string encoded_before(const wcc_data& wcc) {
    return wcc.before.attributes_follow != FALSE ? take(encode_xdr(wcc)).substr(4, 24) : "none";
}

}  // namespace cfsgate::gateway::nfs
