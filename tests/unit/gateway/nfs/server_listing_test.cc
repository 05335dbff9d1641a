// SPDX-License-Identifier: Apache-2.0
// READDIR and READDIRPLUS, over a socket.
#include <map>

#include "tests/unit/gateway/nfs/libnfs_codec.h"
#include "tests/unit/gateway/nfs/server_fixture.h"

namespace cfsgate::gateway::nfs {
namespace {

/// What is around the entries: status apart, the directory's attributes, verifier, end, eof.
constexpr std::uint32_t kAround = 88 + 8 + 4 + 4;
/// Of "sixteen-letters!": marker, file id, name, cookie.
constexpr std::uint32_t kNameBytes = 8 + 4 + 16 + 8;
constexpr std::uint32_t kEntryBytes = 4 + kNameBytes;
/// And attributes, handle.
constexpr std::uint32_t kPlusBytes = kEntryBytes + 88 + 4 + 4 + 24;

class ServerListingTest : public ServerTest {
protected:
    ServerListingTest() {
        make_entry(MakeDirectory{"many"});
        for (int i = 0; i < 20; ++i) add("sixteen-letters" + std::string(1, name_of(i)));
    }
    static char name_of(int i) { return static_cast<char>('A' + i); }
    void add(const std::string& name) { make_file("many/" + name, "x"); }
    void remove(const std::string& name) { make_entry(Delete{"many/" + name}); }

    struct Part {
        nfsstat3 status = NFS3_OK;
        std::vector<std::string> names;
        std::uint64_t cookie = 0;  ///< of the last one
        bool end = false;
        std::size_t bytes = 0;  ///< behind the status
    };
    template <class Res, class List>
    Part to_part(const std::string& result, List list_of) {
        const auto decoded = take(Decoded<Res>::whole(result));
        Part part;
        part.status = decoded->status;
        part.bytes = result.size() - 4;
        if (part.status != NFS3_OK) return part;
        const auto& list = list_of(*decoded);
        for (const auto* entry = list.entries; entry != nullptr; entry = entry->nextentry) {
            part.names.emplace_back(entry->name);
            part.cookie = entry->cookie;
        }
        part.end = list.eof != FALSE;
        return part;
    }
    Part readdir(const std::string& path, std::uint64_t cookie, std::uint32_t count) {
        return to_part<READDIR3res>(
            result_of(kReaddir, opaque(handle(path)) + word64(cookie) + word64(0) + words({count})),
            [](const READDIR3res& res) -> const dirlist3& {
                return res.READDIR3res_u.resok.reply;
            });
    }
    Part readdirplus(const std::string& path, std::uint64_t cookie, std::uint32_t dircount,
                     std::uint32_t maxcount) {
        return to_part<READDIRPLUS3res>(
            result_of(kReaddirplus, opaque(handle(path)) + word64(cookie) + word64(0) +
                                        words({dircount, maxcount})),
            [](const READDIRPLUS3res& res) -> const dirlistplus3& {
                return res.READDIRPLUS3res_u.resok.reply;
            });
    }

    /// Goes on until the end; none if something does not fit.
    template <class Ask>
    std::optional<std::vector<std::string>> list(const Ask& ask, std::uint32_t most) {
        std::vector<std::string> names;
        std::uint64_t cookie = 0;
        for (int i = 0; i < 1000; ++i) {
            const Part part = ask(cookie);
            EXPECT_TRUE(part.status == NFS3_OK || part.status == NFS3ERR_TOOSMALL) << part.status;
            if (part.status != NFS3_OK) return {};
            EXPECT_LE(part.bytes, most);
            names.insert(names.end(), part.names.begin(), part.names.end());
            if (part.end) return names;
            EXPECT_FALSE(part.names.empty()) << "no progress";
            if (part.names.empty()) return {};
            cookie = part.cookie;
        }
        ADD_FAILURE() << "no end";
        return {};
    }
    std::vector<std::string> all_names() const {
        std::vector<std::string> names{".", ".."};
        for (int i = 0; i < 20; ++i)
            names.push_back("sixteen-letters" + std::string(1, name_of(i)));
        return names;
    }
};

TEST_F(ServerListingTest, EverySizeFromTheSmallestGivesEveryNameOnce) {
    constexpr std::uint32_t kSmallest = kAround + kEntryBytes;
    for (std::uint32_t count = 0; count < kSmallest + 3 * kEntryBytes; ++count) {
        const auto names =
            list([&](std::uint64_t cookie) { return readdir("many", cookie, count); }, count);
        EXPECT_EQ(names.has_value(), count >= kSmallest) << count;
        EXPECT_EQ(names.value_or(all_names()), all_names()) << count;
    }
    for (const std::uint32_t count : {8192U, 65536U, 1U << 20, UINT32_MAX}) {
        const Part part = readdir("many", 0, count);
        EXPECT_EQ(part.names, all_names());
        EXPECT_TRUE(part.end);
    }
}

TEST_F(ServerListingTest, EverySizeWithAttributesToo) {
    constexpr std::uint32_t kSmallest = kAround + kPlusBytes;
    for (std::uint32_t count = 0; count < kSmallest + 2 * kPlusBytes; ++count) {
        const auto names = list(
            [&](std::uint64_t cookie) { return readdirplus("many", cookie, 65536, count); }, count);
        EXPECT_EQ(names.has_value(), count >= kSmallest) << count;
        EXPECT_EQ(names.value_or(all_names()), all_names()) << count;
    }
}

TEST_F(ServerListingTest, WhatFitsIsFilled) {
    EXPECT_EQ(readdir("many", 2, kAround + 5 * kEntryBytes).names.size(), 5U);
    EXPECT_EQ(readdir("many", 2, kAround + 5 * kEntryBytes - 1).names.size(), 4U);
    EXPECT_EQ(readdirplus("many", 2, 65536, kAround + 5 * kPlusBytes).names.size(), 5U);
    EXPECT_EQ(readdirplus("many", 2, 65536, kAround + 5 * kPlusBytes - 1).names.size(), 4U);
    // The names' own limit: at least one comes.
    EXPECT_EQ(readdirplus("many", 2, 5 * kNameBytes, 65536).names.size(), 5U);
    EXPECT_EQ(readdirplus("many", 2, 5 * kNameBytes - 1, 65536).names.size(), 4U);
    EXPECT_EQ(readdirplus("many", 2, 0, 65536).names.size(), 1U);
}

TEST_F(ServerListingTest, TooSmallTellsTheDirectorysAttributes) {
    const std::string result =
        result_of(kReaddir, opaque(handle("many")) + word64(0) + word64(0) + words({10}));
    EXPECT_EQ(result, words({NFS3ERR_TOOSMALL, 1}) + encoded(attributes("many")));
}

TEST_F(ServerListingTest, TheEndAloneFits) {
    const std::uint64_t last = readdir("many", 0, 65536).cookie;
    const Part end = readdir("many", last, kAround);
    EXPECT_EQ(end.status, NFS3_OK);
    EXPECT_TRUE(end.end);
    EXPECT_TRUE(end.names.empty());
    EXPECT_EQ(end.bytes, kAround);
    EXPECT_EQ(readdir("many", last, kAround - 1).status, NFS3ERR_TOOSMALL);
    EXPECT_TRUE(readdir("many", UINT64_MAX, 512).end);
}

TEST_F(ServerListingTest, NamesThatComeAndGoLeaveTheOthersListedOnce) {
    for (const bool plus : {false, true}) {
        std::vector<std::string> listed;
        std::uint64_t cookie = 0;
        for (int round = 0;; ++round) {
            const Part part = plus ? readdirplus("many", cookie, 65536, kAround + 2 * kPlusBytes)
                                   : readdir("many", cookie, kAround + 2 * kEntryBytes);
            ASSERT_EQ(part.status, NFS3_OK);
            listed.insert(listed.end(), part.names.begin(), part.names.end());
            if (part.end) break;
            cookie = part.cookie;
            ASSERT_LT(round, 100);
            // The one that the cookie stands for, one before and one behind it go; one comes.
            const std::string letters = plus ? "CFHLM" : "DJKPR";
            if (round < 5) {
                remove("sixteen-letters" + letters.substr(static_cast<std::size_t>(round), 1));
                add("new" + std::to_string(round) + (plus ? "plus" : ""));
            }
        }
        std::map<std::string, int> times;
        for (const std::string& name : listed) ++times[name];
        for (const auto& [name, count] : times) EXPECT_EQ(count, 1) << name;
        const Part now = readdir("many", 0, 65536);
        for (const std::string& name : now.names) EXPECT_EQ(times[name], 1) << name;
    }
}

TEST_F(ServerListingTest, ACookieOutlivesItsEntryAndAStart) {
    const Part first = readdir("many", 0, kAround + 8 * kEntryBytes);
    const std::uint64_t cookie = first.cookie;
    const auto rest = readdir("many", cookie, 65536).names;
    remove(first.names.back());
    EXPECT_EQ(readdir("many", cookie, 65536).names, rest);
    start();
    EXPECT_EQ(readdir("many", cookie, 65536).names, rest);
}

TEST_F(ServerListingTest, TheVerifierNeverMakesAClientStartOver) {
    const std::string ask = opaque(handle("many")) + word64(2);
    const std::string first = result_of(kReaddir, ask + word64(0) + words({65536}));
    EXPECT_EQ(first.substr(4 + 88, 8), word64(0));
    const std::string behind = first.substr(4 + 88);
    add("more");
    const std::string second = result_of(kReaddir, ask + word64(0) + words({65536}));
    EXPECT_EQ(second.substr(4 + 88, 8), word64(0));
    // One that is no verifier of ours is no reason to fail either.
    EXPECT_EQ(result_of(kReaddir, ask + word64(77) + words({65536})), second);
}

TEST_F(ServerListingTest, EntriesOfTheRootAreWhatLookupsSay) {
    const std::string result =
        result_of(kReaddirplus, opaque(handle("")) + word64(0) + word64(0) + words({65536, 65536}));
    const auto entries = test::libnfs_decode_listing(result);
    ASSERT_TRUE(entries);
    std::map<std::string, int> names;
    for (const test::ListedEntry& entry : *entries) {
        ++names[entry.name];
        if (entry.name == "." || entry.name == "..") continue;
        const auto found = call<LOOKUP3res>(kLookup, where(handle(""), entry.name));
        ASSERT_EQ(found->status, NFS3_OK) << entry.name;
        const LOOKUP3resok& ok = found->LOOKUP3res_u.resok;
        const fattr3& attributes = ok.obj_attributes.post_op_attr_u.attributes;
        EXPECT_EQ(entry.handle, bytes_of(ok.object)) << entry.name;
        EXPECT_EQ(entry.fileid, attributes.fileid) << entry.name;
        EXPECT_EQ(entry.size, attributes.size) << entry.name;
        EXPECT_EQ(entry.ctime_ns, attributes.ctime.nseconds) << entry.name;
    }
    for (const char* name :
         {".", "..", "local", "qemu-server", ".version", ".debug", "d", "priv", "nodes", "many"}) {
        EXPECT_EQ(names[name], 1) << name;
    }
    EXPECT_EQ(names.size(), 2 + kVirtualEntries + 4);
}

TEST_F(ServerListingTest, WhatIsNoDirectoryOrNotThere) {
    for (const std::uint32_t procedure : {kReaddir, kReaddirplus}) {
        const std::string behind =
            word64(0) + word64(0) + (procedure == kReaddir ? words({4096}) : words({4096, 4096}));
        EXPECT_EQ(status_of(procedure, opaque(handle("d/f")) + behind), NFS3ERR_NOTDIR);
        EXPECT_EQ(status_of(procedure, opaque(handle("local")) + behind), NFS3ERR_NOTDIR);
        EXPECT_EQ(status_of(procedure, opaque(handle(".version")) + behind), NFS3ERR_NOTDIR);
        EXPECT_EQ(status_of(procedure, opaque("bad") + behind), NFS3ERR_BADHANDLE);
        EXPECT_EQ(status_of(procedure, opaque(encode_handle(files->id(), FileId(999))) + behind),
                  NFS3ERR_STALE);
    }
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
