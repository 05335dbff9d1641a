// SPDX-License-Identifier: Apache-2.0
// The texts of the root's virtual entries, made when a file is opened or its size is asked for.
#pragma once

#include <string>

#include "gateway/cluster_log.h"
#include "gateway/file_system.h"

namespace cfsgate::gateway {

/// Threads: any.
class VirtualFiles {
public:
    VirtualFiles(const store::Store& store, const ClusterLog& log, const FileSystemOptions& options)
        : store_(store), log_(log), options_(options) {}

    /// The text of a file, or the target of a link.
    std::string text(VirtualEntry entry) const;

private:
    std::string version_text() const;
    std::string members_text() const;
    std::string vm_list_text() const;

    const store::Store& store_;
    const ClusterLog& log_;
    const FileSystemOptions& options_;
};

}  // namespace cfsgate::gateway
