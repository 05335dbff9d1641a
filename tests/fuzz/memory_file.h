// SPDX-License-Identifier: Apache-2.0
// A file with a path that lies in memory alone.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "store/base/unique_fd.h"
#include "tests/fuzz/expect.h"

namespace cfsgate::fuzz {

class MemoryFile {
public:
    MemoryFile() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) { expect(fd_.valid(), "memory"); }

    void fill(std::string_view bytes) const {
        expect(::ftruncate(fd_.get(), 0) == 0, "truncate");
        while (!bytes.empty()) {
            const auto at = ::lseek(fd_.get(), 0, SEEK_END);
            const ssize_t count = ::pwrite(fd_.get(), bytes.data(), bytes.size(), at);
            expect(count > 0, "write");
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    std::string path() const { return "/proc/self/fd/" + std::to_string(fd_.get()); }

private:
    UniqueFd fd_;
};

}  // namespace cfsgate::fuzz
