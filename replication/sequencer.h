// SPDX-License-Identifier: Apache-2.0
// Puts the changes of this node into the one order in which every node applies them, and answers
// each caller once. In local mode the order is this node's own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "store/store.h"

namespace cfsgate::replication {

/// What must be true before the caller is answered.
enum class Need : std::uint8_t {
    Applied,   ///< readable on this node, and it survives the end of the process
    Flushing,  ///< the same; its flush begins as well, since the caller will ask for it soon
    Durable,   ///< also on stable storage, as the store's durability mode has it
};

/// A change on its way. The caller has found its paths by inode numbers; between that and the
/// change's turn others may have moved or replaced them, so the numbers travel along.
struct Submission {
    Operation operation;
    /// The inode that the path must name: followed where it has moved, StaleHandle if it is gone.
    std::optional<InodeNumber> entry;
    /// The directory that must hold the path's last component: NotFound if it is gone.
    std::optional<InodeNumber> parent;
    /// The same for the target of a Rename.
    std::optional<InodeNumber> target_parent;
    /// WriteFile only, with `entry`: the offset is the file's end when its turn comes.
    bool append = false;
    /// Asked last, with the paths as they then are, on the tree that the change will meet; an error
    /// refuses it. May be empty. Must not block.
    std::function<Status(const store::ReadView&, const Operation&)> check;
    /// Sees the tree right after the change, inside its batch; what it returns is kept with the
    /// change (Store::notes). May be called again where a batch is tried again: the last call
    /// counts. May be empty. Must not block.
    store::Store::Annotate annotate;
    Need need = Need::Durable;
};

struct Outcome {
    std::uint32_t bytes = 0;  ///< written
    InodeNumber inode;        ///< created, written, moved or removed
    Version version;          ///< the tree's, after the change
    Sequence sequence;        ///< of its journal record, for sync()
};

/// Called once, on any thread, with no lock held; must not block.
using Completion = std::function<void(Result<Outcome>)>;
using SyncCompletion = std::function<void(Status)>;

/// Told of published changes before their callers are answered; must not block, takes no lock that
/// is held while submitting.
using ChangeObserver = std::function<void(const std::vector<store::Change>&)>;

/// What `status` shows.
struct SequencerStatus {
    std::uint64_t submitted = 0;
    std::uint64_t completed = 0;
    std::uint64_t batches = 0;
    std::uint64_t flushes = 0;
    std::uint64_t oldest_waiting_ms = 0;
};

/// Threads: any.
class Sequencer {
public:
    virtual ~Sequencer() = default;

    /// While one lives, submissions only gather; the end of the last one applies them, on its
    /// thread, as one batch. For callers that have several changes at hand; keep it short.
    class Gathering {
    public:
        explicit Gathering(Sequencer& sequencer) : sequencer_(sequencer) {
            sequencer_.begin_gathering();
        }
        ~Gathering() { sequencer_.end_gathering(); }
        Gathering(const Gathering&) = delete;
        Gathering& operator=(const Gathering&) = delete;

    private:
        Sequencer& sequencer_;
    };

    /// Whether this node may change the tree now. Local mode: always.
    virtual bool quorate() const = 0;
    virtual void submit(Submission submission, Completion done) = 0;
    /// Answers when every record up to `upto` is durable.
    virtual void sync(Sequence upto, SyncCompletion done) = 0;
    /// Answers when this node has applied everything that was ordered before the call, on any node.
    /// Errors: NoAccess without quorum, Busy, TimedOut. Local mode: at once.
    virtual void catch_up(SyncCompletion done) { done({}); }
    /// Asks the group to take away a lock whose time may be over, by its entry's checksum; there is
    /// no answer. False: nobody else is to be asked, the caller decides (local mode).
    virtual bool request_unlock(std::string, const Digest&) { return false; }
    /// Set once, before the first submission.
    virtual void observe_changes(ChangeObserver observer) = 0;
    virtual SequencerStatus status() const = 0;

private:
    virtual void begin_gathering() {}
    virtual void end_gathering() {}
};

/// Local mode: with an empty queue the calling thread applies and commits by itself (the leader of
/// the batch); what arrives meanwhile becomes the next batch. Durability has a second leader.
std::unique_ptr<Sequencer> make_local_sequencer(store::Store& store, WallClock clock);

}  // namespace cfsgate::replication
