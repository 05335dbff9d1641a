// SPDX-License-Identifier: Apache-2.0
#include "replication/corosync/cpg_group.h"

#include <unistd.h>

#include <corosync/cpg.h>

#include "replication/corosync/corosync_error.h"

namespace cfsgate::replication {

struct CpgGroup::Handle {
    Handle() = default;
    ~Handle() {
        if (open) cpg_finalize(handle);
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    static Result<std::unique_ptr<Handle>> connect(CpgGroup* owner);

    cpg_handle_t handle = 0;
    bool open = false;
    cpg_name name{};
    int descriptor = -1;
};

namespace {

constexpr std::size_t kPartsMax = 60;  // of the 64 that libcpg has room for, one is its header

std::vector<Member> to_members(const cpg_address* list, std::size_t count) {
    std::vector<Member> members;
    members.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        members.push_back({NodeId(list[i].nodeid), list[i].pid});
    }
    return members;
}

/// The group that the handle was made for.
CpgGroup& owner_of(cpg_handle_t handle) {
    void* owner = nullptr;
    cpg_context_get(handle, &owner);
    return *static_cast<CpgGroup*>(owner);
}

}  // namespace

Result<std::unique_ptr<CpgGroup::Handle>> CpgGroup::Handle::connect(CpgGroup* owner) {
    cpg_model_v1_data_t callbacks{};
    callbacks.cpg_deliver_fn = [](cpg_handle_t from, const cpg_name*, std::uint32_t node,
                                  std::uint32_t pid, void* bytes, std::size_t size) noexcept {
        owner_of(from).events_.on_message({NodeId(node), pid},
                                          {static_cast<const char*>(bytes), size});
    };
    callbacks.cpg_confchg_fn = [](cpg_handle_t from, const cpg_name*, const cpg_address* members,
                                  std::size_t member_count, const cpg_address* left,
                                  std::size_t left_count, const cpg_address*,
                                  std::size_t joined_count) noexcept {
        owner_of(from).events_.on_view(to_members(members, member_count), joined_count > 0,
                                       to_members(left, left_count));
    };
    // libcpg wants the address of what the structures of all models begin with.
    void* const model = &callbacks;
    auto made = std::make_unique<Handle>();
    CFSGATE_TRY(check_corosync(cpg_model_initialize(&made->handle, CPG_MODEL_V1,
                                                    static_cast<cpg_model_data_t*>(model), owner),
                               "cpg_model_initialize"));
    made->open = true;
    owner->group_.copy(made->name.value, owner->group_.size());
    made->name.length = static_cast<std::uint32_t>(owner->group_.size() + 1);
    CFSGATE_TRY(check_corosync(cpg_fd_get(made->handle, &made->descriptor), "cpg_fd_get"));
    return made;
}

Result<std::unique_ptr<CpgGroup>> CpgGroup::connect(std::string_view group, GroupEvents events) {
    if (group.empty() || group.size() >= CPG_MAX_NAME_LENGTH) {
        return fail(Errno::NameTooLong, "the name of the group is empty or too long");
    }
    std::unique_ptr<CpgGroup> made(new CpgGroup(group, std::move(events)));
    made->handle_ = CFSGATE_TRY(Handle::connect(made.get()));
    unsigned int node = 0;
    CFSGATE_TRY(check_corosync(cpg_local_get(made->handle_->handle, &node), "cpg_local_get"));
    made->self_ = {NodeId(node), static_cast<std::uint32_t>(getpid())};
    return made;
}

CpgGroup::CpgGroup(std::string_view group, GroupEvents events)
    : group_(group), events_(std::move(events)) {}

int CpgGroup::descriptor() const { return handle_->descriptor; }

CpgGroup::~CpgGroup() = default;

Status CpgGroup::join() {
    if (left_) {
        handle_ = CFSGATE_TRY(Handle::connect(this));
        left_ = false;
    }
    return check_corosync(cpg_join(handle_->handle, &handle_->name), "cpg_join");
}

Status CpgGroup::leave() {
    CFSGATE_TRY(check_corosync(cpg_leave(handle_->handle, &handle_->name), "cpg_leave"));
    left_ = true;
    return {};
}

Status CpgGroup::dispatch_one() {
    return check_corosync(cpg_dispatch(handle_->handle, CS_DISPATCH_ONE_NONBLOCKING),
                          "cpg_dispatch");
}

Status CpgGroup::multicast(std::string_view bytes) {
    // A large message must be one part: libcpg cuts each part on its own.
    const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    return check_corosync(cpg_mcast_joined(handle_->handle, CPG_TYPE_AGREED, &part, 1),
                          "cpg_mcast_joined");
}

Status CpgGroup::multicast(std::span<const iovec> parts) {
    std::size_t size = 0;
    for (const auto& part : parts) {
        if (part.iov_len > kWholeBytesMax - size) {
            return fail(Errno::Invalid, "a message in parts is too large");
        }
        size += part.iov_len;
    }
    if (parts.size() > kPartsMax) return fail(Errno::Invalid, "a message has too many parts");
    return check_corosync(cpg_mcast_joined(handle_->handle, CPG_TYPE_AGREED, parts.data(),
                                           static_cast<unsigned int>(parts.size())),
                          "cpg_mcast_joined");
}

}  // namespace cfsgate::replication
