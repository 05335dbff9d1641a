// SPDX-License-Identifier: Apache-2.0
// Load on one NFSv3 server over libnfs's asynchronous API, on one connection with a fixed number of
// calls in flight. Prints one JSON object: operation -> depth -> calls per second.
//
//   nfs_load HOST NFS-PORT MOUNT-PORT EXPORT DIRECTORY SECONDS DEPTH[,DEPTH...] OPERATION...
//   nfs_load bare PORT       an event loop that does nothing but answer: the ceiling
//
// DIRECTORY, below the export, must hold the file `file` (at least 4096 bytes) and a directory
// `list` with 1000 files.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "clients/libnfs.h"

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& why) {
    std::fprintf(stderr, "nfs_load: %s\n", why.c_str());
    std::exit(1);
}

/// A file handle that outlives the reply it came in.
struct Handle {
    std::string bytes;
    nfs_fh3 fh() {
        nfs_fh3 out;
        out.data.data_len = static_cast<unsigned>(bytes.size());
        out.data.data_val = bytes.data();
        return out;
    }
};

struct Target {
    rpc_context* rpc = nullptr;
    Handle directory;
    Handle file;
    Handle list;
};

/// Calls in flight, and what to do when one is answered.
class Load {
public:
    Load(Target& to, std::string operation) : target(to), operation_(std::move(operation)) {}
    virtual ~Load() = default;

    /// Sends one call; its callback must be answered() with this as private data.
    virtual void send() = 0;
    /// Whether the reply was what was asked for, and what it counts.
    virtual bool check(void* data) = 0;
    virtual bool more() { return true; }

    double run(int depth, double seconds) {
        done_ = 0;
        in_flight_ = 0;
        const auto start = Clock::now();
        end_ = start +
               std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
        for (int i = 0; i < depth && more(); ++i) launch();
        while (in_flight_ > 0) {
            pollfd events{rpc_get_fd(target.rpc), 0, 0};
            events.events = static_cast<short>(rpc_which_events(target.rpc));
            if (::poll(&events, 1, 30000) <= 0) die(operation_ + ": no answer for 30 s");
            if (rpc_service(target.rpc, events.revents) != 0) die(rpc_get_error(target.rpc));
        }
        return static_cast<double>(done_) /
               std::chrono::duration<double>(Clock::now() - start).count();
    }

protected:
    static void answered(rpc_context*, int status, void* data, void* self) {
        auto* load = static_cast<Load*>(self);
        if (status != RPC_STATUS_SUCCESS) die(load->operation_ + ": the call failed");
        if (!load->check(data)) die(load->operation_ + ": the server refused");
        --load->in_flight_;
        ++load->done_;
        if (load->more() && Clock::now() < load->end_) load->launch();
    }
    void launch() {
        ++in_flight_;
        send();
    }
    Target& target;
    std::uint64_t done_ = 0;

private:
    std::string operation_;
    int in_flight_ = 0;
    Clock::time_point end_;
};

class NullLoad final : public Load {
    using Load::Load;
    void send() override { rpc_nfs3_null_async(target.rpc, answered, this); }
    bool check(void*) override { return true; }
};

class GetattrLoad final : public Load {
    using Load::Load;
    void send() override {
        GETATTR3args args{};
        args.object = target.file.fh();
        rpc_nfs3_getattr_async(target.rpc, answered, &args, this);
    }
    bool check(void* data) override { return static_cast<GETATTR3res*>(data)->status == NFS3_OK; }
};

class LookupLoad final : public Load {
    using Load::Load;
    void send() override {
        LOOKUP3args args{};
        args.what.dir = target.directory.fh();
        args.what.name = name_;
        rpc_nfs3_lookup_async(target.rpc, answered, &args, this);
    }
    bool check(void* data) override { return static_cast<LOOKUP3res*>(data)->status == NFS3_OK; }
    char name_[5] = "file";
};

class AccessLoad final : public Load {
    using Load::Load;
    void send() override {
        ACCESS3args args{};
        args.object = target.file.fh();
        args.access = 0x3f;
        rpc_nfs3_access_async(target.rpc, answered, &args, this);
    }
    bool check(void* data) override { return static_cast<ACCESS3res*>(data)->status == NFS3_OK; }
};

class ReadLoad final : public Load {
    using Load::Load;
    void send() override {
        READ3args args{};
        args.file = target.file.fh();
        args.count = 4096;
        rpc_nfs3_read_async(target.rpc, answered, &args, this);
    }
    bool check(void* data) override {
        auto* result = static_cast<READ3res*>(data);
        return result->status == NFS3_OK && result->READ3res_u.resok.count == 4096;
    }
};

/// One listing of 1000 entries per count, by as many calls as the server needs. A chain of calls
/// is one in flight.
class ListLoad final : public Load {
    using Load::Load;
    struct Chain {
        ListLoad* load;
        std::uint64_t cookie = 0;
        std::uint64_t entries = 0;
        std::array<char, NFS3_COOKIEVERFSIZE> verifier{};
    };
    void send() override { ask(new Chain{this, 0, 0, {}}); }
    bool check(void*) override { return true; }
    static void ask(Chain* chain) {
        READDIRPLUS3args args{};
        args.dir = chain->load->target.list.fh();
        args.cookie = chain->cookie;
        std::memcpy(args.cookieverf, chain->verifier.data(), chain->verifier.size());
        args.dircount = 256U << 10;
        args.maxcount = 256U << 10;
        rpc_nfs3_readdirplus_async(chain->load->target.rpc, listed, &args, chain);
    }
    static void listed(rpc_context* rpc, int status, void* data, void* self) {
        auto* chain = static_cast<Chain*>(self);
        auto* result = static_cast<READDIRPLUS3res*>(data);
        if (status != RPC_STATUS_SUCCESS || result->status != NFS3_OK) die("READDIRPLUS failed");
        auto& ok = result->READDIRPLUS3res_u.resok;
        for (entryplus3* entry = ok.reply.entries; entry != nullptr; entry = entry->nextentry) {
            ++chain->entries;
            chain->cookie = entry->cookie;
        }
        std::memcpy(chain->verifier.data(), ok.cookieverf, chain->verifier.size());
        if (ok.reply.eof == 0) return ask(chain);
        if (chain->entries < 1000) die("READDIRPLUS: entries are missing");
        Load* load = chain->load;
        delete chain;
        answered(rpc, RPC_STATUS_SUCCESS, data, load);
    }
};

class WriteLoad final : public Load {
    using Load::Load;
    void send() override {
        WRITE3args args{};
        args.file = target.file.fh();
        args.offset = (next_++ % 16) * 4096;
        args.count = 4096;
        args.stable = FILE_SYNC;
        args.data.data_len = 4096;
        args.data.data_val = data_.data();
        rpc_nfs3_write_async(target.rpc, answered, &args, this);
    }
    bool check(void* data) override {
        auto* result = static_cast<WRITE3res*>(data);
        return result->status == NFS3_OK && result->WRITE3res_u.resok.committed == FILE_SYNC;
    }
    std::uint64_t next_ = 0;
    std::string data_ = std::string(4096, 'x');
};

class CreateLoad final : public Load {
public:
    CreateLoad(Target& to, std::vector<std::string>& names) : Load(to, "CREATE"), names_(names) {}

private:
    void send() override {
        names_.push_back("c" + std::to_string(::getpid()) + "-" + std::to_string(names_.size()));
        CREATE3args args{};
        args.where.dir = target.directory.fh();
        args.where.name = names_.back().data();
        args.how.mode = GUARDED;
        rpc_nfs3_create_async(target.rpc, answered, &args, this);
    }
    bool check(void* data) override { return static_cast<CREATE3res*>(data)->status == NFS3_OK; }
    std::vector<std::string>& names_;
};

class RemoveLoad final : public Load {
public:
    RemoveLoad(Target& to, std::vector<std::string>& names) : Load(to, "REMOVE"), names_(names) {}

private:
    bool more() override { return !names_.empty(); }
    void send() override {
        REMOVE3args args{};
        args.object.dir = target.directory.fh();
        args.object.name = names_.back().data();
        rpc_nfs3_remove_async(target.rpc, answered, &args, this);
        names_.pop_back();
    }
    bool check(void* data) override { return static_cast<REMOVE3res*>(data)->status == NFS3_OK; }
    std::vector<std::string>& names_;
};

/// One call and its answer.
void wait_for(rpc_context* rpc, const bool& done) {
    while (!done) {
        pollfd events{rpc_get_fd(rpc), 0, 0};
        events.events = static_cast<short>(rpc_which_events(rpc));
        if (::poll(&events, 1, 30000) <= 0) die("no answer for 30 s");
        if (rpc_service(rpc, events.revents) != 0) die(rpc_get_error(rpc));
    }
}

Handle look_up(rpc_context* rpc, Handle& directory, std::string name) {
    struct Answer {
        bool done = false;
        Handle handle;
    } answer;
    LOOKUP3args args{};
    args.what.dir = directory.fh();
    args.what.name = name.data();
    rpc_nfs3_lookup_async(
        rpc,
        [](rpc_context*, int status, void* data, void* self) {
            auto* result = static_cast<LOOKUP3res*>(data);
            if (status != RPC_STATUS_SUCCESS || result->status != NFS3_OK) die("LOOKUP failed");
            auto* out = static_cast<Answer*>(self);
            const auto& fh = result->LOOKUP3res_u.resok.object.data;
            out->handle.bytes.assign(fh.data_val, fh.data_len);
            out->done = true;
        },
        &args, &answer);
    wait_for(rpc, answer.done);
    return answer.handle;
}

rpc_context* connect_port(const std::string& host, int port, int program, int version) {
    rpc_context* rpc = rpc_init_context();
    bool done = false;
    const auto connected = [](rpc_context*, int status, void*, void* self) {
        if (status != RPC_STATUS_SUCCESS) die("no connection");
        *static_cast<bool*>(self) = true;
    };
    if (rpc_connect_port_async(rpc, host.c_str(), port, program, version, connected, &done) != 0) {
        die(rpc_get_error(rpc));
    }
    wait_for(rpc, done);
    return rpc;
}

Handle mount(rpc_context* rpc, char* path) {
    struct Answer {
        bool done = false;
        Handle handle;
    } answer;
    rpc_mount3_mnt_async(
        rpc,
        [](rpc_context*, int status, void* data, void* self) {
            auto* result = static_cast<mountres3*>(data);
            if (status != RPC_STATUS_SUCCESS || result->fhs_status != MNT3_OK) die("MNT failed");
            auto* out = static_cast<Answer*>(self);
            const auto& fh = result->mountres3_u.mountinfo.fhandle;
            out->handle.bytes.assign(fh.fhandle3_val, fh.fhandle3_len);
            out->done = true;
        },
        path, &answer);
    wait_for(rpc, answer.done);
    return answer.handle;
}

Target connect_to(char** arguments) {
    rpc_context* mounting =
        connect_port(arguments[1], std::atoi(arguments[3]), MOUNT_PROGRAM, MOUNT_V3);
    Handle at = mount(mounting, arguments[4]);
    rpc_destroy_context(mounting);
    Target target;
    target.rpc = connect_port(arguments[1], std::atoi(arguments[2]), NFS_PROGRAM, NFS_V3);
    std::istringstream path(arguments[5]);
    std::string component;
    while (std::getline(path, component, '/')) {
        if (!component.empty()) at = look_up(target.rpc, at, component);
    }
    target.directory = at;
    target.file = look_up(target.rpc, at, "file");
    target.list = look_up(target.rpc, at, "list");
    return target;
}

double measure(Target& target, const std::string& operation, int depth, double seconds,
               std::vector<std::string>& names) {
    if (operation == "NULL") return NullLoad(target, operation).run(depth, seconds);
    if (operation == "GETATTR") return GetattrLoad(target, operation).run(depth, seconds);
    if (operation == "LOOKUP") return LookupLoad(target, operation).run(depth, seconds);
    if (operation == "ACCESS") return AccessLoad(target, operation).run(depth, seconds);
    if (operation == "READ") return ReadLoad(target, operation).run(depth, seconds);
    if (operation == "READDIRPLUS") return ListLoad(target, operation).run(depth, seconds);
    if (operation == "WRITE") return WriteLoad(target, operation).run(depth, seconds);
    if (operation == "CREATE") return CreateLoad(target, names).run(depth, seconds);
    if (operation == "REMOVE") return RemoveLoad(target, names).run(depth, 60);
    die(operation + " is no operation");
}

/// Answers every record with a successful, empty reply.
[[noreturn]] void serve_bare(int port) {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        ::listen(listener, 16) != 0) {
        die("bare: the port is taken");
    }
    for (;;) {
        const int client = ::accept(listener, nullptr, nullptr);
        ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        const int epoll = ::epoll_create1(0);
        epoll_event event{};
        event.events = EPOLLIN;
        ::epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
        std::string in;
        std::array<char, 65536> buffer{};
        for (;;) {
            ::epoll_wait(epoll, &event, 1, -1);
            const ssize_t got = ::recv(client, buffer.data(), buffer.size(), 0);
            if (got <= 0) break;
            in.append(buffer.data(), static_cast<std::size_t>(got));
            std::string out;
            while (in.size() >= 8) {
                std::uint32_t marker = 0;
                std::memcpy(&marker, in.data(), 4);
                const std::size_t size = ntohl(marker) & 0x7fffffff;
                if (in.size() < 4 + size) break;
                const std::uint32_t reply[7] = {htonl(0x80000018), 0, htonl(1), 0, 0, 0, 0};
                std::string bytes(reinterpret_cast<const char*>(reply), sizeof(reply));
                bytes.replace(4, 4, in, 4, 4);
                out += bytes;
                in.erase(0, 4 + size);
            }
            if (!out.empty() && ::send(client, out.data(), out.size(), MSG_NOSIGNAL) < 0) break;
        }
        ::close(epoll);
        ::close(client);
    }
}

/// The bare server has no handles: NULL is all that it understands.
Target connect_bare(char** arguments) {
    Target target;
    target.rpc = connect_port(arguments[1], std::atoi(arguments[2]), NFS_PROGRAM, NFS_V3);
    return target;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 3 && std::string(argv[1]) == "bare") serve_bare(std::atoi(argv[2]));
    if (argc < 9) die("see the head of the source for the arguments");
    Target target = std::string(argv[4]) == "-" ? connect_bare(argv) : connect_to(argv);
    const double seconds = std::atof(argv[6]);
    std::vector<int> depths;
    std::istringstream list(argv[7]);
    for (std::string depth; std::getline(list, depth, ',');) depths.push_back(std::stoi(depth));
    std::map<std::string, std::map<int, double>> rates;
    std::vector<std::string> names;
    for (const int depth : depths) {
        for (int i = 8; i < argc; ++i) {
            rates[argv[i]][depth] = measure(target, argv[i], depth, seconds, names);
        }
    }
    std::printf("{");
    const char* between = "";
    for (const auto& [operation, by_depth] : rates) {
        std::printf("%s\"%s\": {", between, operation.c_str());
        const char* comma = "";
        for (const auto& [depth, rate] : by_depth) {
            std::printf("%s\"%d\": %.1f", comma, depth, rate);
            comma = ", ";
        }
        std::printf("}");
        between = ", ";
    }
    std::printf("}\n");
    rpc_destroy_context(target.rpc);
    return 0;
}
