// SPDX-License-Identifier: Apache-2.0
#include "replication/corosync/quorum_source.h"

#include <cstring>

#include <corosync/quorum.h>
#include <corosync/votequorum.h>

#include "replication/corosync/corosync_error.h"

namespace cfsgate::replication {

struct QuorumSource::Handles {
    Handles() = default;
    ~Handles() {
        if (votequorum_open) votequorum_finalize(votequorum);
        if (quorum_open) quorum_finalize(quorum);
    }
    Handles(const Handles&) = delete;
    Handles& operator=(const Handles&) = delete;

    static OnQuorum& observer_of(quorum_handle_t handle) {
        const void* context = nullptr;
        quorum_context_get(handle, &context);
        return static_cast<QuorumSource*>(const_cast<void*>(context))->on_quorum_;
    }

    quorum_handle_t quorum = 0;
    bool quorum_open = false;
    votequorum_handle_t votequorum = 0;
    bool votequorum_open = false;
};

namespace {

std::string device_state(std::uint32_t flags) {
    if ((flags & VOTEQUORUM_INFO_QDEVICE_REGISTERED) == 0) return {};
    std::string state = "registered";
    state += (flags & VOTEQUORUM_INFO_QDEVICE_ALIVE) != 0 ? ", alive" : ", not alive";
    state += (flags & VOTEQUORUM_INFO_QDEVICE_CAST_VOTE) != 0 ? ", voting" : ", not voting";
    if ((flags & VOTEQUORUM_INFO_QDEVICE_MASTER_WINS) != 0) state += ", master wins";
    return state;
}

VoteFacts to_facts(const votequorum_info& info) {
    VoteFacts facts;
    facts.own = info.node_votes;
    facts.expected = info.highest_expected;
    facts.total = info.total_votes;
    facts.needed = info.quorum;
    facts.quorate = (info.flags & VOTEQUORUM_INFO_QUORATE) != 0;
    facts.device_state = device_state(info.flags);
    if (!facts.device_state.empty()) {
        facts.device.assign(info.qdevice_name,
                            strnlen(info.qdevice_name, sizeof(info.qdevice_name)));
        facts.device_votes = info.qdevice_votes;
    }
    return facts;
}

}  // namespace

Result<std::unique_ptr<QuorumSource>> QuorumSource::connect(OnQuorum on_quorum) {
    auto handles = std::make_unique<Handles>();
    quorum_callbacks_t callbacks{};
    callbacks.quorum_notify_fn = [](quorum_handle_t from, std::uint32_t quorate, std::uint64_t,
                                    std::uint32_t count, std::uint32_t* list) noexcept {
        std::vector<NodeId> members;
        for (std::uint32_t i = 0; i < count; ++i) members.emplace_back(list[i]);
        Handles::observer_of(from)(quorate != 0, std::move(members));
    };
    std::uint32_t type = 0;
    CFSGATE_TRY(check_corosync(quorum_initialize(&handles->quorum, &callbacks, &type),
                               "quorum_initialize"));
    handles->quorum_open = true;
    if (type != QUORUM_SET) {
        return fail(Errno::NotSupported, "corosync.conf has no quorum provider");
    }
    CFSGATE_TRY(check_corosync(votequorum_initialize(&handles->votequorum, nullptr),
                               "votequorum_initialize"));
    handles->votequorum_open = true;
    int descriptor = -1;
    CFSGATE_TRY(check_corosync(quorum_fd_get(handles->quorum, &descriptor), "quorum_fd_get"));

    std::unique_ptr<QuorumSource> made(new QuorumSource(std::move(handles), std::move(on_quorum)));
    made->descriptor_ = descriptor;
    const quorum_handle_t quorum = made->handles_->quorum;
    CFSGATE_TRY(check_corosync(quorum_context_set(quorum, made.get()), "quorum_context_set"));
    CFSGATE_TRY(check_corosync(quorum_trackstart(quorum, CS_TRACK_CHANGES), "quorum_trackstart"));
    return made;
}

QuorumSource::QuorumSource(std::unique_ptr<Handles> handles, OnQuorum on_quorum)
    : handles_(std::move(handles)), on_quorum_(std::move(on_quorum)) {}

QuorumSource::~QuorumSource() = default;

Status QuorumSource::dispatch() {
    return check_corosync(quorum_dispatch(handles_->quorum, CS_DISPATCH_ALL), "quorum_dispatch");
}

Result<VoteFacts> QuorumSource::votes() const {
    votequorum_info info{};
    const unsigned int this_node = 0;
    CFSGATE_TRY(check_corosync(votequorum_getinfo(handles_->votequorum, this_node, &info),
                               "votequorum_getinfo"));
    return to_facts(info);
}

}  // namespace cfsgate::replication
