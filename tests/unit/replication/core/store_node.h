// SPDX-License-Identifier: Apache-2.0
// A member of the configuration group with a real store and the smallest applier: each effect is
// carried out at once, and what it answers is the machine's next event.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "replication/core/group_machine.h"
#include "replication/core/state_sync.h"
#include "store/model/digest.h"
#include "tests/support/store_directory.h"

namespace cfsgate::replication {

/// Every entry, the root included, ascending.
inline std::map<InodeNumber, Entry> entries_of(const store::Store& store) {
    std::map<InodeNumber, Entry> entries;
    const auto view = test::take(store.read());
    test::take(view->for_each([&](const Inode& inode, std::string_view content) -> Status {
        entries.emplace(inode.number, Entry{inode, std::string(content)});
        return {};
    }));
    return entries;
}

class StoreNode {
public:
    StoreNode(Member self, Conduct conduct)
        : machine(GroupKind::Configuration, self, conduct), self_(self) {
        store_ = directory_.open();
        step(QuorumChanged{true});
    }

    void step(const Event& event) {
        std::deque<Event> answers;
        take_in(event, answers);
        for (; !answers.empty(); answers.pop_front()) take_in(answers.front(), answers);
    }
    void set_time(std::uint32_t time) { directory_.now = now_ = time; }
    /// A change without the group, as it stood in the database before.
    void put(const Operation& operation, const Stamp& stamp) {
        test::apply_alone(*store_, operation, stamp);
    }
    Member self() const { return self_; }
    const store::Store& store() const { return *store_; }
    std::string index() const { return encode_index(test::take(store_->index())); }
    std::uint64_t version() const { return test::take(store_->read())->head().version.value(); }

    GroupMachine machine;
    std::deque<std::string> outbox;        ///< what it has multicast
    std::map<std::uint64_t, int> results;  ///< of own messages, by count
    std::map<std::uint64_t, Errno> refused;
    std::vector<std::pair<std::uint64_t, bool>> verifications;
    std::vector<std::string> reasons_to_leave;

private:
    struct Carry {
        StoreNode& node;
        std::deque<Event>& answers;

        void operator()(const Multicast& effect) const { node.outbox.push_back(effect.bytes); }
        void operator()(const Apply& effect) const { node.apply(effect, answers); }
        void operator()(const ReadState& effect) const {
            answers.push_back(StateRead{effect.epoch, node.index()});
        }
        void operator()(const ReadUpdates& effect) const { node.read_updates(effect, answers); }
        void operator()(const Commit& effect) const { node.commit(effect, answers); }
        void operator()(const ComputeChecksum& effect) const {
            answers.push_back(ChecksumComputed{effect.epoch, effect.number,
                                               test::take(node.store_->tree_checksum())});
        }
        void operator()(const Refuse& effect) const {
            node.refused.emplace(effect.own_count, effect.error);
        }
        void operator()(const Leave& effect) const {
            node.reasons_to_leave.push_back(effect.reason);
        }
        void operator()(const VerifyFinished& effect) const {
            node.verifications.emplace_back(effect.number, effect.equal);
        }
        void operator()(const BecameSynced&) const {}
        void operator()(const ApplyStatus&) const { throw std::logic_error("another group's"); }
        void operator()(const MergeStates&) const { throw std::logic_error("another group's"); }
    };

    void take_in(const Event& event, std::deque<Event>& answers) {
        for (const Effect& effect : machine.step(event, now_))
            std::visit(Carry{*this, answers}, effect);
    }
    void apply(const Apply& effect, std::deque<Event>& answers) {
        int result = 0;
        if (const auto* request = std::get_if<UnlockRequest>(&effect.operation)) {
            if (effect.lowest && has_expired(*request)) {
                answers.push_back(Submit{Operation(Unlock{request->path, request->checksum})});
            }
        } else {
            result = test::result_of(*store_, std::get<Operation>(effect.operation),
                                     {effect.from.node, effect.time});
        }
        if (effect.own_count) results.emplace(*effect.own_count, result);
    }
    bool has_expired(const UnlockRequest& request) const {
        if (!test::exists_in(*store_, request.path)) return false;
        const Inode inode = test::inode_of(*store_, request.path);
        return entry_checksum(inode, {}) == request.checksum &&
               store_->lock_leases().expired(request.path, request.checksum);
    }
    void read_updates(const ReadUpdates& effect, std::deque<Event>& answers) const {
        const auto entries = entries_of(*store_);
        UpdatesRead answer{effect.epoch, {}, true};
        for (const InodeNumber inode : effect.inodes) {
            answer.updates.push_back(encode_update(entries.at(inode)));
        }
        answers.push_back(std::move(answer));
    }
    void commit(const Commit& effect, std::deque<Event>& answers) {
        const Index own = test::take(decode_index(effect.own_index));
        const Index leader = test::take(decode_index(effect.leader_index));
        std::set<InodeNumber> listed;
        for (const IndexEntry& entry : leader.entries) {
            listed.insert(entry.inode);
        }
        store::Takeover takeover{{}, effect.updates, effect.leader_index, "the leader"};
        for (const IndexEntry& entry : own.entries) {
            if (!listed.contains(entry.inode)) takeover.removed.push_back(entry.inode);
        }
        const auto report = store_->take_over(takeover);
        if (report) {
            answers.push_back(Committed{effect.epoch});
        } else {
            answers.push_back(ApplierFailed{report.error().detail});
        }
    }

    Member self_;
    std::uint32_t now_ = 0;
    test::StoreDirectory directory_;
    std::unique_ptr<store::Store> store_;
};

}  // namespace cfsgate::replication
