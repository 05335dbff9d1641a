// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/gateway/nfs/libnfs_codec.h"

#include <cstring>

#include <nfsc/libnfs-raw-nfs.h>
#include <nfsc/libnfs-zdr.h>

namespace cfsgate::test {
namespace {

constexpr std::size_t kBytesMax = 4096;

class Zdr {
public:
    Zdr(std::string bytes, zdr_op op) : bytes_(std::move(bytes)) {
        zdrmem_create(&zdr_, bytes_.data(), static_cast<std::uint32_t>(bytes_.size()), op);
    }
    ~Zdr() { zdr_destroy(&zdr_); }
    Zdr(const Zdr&) = delete;
    Zdr& operator=(const Zdr&) = delete;

    ZDR* get() { return &zdr_; }
    std::string written() { return bytes_.substr(0, zdr_getpos(&zdr_)); }
    bool at_end() { return zdr_getpos(&zdr_) == bytes_.size(); }

private:
    std::string bytes_;
    ZDR zdr_{};
};

template <class T, class Codec>
std::string encode(T& value, Codec codec) {
    Zdr zdr(std::string(kBytesMax, '\0'), ZDR_ENCODE);
    return codec(zdr.get(), &value) != 0 ? zdr.written() : "";
}

nfs_fh3 to_handle(std::string& bytes) {
    nfs_fh3 handle{};
    handle.data.data_len = static_cast<u_int>(bytes.size());
    handle.data.data_val = bytes.data();
    return handle;
}

std::string to_string(const nfs_fh3& handle) {
    return {handle.data.data_val, handle.data.data_len};
}

ListedEntry to_entry(const entryplus3& from) {
    ListedEntry entry;
    entry.name = from.name;
    entry.fileid = from.fileid;
    entry.cookie = from.cookie;
    if (from.name_attributes.attributes_follow != 0) {
        const fattr3& attributes = from.name_attributes.post_op_attr_u.attributes;
        entry.size = attributes.size;
        entry.ctime_ns = attributes.ctime.nseconds;
    }
    if (from.name_handle.handle_follows != 0) {
        entry.handle = to_string(from.name_handle.post_op_fh3_u.handle);
    }
    return entry;
}

}  // namespace

std::string libnfs_encode(const WriteCall& call) {
    WriteCall copy = call;
    WRITE3args args{};
    args.file = to_handle(copy.handle);
    args.offset = copy.offset;
    args.count = copy.count;
    args.stable = static_cast<stable_how>(copy.stable);
    args.data.data_len = static_cast<u_int>(copy.data.size());
    args.data.data_val = copy.data.data();
    return encode(args, zdr_WRITE3args);
}

std::optional<WriteCall> libnfs_decode_write(const std::string& bytes) {
    Zdr zdr(bytes, ZDR_DECODE);
    WRITE3args args{};
    if (zdr_WRITE3args(zdr.get(), &args) == 0 || !zdr.at_end()) return {};
    return WriteCall{to_string(args.file),
                     args.offset,
                     args.count,
                     static_cast<std::uint32_t>(args.stable),
                     {args.data.data_val, args.data.data_len}};
}

std::optional<std::vector<ListedEntry>> libnfs_decode_listing(const std::string& bytes) {
    Zdr zdr(bytes, ZDR_DECODE);
    READDIRPLUS3res result{};
    if (zdr_READDIRPLUS3res(zdr.get(), &result) == 0 || !zdr.at_end()) return {};
    if (result.status != NFS3_OK) return {};
    std::vector<ListedEntry> entries;
    const dirlistplus3& list = result.READDIRPLUS3res_u.resok.reply;
    const entryplus3* next = list.entries;
    while (next != nullptr) {
        entryplus3 entry{};
        std::memcpy(&entry, next, sizeof(entry));  // libnfs puts them at odd addresses
        entries.push_back(to_entry(entry));
        next = entry.nextentry;
    }
    return entries;
}

std::string libnfs_encode_exclusive_create(const std::string& handle, const std::string& name,
                                           const std::string& verifier) {
    std::string handle_copy = handle;
    std::string name_copy = name;
    CREATE3args args{};
    args.where.dir = to_handle(handle_copy);
    args.where.name = name_copy.data();
    args.how.mode = EXCLUSIVE;
    std::memcpy(args.how.createhow3_u.verf, verifier.data(), NFS3_CREATEVERFSIZE);
    return encode(args, zdr_CREATE3args);
}

}  // namespace cfsgate::test
