// SPDX-License-Identifier: Apache-2.0
// The state machine of one group: events in, effects out. No I/O, no clock, no thread, no store.
//
// The driver keeps this contract. Events come in the order in which the group delivers them.
// Effects are carried out in order: messages go to the group in that order, and what is for the
// applier is applied in that order, each after all before it. What the applier answers comes back
// as an event; it may come late, and is then ignored. WIRE.md says the protocol.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "replication/core/message.h"
#include "replication/core/operation_codec.h"
#include "replication/core/view.h"
#include "store/model/inode.h"

namespace cfsgate::replication {

/// The two groups differ in what a state is and in what members conclude from it.
enum class GroupKind : std::uint8_t {
    Configuration,  ///< the tree: one leader, the others take over what it has
    Status,         ///< the states are merged; nobody leads
};

// --- Events ---

/// The group has new members. `joined`: the list of those who joined is not empty.
struct ViewChanged {
    std::vector<Member> members;
    bool joined = false;
};
struct Delivered {
    Member from;
    std::string_view bytes;  ///< borrowed for the call
};
struct QuorumChanged {
    bool quorate = false;
};
/// A caller's change. It must only be submitted while can_send().
struct Submit {
    GroupOperation operation;  ///< of the configuration group
};
/// The same of the status group, in which changes are bytes.
struct SubmitStatus {
    std::uint16_t subtype = 0;
    std::string body;
};
/// Answers ReadState.
struct StateRead {
    Epoch epoch;
    std::string state;
};
/// Answers ReadUpdates, in as many pieces as it likes; the last one says so.
struct UpdatesRead {
    Epoch epoch;
    std::vector<std::string> updates;  ///< bodies of Update messages
    bool last = true;
};
/// Answers Commit.
struct Committed {
    Epoch epoch;
};
/// Answers ComputeChecksum.
struct ChecksumComputed {
    Epoch epoch;
    std::uint64_t number = 0;
    Digest digest{};
};
/// The applier cannot do what it was told; the group goes on without this node until Restarted.
struct ApplierFailed {
    std::string reason;
};
/// A message could not be sent.
struct SendFailed {
    std::string reason;
};
/// The time for a verification has come, or somebody asks for one now.
struct VerifyDue {};
/// The driver is about to join the group again.
struct Restarted {};

using Event = std::variant<ViewChanged, Delivered, QuorumChanged, Submit, SubmitStatus, StateRead,
                           UpdatesRead, Committed, ChecksumComputed, ApplierFailed, SendFailed,
                           VerifyDue, Restarted>;

// --- Effects ---

/// To the group. `own_count` names a normal message of ours.
struct Multicast {
    std::string bytes;
    std::optional<std::uint64_t> own_count;
};

// For the applier, in order:

/// Perform a change that the group has ordered. `own_count`: it is ours, its caller waits.
struct Apply {
    GroupOperation operation;
    Member from;
    std::uint32_t time = 0;  ///< of its stamp
    std::optional<std::uint64_t> own_count;
    bool lowest = false;  ///< this node has the smallest id: it answers unlock requests
};
/// The same in the status group.
struct ApplyStatus {
    std::uint16_t subtype = 0;
    std::string body;
    Member from;
    std::uint32_t time = 0;
    bool own = false;
};
/// The state as it is at this point of the order: StateRead.
struct ReadState {
    Epoch epoch;
};
/// These entries as they are at this point of the order: UpdatesRead.
struct ReadUpdates {
    Epoch epoch;
    std::vector<InodeNumber> inodes;
};
/// Take over the leader's tree: delete what `own_index` lists and `leader_index` does not, take in
/// the updates; the result's index must be the leader's, to the byte: Committed.
struct Commit {
    Epoch epoch;
    Member leader;
    std::string own_index;
    std::string leader_index;
    std::vector<Entry> updates;
};
/// Members' states in the status group, own one included.
struct MergeStates {
    std::map<Member, std::string> states;
};
/// The checksum of the tree as it is at this point of the order: ChecksumComputed.
struct ComputeChecksum {
    Epoch epoch;
    std::uint64_t number = 0;
};

// For the driver:

/// This member's own message with that count will not be applied. The outcome is known.
struct Refuse {
    std::uint64_t own_count = 0;
    Errno error = Errno::NotPermitted;
};
/// Leave the group; all callers that wait are to be released. The driver joins again later, after
/// Restarted, unless the mode says that it is for good.
struct Leave {
    std::string reason;
};
/// The mode is Synced now and was not before.
struct BecameSynced {};
struct VerifyFinished {
    std::uint64_t number = 0;
    bool equal = false;  ///< not equal: this node leaves
};

using Effect =
    std::variant<Multicast, Apply, ApplyStatus, ReadState, ReadUpdates, Commit, MergeStates,
                 ComputeChecksum, Refuse, Leave, BecameSynced, VerifyFinished>;
using Effects = std::vector<Effect>;

// --- Modes ---

/// Not a member yet, or joined and no view seen.
struct Joining {};
struct CollectingIndexes {
    std::map<Member, std::string> received;
};
/// Our tree is old; the leader sends what we lack.
struct AwaitingUpdates {
    Member leader;
    std::string own_index;
    std::string leader_index;
    std::vector<Entry> updates;
};
struct Synced {};
/// Out of the group, for now or until the daemon starts anew.
struct Left {
    enum class Why : std::uint8_t { Again, NewerProtocol };
    Why why = Why::Again;
    std::string reason;
};
using Mode = std::variant<Joining, CollectingIndexes, AwaitingUpdates, Synced, Left>;

/// "joining", "collecting indexes", "awaiting updates", "synced", "left".
std::string_view to_string(const Mode& mode);

/// Where the original's conduct is allowed but unwise, ours differs, and no peer can tell. Tests of
/// mixed groups need both.
enum class Conduct : std::uint8_t { Careful, AsTheOriginal };

/// Threads: one at a time.
class GroupMachine {
public:
    GroupMachine(GroupKind kind, Member self, Conduct conduct = Conduct::Careful);

    /// `now`: this node's clock, seconds since 1970, for what is sent.
    Effects step(const Event& event, std::uint32_t now);

    const Mode& mode() const { return mode_; }
    const View& view() const { return view_; }
    Member self() const { return self_; }
    bool quorate() const { return quorate_; }
    bool is_synced() const { return std::holds_alternative<Synced>(mode_); }
    /// Members whose tree is the leader's, in the present round.
    const std::set<Member>& synced() const { return synced_; }
    /// The leader of the last finished state sync in which there was one.
    std::optional<Member> last_leader() const { return last_leader_; }
    /// Whether changes may be submitted: synced, quorate (configuration group), and the last commit
    /// is known to have succeeded.
    bool can_send() const;
    /// Normal messages that wait for the end of a state sync.
    std::size_t queued() const { return by_count_.size() + by_arrival_.size(); }
    /// The count of the last message submitted here.
    std::uint64_t last_count() const { return sent_; }

private:
    struct Queued {
        Member from;
        NormalMessage message;
    };

    void on(const ViewChanged& event, std::uint32_t now);
    void on(const Delivered& event, std::uint32_t now);
    void on(const QuorumChanged& event, std::uint32_t now);
    void on(const Submit& event, std::uint32_t now);
    void on(const SubmitStatus& event, std::uint32_t now);
    void on(const StateRead& event, std::uint32_t now);
    void on(const UpdatesRead& event, std::uint32_t now);
    void on(const Committed& event, std::uint32_t now);
    void on(const ChecksumComputed& event, std::uint32_t now);
    void on(const ApplierFailed& event, std::uint32_t now);
    void on(const SendFailed& event, std::uint32_t now);
    void on(const VerifyDue& event, std::uint32_t now);
    void on(const Restarted& event, std::uint32_t now);

    std::uint32_t protocol() const { return kind_ == GroupKind::Configuration ? 1 : 0; }
    bool is_left() const { return std::holds_alternative<Left>(mode_); }
    void leave(std::string reason, Left::Why why = Left::Why::Again);
    void become_synced();
    void send(MessageType type, std::string body, std::uint32_t now);
    void multicast_normal(std::uint16_t subtype, std::string body, std::uint32_t now);

    void begin_round(bool joined, std::uint32_t now);
    void send_again_what_is_ours();
    void on_normal(Member from, NormalMessage message);
    void on_sync(Member from, SyncMessage message, std::uint32_t now);
    void on_sync_start(const SyncMessage& message);
    void on_state(Member from, SyncMessage message, std::uint32_t now);
    void on_update(const SyncMessage& message);
    void on_update_complete();
    void on_verify_request(Member from, const SyncMessage& message);
    void on_verify(const SyncMessage& message);
    void conclude(std::map<Member, std::string> indexes, std::uint32_t now);
    void deliver_by_count();
    void deliver_by_arrival();
    void queue_by_count(Queued queued);
    void apply(const Member& from, NormalMessage message);
    void compare_verification();

    const GroupKind kind_;
    const Member self_;
    const Conduct conduct_;
    Effects effects_;  // of the present step

    Mode mode_ = Joining();
    View view_;
    bool member_ = false;
    bool had_view_ = false;
    bool quorate_ = false;
    std::set<Member> synced_;
    std::optional<Member> last_leader_;

    std::uint32_t epochs_made_ = 0;
    Epoch epoch_;
    bool sending_updates_ = false;  // we lead, and the last of them is not sent yet
    std::optional<Epoch> commit_;   // told to the applier, not answered yet

    std::deque<Queued> by_count_;    // "queue A"
    std::deque<Queued> by_arrival_;  // "queue B"
    std::uint64_t sent_ = 0;

    std::uint64_t verifications_ = 0;  // the last number that we asked for
    struct Verification {
        std::uint64_t number = 0;
        Epoch epoch;
        std::optional<Digest> own;
        bool ours = false;                // we asked
        std::optional<Digest> requester;  // delivered before our own was known
    };
    std::uint64_t verification_id_ = 0;  // of the last request seen, or as a view change left it
    std::optional<Verification> verification_;
};

}  // namespace cfsgate::replication
