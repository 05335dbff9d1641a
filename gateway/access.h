// SPDX-License-Identifier: Apache-2.0
// Who may do what, by path. Every adapter shows and enforces these rules and no others.
#pragma once

#include <cstdint>
#include <string_view>

#include "gateway/file_system.h"

namespace cfsgate::gateway {

/// Threads: any.
class AccessRules {
public:
    AccessRules(gid_t www_data, const replication::Sequencer& sequencer)
        : www_data_(www_data), sequencer_(sequencer) {}

    gid_t group() const { return www_data_; }

    /// Permission bits of an entry of the tree; write bits only where the node is quorate, except
    /// for the root.
    std::uint32_t mode(std::string_view path, bool is_directory) const;
    std::uint32_t mode(VirtualEntry entry) const;

    /// The same for the entries of one directory, whose path is looked at once.
    class Below {
    public:
        std::uint32_t mode(std::string_view name, bool is_directory) const;

    private:
        friend class AccessRules;
        Below(const AccessRules& rules, std::string_view directory);

        const AccessRules& rules_;
        std::string_view directory_;
        bool all_private_;
        bool some_private_;  ///< depends on the name
    };
    /// Borrows the path.
    Below below(std::string_view directory) const { return {*this, directory}; }

    /// Whether `mode` on a file of root and the group grants `mask` (R_OK, W_OK, X_OK). Root passes.
    bool grants(const Caller& caller, std::uint32_t mode, int mask) const;
    /// Whether the caller may search a directory and all above it.
    bool may_search(const Caller& caller, std::string_view directory) const;
    /// Whether the caller's export has this entry; true where there is no restriction.
    bool exports(const Caller& caller, std::string_view path) const;
    /// Errors: NoAccess: nobody but root changes anything, and nobody without quorum; ReadOnly: the
    /// caller's export is.
    Status may_change(const Caller& caller) const;
    /// Errors: NotPermitted for a mode that the path does not have.
    Status may_chmod(const Caller& caller, std::string_view path, std::uint32_t mode) const;
    Status may_chown(const Caller& caller, uid_t uid, gid_t gid) const;

private:
    gid_t www_data_;
    const replication::Sequencer& sequencer_;
};

}  // namespace cfsgate::gateway
