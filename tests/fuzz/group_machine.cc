// SPDX-License-Identifier: Apache-2.0
// The state machine of either group under events in any order: views, messages that are arbitrary
// or nearly right, answers of the applier in time, late or never. make_corpus says the format.
#include "replication/core/group_machine.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "replication/core/state_sync.h"
#include "store/base/bytes.h"
#include "tests/fuzz/expect.h"

namespace {

using cfsgate::ByteReader;
using cfsgate::ByteWriter;
using cfsgate::Digest;
using cfsgate::NodeId;
using cfsgate::fuzz::expect;
using namespace cfsgate::replication;

constexpr std::uint32_t kNow = 1700000110;
constexpr std::size_t kEventsMax = 600;

Member member(std::uint8_t node) { return {NodeId(node), node * 1001U}; }

/// An index whose version and content are a byte each.
std::string small_index(std::uint8_t version, std::uint8_t content) {
    cfsgate::Index index;
    index.head = {cfsgate::Version(version), NodeId(1), kNow};
    for (std::uint8_t bit = 0; bit < 8; ++bit) {
        if ((content >> bit & 1) == 0) continue;
        Digest digest{};
        digest[0] = bit % 3 == 0 ? content : bit;
        index.entries.push_back({cfsgate::InodeNumber(bit), digest});
        index.last_inode = cfsgate::InodeNumber(bit);
    }
    return cfsgate::encode_index(index);
}

std::string small_update(std::uint8_t inode) {
    cfsgate::Entry entry;
    entry.inode.number = cfsgate::InodeNumber(inode);
    entry.inode.name = "f";
    return encode_update(entry);
}

std::string digest_bytes(std::uint8_t first) {
    std::string bytes(32, '\0');
    bytes[0] = static_cast<char>(first);
    return bytes;
}

class Run {
public:
    Run(GroupKind kind, std::string_view script)
        : kind_(kind), machine_(kind, member(2)), in_(script) {}

    void go() {
        for (std::size_t i = 0; i < kEventsMax && in_.remaining() > 0; ++i) one_event();
    }

private:
    std::uint8_t byte() { return in_.take<std::uint8_t>(); }
    std::uint32_t protocol() const { return kind_ == GroupKind::Configuration ? 1 : 0; }

    void one_event() {
        switch (byte() % 13) {
            case 0: return change_view();
            case 1: return deliver_arbitrary();
            case 2: return deliver_sync();
            case 3: return deliver_normal();
            case 4: return step(QuorumChanged{(byte() & 1) != 0});
            case 5: return submit();
            case 6: return answer();
            case 7: return step(ApplierFailed{"applier"});
            case 8: return step(SendFailed{"send"});
            case 9: return step(VerifyDue{});
            case 10: return step(Restarted{});
            case 11: return deliver_own();
            default: return answer_late();
        }
    }
    void change_view() {
        const std::uint8_t bits = byte();
        ViewChanged event{{}, (bits & 0x80) != 0};
        for (std::uint8_t bit = 0; bit < 7; ++bit) {
            if ((bits >> bit & 1) != 0) {
                event.members.push_back(member(static_cast<std::uint8_t>(bit + 1)));
            }
        }
        ++views_;
        epoch_ = Epoch{views_, kNow, machine_.self()};
        step(event);
    }
    void deliver(std::uint8_t from, std::string_view bytes) {
        ++delivered_;
        step(Delivered{member(from % 8), bytes});
    }
    void deliver_arbitrary() {
        const std::uint8_t from = byte();
        const auto size = in_.take<std::uint16_t>();
        deliver(from, in_.take_bytes(std::min<std::size_t>(size, in_.remaining())));
    }
    void deliver_sync() {
        const std::uint8_t from = byte();
        const std::uint16_t type = byte() % 9;
        if (type == 1) epoch_ = Epoch{byte(), kNow, member(1)};
        const SyncMessage message{type, kNow, epoch_, sync_body(type)};
        deliver(from, encode_message(message, protocol()));
    }
    std::string sync_body(std::uint16_t type) {
        ByteWriter out;
        switch (type) {
            case 2: {
                const std::uint8_t version = byte();
                return small_index(version, byte());
            }
            case 3: return small_update(byte());
            case 5: out.put(std::uint64_t{byte()}); break;
            case 6:
                out.put(std::uint64_t{byte()});
                out.put_bytes(digest_bytes(byte() & 1));
                break;
            default: break;
        }
        return out.take();
    }
    void deliver_normal() {
        const std::uint8_t from = byte();
        const std::uint8_t count = byte();
        const auto operation =
            encode_operation(cfsgate::Operation(cfsgate::MakeDirectory{std::string(1, 'd')}));
        const NormalMessage message{operation.subtype, kNow, count, operation.body};
        deliver(from, encode_message(message, protocol()));
    }
    void submit() {
        if (!machine_.can_send()) return;
        if (kind_ == GroupKind::Status) return step(SubmitStatus{1, "status"});
        step(Submit{cfsgate::Operation(cfsgate::CreateFile{"f"})});
    }
    void deliver_own() {
        if (outbox_.empty()) return;
        const std::string bytes = std::move(outbox_.front());
        outbox_.pop_front();
        deliver(2, bytes);
    }
    void answer() {
        if (asked_.empty()) return;
        const Event event = std::move(asked_.front());
        asked_.pop_front();
        last_answer_ = event;
        step(event);
    }
    /// An answer that was given before.
    void answer_late() {
        if (last_answer_) step(*last_answer_);
    }

    void step(const Event& event) {
        const bool was_left = std::holds_alternative<Left>(machine_.mode());
        const bool was_out_for_good = was_left && out_for_good();
        const std::size_t before = machine_.queued();
        const Effects effects = machine_.step(event, kNow);
        check(effects, before);
        if (was_left) {
            expect(effects.empty() || std::holds_alternative<Left>(machine_.mode()),
                   "nothing happens while out");
        }
        if (was_out_for_good) expect(out_for_good(), "a newer protocol is for good");
        for (const Effect& effect : effects) remember(effect);
    }
    bool out_for_good() const {
        const auto* const left = std::get_if<Left>(&machine_.mode());
        return left != nullptr && left->why == Left::Why::NewerProtocol;
    }
    template <class Kind>
    static std::size_t count_of(const Effects& effects) {
        return static_cast<std::size_t>(std::count_if(
            effects.begin(), effects.end(),
            [](const Effect& effect) { return std::holds_alternative<Kind>(effect); }));
    }
    void check(const Effects& effects, std::size_t queued_before) const {
        const bool left = std::holds_alternative<Left>(machine_.mode());
        expect(machine_.queued() <= queued_before + 1, "one message is queued at a time");
        expect(machine_.queued() <= delivered_, "only messages are queued");
        expect(effects.size() <= queued_before + kAnswerMax + 6, "effects are bounded");
        expect(count_of<Leave>(effects) <= 1, "it leaves once");
        expect(count_of<Leave>(effects) == 0 || left, "who leaves is out");
        expect(count_of<BecameSynced>(effects) <= 1, "it becomes synced once");
        expect(count_of<BecameSynced>(effects) == 0 || left || machine_.is_synced(),
               "it says synced when it is");
        if (machine_.can_send()) {
            expect(machine_.is_synced(), "only the synced send");
            expect(kind_ == GroupKind::Status || machine_.quorate(), "only the quorate send");
        }
        if (kind_ == GroupKind::Configuration && !machine_.quorate()) {
            expect(count_of<Apply>(effects) == 0, "without quorum nothing is applied");
        }
        if (const auto* const awaiting = std::get_if<AwaitingUpdates>(&machine_.mode())) {
            expect(awaiting->updates.size() * 40 <= awaiting->leader_index.size(),
                   "kept updates are bounded");
            expect(kind_ == GroupKind::Configuration, "nobody leads the status group");
        }
        if (const auto* const collecting = std::get_if<CollectingIndexes>(&machine_.mode())) {
            expect(collecting->received.size() < machine_.view().size(), "then it would conclude");
        }
    }
    void remember(const Effect& effect) {
        if (const auto* const sent = std::get_if<Multicast>(&effect)) {
            expect(decode_message(sent->bytes, protocol()).has_value(), "what is sent decodes");
            outbox_.push_back(sent->bytes);
        } else if (const auto* const state = std::get_if<ReadState>(&effect)) {
            asked_.push_back(StateRead{state->epoch, small_index(8, 0x15)});
        } else if (const auto* const read = std::get_if<ReadUpdates>(&effect)) {
            UpdatesRead answer{read->epoch, {}, true};
            for (const auto inode : read->inodes) {
                answer.updates.push_back(small_update(static_cast<std::uint8_t>(inode.value())));
            }
            expect(answer.updates.size() <= kAnswerMax, "updates are entries of the leader");
            asked_.push_back(std::move(answer));
        } else if (const auto* const commit = std::get_if<Commit>(&effect)) {
            asked_.push_back(Committed{commit->epoch});
        } else if (const auto* const compute = std::get_if<ComputeChecksum>(&effect)) {
            asked_.push_back(ChecksumComputed{compute->epoch, compute->number, {}});
        }
    }

    static constexpr std::size_t kAnswerMax = 110;  // entries of an index in an input of 4096 bytes

    GroupKind kind_;
    GroupMachine machine_;
    ByteReader in_;
    Epoch epoch_;
    std::uint32_t views_ = 0;
    std::size_t delivered_ = 0;
    std::deque<std::string> outbox_;
    std::deque<Event> asked_;
    std::optional<Event> last_answer_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view script(reinterpret_cast<const char*>(data),
                                  std::min<std::size_t>(size, 4096));
    Run(GroupKind::Configuration, script).go();
    Run(GroupKind::Status, script).go();
    return 0;
}
