// SPDX-License-Identifier: Apache-2.0
#include "store/space_probe.h"

#include <fcntl.h>

#include "store/file_io.h"
#include "store/lmdb/environment.h"
#include "store/model/limits.h"

namespace cfsgate::store {
namespace {

constexpr std::size_t kMapBytes = 2 * limits::kFileBytesMax;
constexpr std::uint64_t kDiskBytes = 4 * limits::kFileBytesMax;

}  // namespace

Status probe_map(std::size_t bytes, lmdb::Environment& environment) {
    const auto txn = CFSGATE_TRY(lmdb::Transaction::write(environment));
    return txn->put(lmdb::Table::Meta, "probe", std::string(bytes, 'x'));
}

Status probe_space(const std::string& directory, std::uint64_t segment_bytes,
                   lmdb::Environment& environment) {
    CFSGATE_TRY(probe_map(kMapBytes, environment));
    const std::string path = directory + "/spare.probe";
    const UniqueFd fd = CFSGATE_TRY(open_file(path, O_RDWR | O_CREAT | O_TRUNC));
    const int code = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(kDiskBytes + segment_bytes));
    CFSGATE_TRY(remove_file(path));
    if (code != 0) return fail_posix(code, path);
    return {};
}

Status probe_flush(const std::string& directory) {
    const std::string path = directory + "/spare.probe";
    CFSGATE_TRY(remove_file(path));  // of an attempt whose flush has failed
    const UniqueFd fd = CFSGATE_TRY(open_file(path, O_RDWR | O_CREAT | O_TRUNC));
    CFSGATE_TRY(write_all(fd.get(), std::string(4096, 'x'), 0, path));
    CFSGATE_TRY(sync_data(fd.get(), path));
    return remove_file(path);
}

}  // namespace cfsgate::store
