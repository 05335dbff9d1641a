// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace cfsgate::test {

/// An empty directory that goes away with the object, with all that is in it.
class TempDirectory {
public:
    TempDirectory() {
        std::string pattern = (parent() / "cfsgate-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = pattern;
    }
    ~TempDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDirectory(const TempDirectory&) = delete;
    TempDirectory& operator=(const TempDirectory&) = delete;

    const std::string& path() const { return path_; }
    std::string file(const std::string& name) const { return path_ + "/" + name; }

private:
    /// In memory where that is possible: the tests flush a lot and none of them cuts the power.
    static std::filesystem::path parent() {
        const std::filesystem::path memory = "/dev/shm";
        if (std::getenv("TMPDIR") == nullptr && ::access(memory.c_str(), W_OK) == 0) return memory;
        return std::filesystem::temp_directory_path();
    }

    std::string path_;
};

}  // namespace cfsgate::test
