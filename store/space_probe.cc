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

Status probe_space(const std::string& directory, std::uint64_t segment_bytes,
                   lmdb::Environment& environment) {
    {
        const auto txn = CFSGATE_TRY(lmdb::Transaction::write(environment));
        CFSGATE_TRY(txn->put(lmdb::Table::Meta, "probe", std::string(kMapBytes, 'x')));
    }
    const std::string path = directory + "/spare.probe";
    const UniqueFd fd = CFSGATE_TRY(open_file(path, O_RDWR | O_CREAT | O_TRUNC));
    const int code = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(kDiskBytes + segment_bytes));
    CFSGATE_TRY(remove_file(path));
    if (code != 0) return fail_posix(code, path);
    return {};
}

}  // namespace cfsgate::store
