// SPDX-License-Identifier: Apache-2.0
// File operation:   u32 data size | u32 offset | u32 path size | u32 target size | u32 flags
//                   | path with NUL | target with NUL | data
// Lock operation:   32 bytes of entry checksum | path with NUL
#include "replication/core/operation_codec.h"

#include <algorithm>

#include "store/base/bytes.h"

namespace cfsgate::replication {
namespace {

constexpr std::uint32_t kTruncate = 1;

struct FileBody {
    std::uint32_t offset = 0;
    std::uint32_t flags = 0;
    std::string_view path{};
    std::string_view target{};
    std::string_view data{};
};

std::uint32_t c_string_bytes(std::string_view text) {
    return static_cast<std::uint32_t>(text.size() + 1);
}

EncodedOperation encode_file(OperationCode code, const FileBody& body) {
    ByteWriter out;
    out.put(static_cast<std::uint32_t>(body.data.size()));
    out.put(body.offset);
    out.put(c_string_bytes(body.path));
    out.put(body.target.empty() ? std::uint32_t{0} : c_string_bytes(body.target));
    out.put(body.flags);
    out.put_c_string(body.path);
    if (!body.target.empty()) out.put_c_string(body.target);
    out.put_bytes(body.data);
    return {static_cast<std::uint16_t>(code), out.take()};
}

EncodedOperation encode_lock(OperationCode code, std::string_view path, const Digest& checksum) {
    ByteWriter out;
    out.put_bytes({reinterpret_cast<const char*>(checksum.data()), checksum.size()});
    out.put_c_string(path);
    return {static_cast<std::uint16_t>(code), out.take()};
}

struct Encode {
    EncodedOperation operator()(const CreateFile& op) const {
        return encode_file(OperationCode::Create, {.path = op.path});
    }
    EncodedOperation operator()(const WriteFile& op) const {
        return encode_file(OperationCode::Write, {.offset = op.offset,
                                                  .flags = op.truncate ? kTruncate : 0,
                                                  .path = op.path,
                                                  .data = op.data});
    }
    EncodedOperation operator()(const MakeDirectory& op) const {
        return encode_file(OperationCode::MakeDirectory, {.path = op.path});
    }
    EncodedOperation operator()(const Delete& op) const {
        return encode_file(OperationCode::Delete, {.path = op.path});
    }
    EncodedOperation operator()(const Rename& op) const {
        return encode_file(OperationCode::Rename, {.path = op.path, .target = op.target});
    }
    EncodedOperation operator()(const SetMtime& op) const {
        return encode_file(OperationCode::SetMtime, {.offset = op.mtime, .path = op.path});
    }
    EncodedOperation operator()(const Unlock& op) const {
        return encode_lock(OperationCode::Unlock, op.path, op.checksum);
    }
    EncodedOperation operator()(const UnlockRequest& op) const {
        return encode_lock(OperationCode::UnlockRequest, op.path, op.checksum);
    }
    EncodedOperation operator()(const Operation& op) const { return std::visit(*this, op); }
};

Result<FileBody> decode_file(std::string_view bytes) {
    ByteReader in(bytes);
    FileBody body;
    const auto data_size = in.take<std::uint32_t>();
    body.offset = in.take<std::uint32_t>();
    const auto path_size = in.take<std::uint32_t>();
    const auto target_size = in.take<std::uint32_t>();
    body.flags = in.take<std::uint32_t>();
    body.path = in.take_c_string(path_size);
    body.target = in.take_c_string(target_size);
    body.data = in.take_bytes(data_size);
    CFSGATE_TRY(in.finish("file operation"));
    return body;
}

struct LockBody {
    std::string_view path{};
    Digest checksum{};
};

Result<LockBody> decode_lock(std::string_view bytes) {
    ByteReader in(bytes);
    LockBody body;
    const auto checksum = in.take_bytes(body.checksum.size());
    std::copy(checksum.begin(), checksum.end(), body.checksum.begin());
    if (in.remaining() == 0) return fail(Errno::BadMessage, "lock operation: no path");
    body.path = in.take_c_string(in.remaining());
    CFSGATE_TRY(in.finish("lock operation"));
    return body;
}

Result<GroupOperation> decode_file_operation(OperationCode code, std::string_view bytes) {
    const FileBody body = CFSGATE_TRY(decode_file(bytes));
    std::string path(body.path);
    switch (code) {
        case OperationCode::Create: return Operation(CreateFile{std::move(path)});
        case OperationCode::Write:
            return Operation(WriteFile{std::move(path), std::string(body.data), body.offset,
                                       (body.flags & kTruncate) != 0});
        case OperationCode::MakeDirectory: return Operation(MakeDirectory{std::move(path)});
        case OperationCode::Delete: return Operation(Delete{std::move(path)});
        case OperationCode::Rename:
            return Operation(Rename{std::move(path), std::string(body.target)});
        case OperationCode::SetMtime: return Operation(SetMtime{std::move(path), body.offset});
        case OperationCode::UnlockRequest:
        case OperationCode::Unlock: break;
    }
    return fail(Errno::BadMessage, "not a file operation");
}

}  // namespace

EncodedOperation encode_operation(const GroupOperation& operation) {
    return std::visit(Encode(), operation);
}

Result<GroupOperation> decode_operation(std::uint16_t subtype, std::string_view body) {
    if (subtype < static_cast<std::uint16_t>(OperationCode::Write) ||
        subtype > static_cast<std::uint16_t>(OperationCode::Unlock)) {
        return fail(Errno::BadMessage, "unknown operation " + std::to_string(subtype));
    }
    const auto code = static_cast<OperationCode>(subtype);
    if (code != OperationCode::Unlock && code != OperationCode::UnlockRequest) {
        return decode_file_operation(code, body);
    }
    const LockBody lock = CFSGATE_TRY(decode_lock(body));
    if (code == OperationCode::Unlock) {
        return GroupOperation(Operation(Unlock{std::string(lock.path), lock.checksum}));
    }
    return GroupOperation(UnlockRequest{std::string(lock.path), lock.checksum});
}

}  // namespace cfsgate::replication
