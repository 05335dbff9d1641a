// SPDX-License-Identifier: Apache-2.0
#include "store/salvage.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <system_error>

#include "store/base/bytes.h"
#include "store/file_io.h"
#include "store/file_sum.h"
#include "store/history/snapshots.h"
#include "store/journal.h"
#include "store/replay.h"
#include "store/scratch_tree.h"
#include "store/snapshot.h"
#include "store/tree_file_probe.h"

namespace cfsgate::store {
namespace {

constexpr std::size_t kListedMax = 20;
constexpr std::uint64_t kReplayBatch = 1000;
constexpr std::uint64_t kReplayBatchBytes = 64ULL << 20;
/// What follows a damaged record is believed to be one of the same journal up to here.
constexpr std::uint64_t kStrayDistanceMax = 1'000'000;

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string range_text(std::uint64_t first, std::uint64_t last) {
    return first == last ? "record " + std::to_string(first)
                         : "records " + std::to_string(first) + " to " + std::to_string(last);
}

// --- The journal ---

struct Segment {
    std::uint64_t number = 0;
    std::string name;
    bool good = false;
    std::uint64_t first = 0;
    std::uint64_t next = 0;  ///< behind its last good record that counts
    bool torn = false;
    bool damaged = false;     ///< behind that is a record that had been flushed
    std::uint64_t stray = 0;  ///< the highest number of what looks like a record behind that
};

/// The highest sequence that looks like one of a record, in bytes that follow the last good one.
std::uint64_t find_stray(std::string_view bytes, std::uint64_t next) {
    constexpr std::string_view kRecordMagic = "cfs";  // "J" or "S" follows
    constexpr std::size_t kSequenceAt = 8;
    std::uint64_t highest = 0;
    for (std::size_t at = bytes.find(kRecordMagic); at != std::string_view::npos;
         at = bytes.find(kRecordMagic, at + 1)) {
        ByteReader in(bytes.substr(std::min(at + kSequenceAt, bytes.size())));
        const auto sequence = in.take<std::uint64_t>();
        if (in.failed() || sequence < next || sequence > next + kStrayDistanceMax) continue;
        highest = std::max(highest, sequence);
    }
    return highest;
}

/// All segments of a store, each by itself.
class JournalSurvey {
public:
    static Result<JournalSurvey> make(const std::string& directory, std::uint64_t store_id) {
        JournalSurvey survey(directory, store_id);
        for (const std::uint64_t number : CFSGATE_TRY(Journal::segment_numbers(directory))) {
            CFSGATE_TRY(survey.look_at(number));
        }
        survey.limit();
        return survey;
    }

    const std::vector<Segment>& segments() const { return segments_; }
    const std::vector<Finding>& damage() const { return damage_; }

    /// The last good record.
    Sequence end() const {
        std::uint64_t end = 0;
        for (const Segment& segment : segments_) {
            if (segment.good) end = std::max(end, segment.next - 1);
        }
        return Sequence(end);
    }
    /// How far a tree gets that is at `from`.
    Sequence reach(Sequence from) const {
        std::uint64_t at = from.value();
        for (const Segment& segment : segments_) {
            if (segment.good && segment.first <= at + 1 && at + 1 < segment.next) {
                at = segment.next - 1;
            }
        }
        return Sequence(at);
    }
    /// The records behind `from` up to `upto`, which it reaches.
    Status read(Sequence from, Sequence upto, const RecordSink& sink) const {
        std::uint64_t expected = from.value() + 1;
        for (const Segment& segment : segments_) {
            if (!segment.good || segment.next <= expected || expected > upto.value()) continue;
            CFSGATE_TRY(
                Journal::scan_segment(directory_, segment.number, store_id_,
                                      [&](Sequence sequence, std::string_view payload) -> Status {
                                          if (sequence.value() != expected || sequence > upto)
                                              return {};
                                          ++expected;
                                          return sink(sequence, payload);
                                      }));
        }
        if (expected > upto.value()) return {};
        return fail(Errno::InputOutput, directory_ + ": the journal has changed meanwhile");
    }

private:
    JournalSurvey(std::string directory, std::uint64_t store_id)
        : directory_(std::move(directory)), store_id_(store_id) {}

    Status look_at(std::uint64_t number) {
        Segment segment;
        segment.number = number;
        const std::string path = Journal::segment_path(directory_, number);
        segment.name = name_of(path);
        const std::string bytes = CFSGATE_TRY(read_file(path));
        const auto info = Journal::scan_bytes(bytes, path, number, store_id_, nullptr);
        if (info) {
            segment.good = true;
            segment.first = info->first.value();
            segment.next = segment.first + info->records;
            segment.torn = info->torn;
            segment.damaged = info->damaged;
            const std::string_view rest = std::string_view(bytes).substr(info->end);
            segment.stray = find_stray(rest, segment.next);
            segment.torn = segment.torn || segment.stray != 0;
        } else if (bytes.find_first_not_of('\0') != std::string::npos) {
            damage_.push_back({segment.name, info.error().detail});
        }
        segments_.push_back(std::move(segment));
        return {};
    }

    /// Where a segment was gone on from before its end, what follows there does not count.
    void limit() {
        std::uint64_t limit = UINT64_MAX;
        for (auto segment = segments_.rbegin(); segment != segments_.rend(); ++segment) {
            if (!segment->good) continue;
            segment->next = std::max(segment->first, std::min(segment->next, limit));
            limit = segment->first;
        }
    }

    std::string directory_;
    std::uint64_t store_id_;
    std::vector<Segment> segments_;
    std::vector<Finding> damage_;
};

// --- Snapshots ---

struct SnapshotSurvey {
    std::string name;
    bool automatic = false;
    std::optional<SnapshotHeader> header;  ///< none where it cannot be read
    std::string why;
};

/// Newest first.
Result<std::vector<SnapshotSurvey>> survey_snapshots(const std::string& directory) {
    std::vector<SnapshotSurvey> files;
    for (const SnapshotFile& found : CFSGATE_TRY(list_snapshots(directory))) {
        SnapshotSurvey file{found.file, found.kind == SnapshotKind::Automatic, {}, {}};
        const auto header = read_snapshot_file(directory + "/" + found.file, nullptr);
        if (header) {
            file.header = *header;
        } else {
            file.why = header.error().detail;
        }
        files.push_back(std::move(file));
    }
    std::reverse(files.begin(), files.end());
    return files;
}

Result<SavedTree> load_snapshot(const std::string& path) {
    SavedTree tree;
    const SnapshotHeader header = CFSGATE_TRY(
        read_snapshot_file(path, [&](const Inode& inode, std::string_view content) -> Status {
            tree.entries.push_back({inode, std::string(content)});
            return {};
        }));
    tree.head = header.head;
    tree.journal = header.journal;
    return tree;
}

// --- Replay ---

struct Replayed {
    SavedTree tree;
    std::optional<Finding> stopped;  ///< at a record that does not apply
};

/// Stops before `*bad` where a record does not apply, and says why.
Result<SavedTree> replay_once(const SavedTree& base, const JournalSurvey& journal, Sequence upto,
                              std::optional<Sequence>* bad, std::string* why) {
    const auto scratch = CFSGATE_TRY(ScratchTree::make(base));
    auto tree = CFSGATE_TRY(scratch->write());
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
    const Status read = journal.read(
        base.journal, upto, [&](Sequence sequence, std::string_view payload) -> Status {
            if (const auto done = replay_record(*tree, payload, [] { return 0U; }); !done) {
                *bad = sequence;
                *why = done.error().detail;
                return tl::unexpected(done.error());
            }
            tree->set_journal(sequence);
            bytes += payload.size();
            if (++count % kReplayBatch != 0 && bytes < kReplayBatchBytes) return {};
            bytes = 0;
            CFSGATE_TRY(tree->commit());
            tree = CFSGATE_TRY(scratch->write());
            return {};
        });
    if (!read) return tl::unexpected(read.error());
    CFSGATE_TRY(tree->commit());
    tree.reset();
    return copy_tree(*CFSGATE_TRY(scratch->read()));
}

Result<Replayed> replay(SavedTree base, const JournalSurvey& journal) {
    Replayed done;
    Sequence upto = journal.reach(base.journal);
    while (upto > base.journal) {
        std::optional<Sequence> bad;
        std::string why;
        auto tree = replay_once(base, journal, upto, &bad, &why);
        if (tree) {
            done.tree = std::move(*tree);
            return done;
        }
        if (!bad) return tl::unexpected(tree.error());
        // What a failed record has done to the tree nobody knows: once more, up to there.
        done.stopped = {"journal record " + std::to_string(bad->value()), why};
        upto = Sequence(bad->value() - 1);
    }
    done.tree = std::move(base);
    return done;
}

/// Entries that are not the same in both.
std::vector<Finding> differences(const SavedTree& file, const SavedTree& rebuilt) {
    std::vector<Finding> found;
    std::map<InodeNumber, const Entry*> others;
    for (const Entry& entry : rebuilt.entries) others[entry.inode.number] = &entry;
    const auto say = [&](const Entry& entry, const char* what) {
        found.push_back({"tree.mdb", "inode " + std::to_string(entry.inode.number.value()) + " (" +
                                         entry.inode.name + ") " + what});
    };
    for (const Entry& entry : file.entries) {
        const auto other = others.find(entry.inode.number);
        if (other == others.end()) {
            say(entry, "is not what the journal says: it should not be there");
            continue;
        }
        if (!(*other->second == entry)) say(entry, "is not what the journal says");
        others.erase(other);
    }
    for (const auto& [inode, entry] : others) {
        say(*entry, "is not what the journal says: it is missing");
    }
    if (found.empty() && file.head != rebuilt.head) {
        found.push_back({"tree.mdb", "its head is not what the journal says"});
    }
    if (found.size() > kListedMax) {
        const std::size_t more = found.size() - kListedMax;
        found.resize(kListedMax);
        found.push_back({"tree.mdb", "and " + std::to_string(more) + " more"});
    }
    return found;
}

std::uint64_t random_id() {
    std::random_device device;
    std::uint64_t id = 0;
    while (id == 0) id = (std::uint64_t{device()} << 32) | device();
    return id;
}

// --- All of it ---

class Salvager {
public:
    Salvager(std::string directory, const SalvageOptions& options)
        : directory_(std::move(directory)), options_(options) {}

    Result<Salvage> run() {
        CFSGATE_TRY(look_at_files());
        CFSGATE_TRY(learn_state());
        judge_snapshots();
        journal_ = CFSGATE_TRY(JournalSurvey::make(directory_, result_.state.ids.store));
        judge_journal();
        CFSGATE_TRY(choose());
        result_.mending = mend_tree(result_.tree);
        tell_what_is_lost();
        list_unused();
        return std::move(result_);
    }

private:
    void damaged(std::string where, std::string what) {
        result_.damage.push_back({std::move(where), std::move(what)});
    }

    Status look_at_files() {
        snapshots_ = CFSGATE_TRY(survey_snapshots(directory_));
        auto probe = probe_tree_file(directory_ + "/tree.mdb");
        if (probe) {
            probe_ = std::move(*probe);
        } else {
            probe_error_ = probe.error();
        }
        return {};
    }

    Status learn_state() {
        auto state = read_state_file(directory_);
        if (state) {
            if (state->word == StateFile::Word::Filling) {
                return fail(Errno::NotFound, directory_ + ": an import did not end; import again");
            }
            result_.state = std::move(*state);
            result_.state_known = true;
            compare_tree_file();
            return {};
        }
        if (state.error().code != Errno::NotFound && state.error().code != Errno::Corrupt) {
            return tl::unexpected(state.error());
        }
        CFSGATE_TRY(guess_state());
        damaged(kStateFileName, state.error().code == Errno::NotFound
                                    ? "is missing"
                                    : "is no state file of this program");
        return {};
    }

    /// To the byte what it was when it was left, where that is known.
    void compare_tree_file() {
        if (!result_.state.clean() || !result_.state.tree) return;
        const auto sum = sum_file(directory_ + "/tree.mdb");
        if (!sum || *sum == *result_.state.tree) return;
        was_altered_ = true;
        damaged("tree.mdb", "is not what it was when the daemon stopped");
    }

    /// Most of what is there belongs to the store; a file of another one is the exception.
    Status guess_state() {
        std::map<std::uint64_t, std::size_t> votes;
        for (const SnapshotSurvey& file : snapshots_) {
            if (file.header) ++votes[file.header->store_id];
        }
        for (const auto number : CFSGATE_TRY(Journal::segment_numbers(directory_))) {
            const auto store = Journal::store_of_segment(directory_, number);
            if (store) ++votes[*store];
        }
        if (probe_ && probe_->ids.store != 0) votes[probe_->ids.store] += 2;
        if (votes.empty()) {
            if (!probe_) return fail(Errno::NotFound, directory_ + ": there is no store (--state)");
            votes[random_id()] = 1;
        }
        const auto most =
            std::max_element(votes.begin(), votes.end(),
                             [](const auto& a, const auto& b) { return a.second < b.second; });
        result_.state.ids.store = most->first;
        const bool same = probe_ && probe_->ids.file_system != 0;
        result_.state.ids.file_system = same ? probe_->ids.file_system : random_id();
        result_.state.from_empty = false;
        return {};
    }

    bool is_trusted() const {
        const StateFile& state = result_.state;
        if (!result_.state_known || was_altered_) return false;
        if (state.clean()) return true;
        const std::string boot = options_.boot_id ? options_.boot_id() : system_boot_id();
        return !boot.empty() && state.boot_id == boot;
    }

    void judge_snapshots() {
        for (SnapshotSurvey& file : snapshots_) {
            if (file.header && file.header->store_id != result_.state.ids.store) {
                file.header.reset();
                file.why = "belongs to another store";
            }
            if (!file.header) {
                damaged(file.name, file.why);
            } else if (file.automatic) {
                held_ = std::max(held_, file.header->journal);
            }
        }
    }

    void judge_journal() {
        for (const Finding& finding : journal_->damage()) damaged(finding.where, finding.what);
        const auto& segments = journal_->segments();
        const Segment* before = nullptr;
        for (const Segment& segment : segments) {
            result_.last_segment = std::max(result_.last_segment, segment.number);
            if (!segment.good) continue;
            if (before != nullptr && segment.first > before->next &&
                segment.first > held_.value() + 1) {
                damaged(before->name,
                        range_text(before->next, segment.first - 1) + " cannot be read");
            }
            before = &segment;
        }
        // At the end it may be a write that a power cut has torn, which nobody was told of.
        if (before == nullptr || !before->torn) return;
        const bool clean = result_.state_known && result_.state.clean();
        if (!clean && !before->damaged) return;
        stray_ = Sequence(std::max(before->stray, before->next));
        damaged(before->name,
                range_text(before->next, stray_.value()) + " cannot be read, and " +
                    (before->damaged ? "had been flushed" : "was there after a clean stop"));
    }

    /// The best that snapshot and journal give.
    Result<std::optional<Replayed>> rebuild() {
        struct Base {
            Sequence at;
            std::string name;  ///< empty: the empty tree
        };
        std::vector<Base> bases;
        for (const SnapshotSurvey& file : snapshots_) {
            if (file.header) bases.push_back({file.header->journal, file.name});
        }
        if (can_begin_empty(bases.empty())) bases.push_back({Sequence(), ""});
        std::stable_sort(bases.begin(), bases.end(), [&](const Base& a, const Base& b) {
            const auto reached = [&](const Base& base) { return journal_->reach(base.at); };
            return std::pair(reached(a), a.at) > std::pair(reached(b), b.at);
        });
        std::optional<Replayed> best;
        for (const Base& base : bases) {
            if (best && best->tree.journal >= journal_->reach(base.at)) break;
            SavedTree tree;
            if (!base.name.empty()) tree = CFSGATE_TRY(load_snapshot(directory_ + "/" + base.name));
            auto done = CFSGATE_TRY(replay(std::move(tree), *journal_));
            if (best && best->tree.journal >= done.tree.journal) continue;
            rebuilt_from_ = base.name.empty() ? "the empty tree" : base.name;
            best = std::move(done);
        }
        return best;
    }

    /// The versions in the records tell whether they begin with an empty tree. Without any the empty
    /// tree is only believed where nothing tells of another one.
    bool can_begin_empty(bool no_snapshot) const {
        if (journal_->reach(Sequence()) > Sequence()) return true;
        const bool is_new =
            probe_ ? probe_->tree.journal == Sequence() : probe_error_.code == Errno::NotFound;
        return result_.state_known && result_.state.from_empty && no_snapshot && is_new &&
               journal_->end() == Sequence();
    }

    Status choose() {
        const Sequence end = std::max(journal_->end(), held_);
        const bool sound = probe_ && probe_->is_sound() && probe_is_ours();
        if (sound && probe_->tree.journal <= end) {
            auto done = CFSGATE_TRY(replay(probe_->tree, *journal_));
            const bool whole = done.tree.journal == std::max(end, probe_->tree.journal);
            if (whole && is_trusted() && !options_.thorough) {
                use_tree_file(std::move(done.tree), probe_->tree.journal == end);
                return {};
            }
            file_tree_ = std::move(done);
        } else if (probe_ && probe_is_ours()) {
            file_tree_ = Replayed{probe_->tree, {}};
        }
        auto rebuilt = CFSGATE_TRY(rebuild());
        if (rebuilt && rebuilt->stopped && rebuilt->tree.journal < end) {
            damaged(rebuilt->stopped->where, rebuilt->stopped->what);
        }
        return choose_between(std::move(rebuilt), sound, end);
    }

    bool probe_is_ours() const {
        return probe_->ids.store == 0 || probe_->ids.store == result_.state.ids.store;
    }

    Status choose_between(std::optional<Replayed> rebuilt, bool sound, Sequence end) {
        const bool trusted = is_trusted();
        const bool rebuilt_whole = rebuilt && rebuilt->tree.journal >= std::max(end, stray_);
        if (trusted || !rebuilt_whole) complain_about_tree_file();
        if (!file_tree_) {
            if (!rebuilt) return nothing_can_be_had();
            use_rebuilt(std::move(*rebuilt));
            return {};
        }
        const SavedTree& file = file_tree_->tree;
        if (!rebuilt) {
            use_tree_file(file, false);
        } else if (!probe_->unreadable.empty() || (!trusted && rebuilt_whole)) {
            use_rebuilt(std::move(*rebuilt));
        } else if (file.journal > rebuilt->tree.journal && is_believable(file.journal, end)) {
            if (trusted && sound && file.journal > end) {
                damaged("the journal", "ends at record " + std::to_string(end.value()) +
                                           ", and tree.mdb is at " +
                                           std::to_string(file.journal.value()));
            }
            use_tree_file(file, sound && trusted && result_.damage.empty());
        } else if (!sound || file.journal < rebuilt->tree.journal) {
            use_rebuilt(std::move(*rebuilt));
        } else {
            const auto different = differences(file, rebuilt->tree);
            for (const Finding& finding : different) damaged(finding.where, finding.what);
            if (different.empty()) {
                use_tree_file(file, probe_->tree.journal == file.journal);
            } else {
                use_rebuilt(std::move(*rebuilt));
            }
        }
        return {};
    }

    /// What a damaged record says can be any number.
    static bool is_believable(Sequence journal, Sequence end) {
        return journal.value() - end.value() <= kStrayDistanceMax || journal <= end;
    }

    /// Of a power cut's tree.mdb nothing is expected, where the rest is whole.
    void complain_about_tree_file() {
        if (!probe_) {
            damaged("tree.mdb",
                    probe_error_.code == Errno::NotFound ? "is missing" : probe_error_.detail);
            return;
        }
        if (!probe_is_ours()) damaged("tree.mdb", "belongs to another store");
        for (const Finding& finding : probe_->unreadable) damaged(finding.where, finding.what);
        for (const Finding& finding : probe_->findings) damaged(finding.where, finding.what);
    }

    Status nothing_can_be_had() const {
        std::string text = directory_ + ": no tree can be had from it";
        for (const Finding& finding : result_.damage) {
            text += "; " + finding.where + ": " + finding.what;
        }
        return fail(Errno::Corrupt, text + "; recover the node from a backup");
    }

    void use_tree_file(SavedTree tree, bool as_it_is) {
        if (probe_->unreadable.empty()) {
            result_.source = "tree.mdb";
        } else {
            result_.source = "what can be read of tree.mdb";
            for (const Finding& finding : probe_->unreadable) result_.lost.push_back(finding);
        }
        if (tree.journal > probe_->tree.journal) result_.source += " and the journal";
        result_.is_tree_file = as_it_is;
        result_.tree = std::move(tree);
    }

    void use_rebuilt(Replayed rebuilt) {
        result_.source = rebuilt_from_ + " and the journal";
        result_.tree = std::move(rebuilt.tree);
    }

    void tell_what_is_lost() {
        const Sequence got = result_.tree.journal;
        Sequence last = std::max({journal_->end(), held_, stray_, got});
        Version newest = result_.tree.head.version;
        // Of an earlier boot it may be ahead of what was acknowledged.
        const bool believed = probe_ && probe_is_ours() && is_trusted();
        if (believed) last = std::max(last, probe_->tree.journal);
        if (believed) newest = std::max(newest, probe_->tree.head.version);
        for (const SnapshotSurvey& file : snapshots_) {
            if (file.header) newest = std::max(newest, file.header->head.version);
        }
        if (last > got) {
            result_.lost.push_back(
                {"the journal", range_text(got.value() + 1, last.value()) +
                                    " cannot be applied: the changes after version " +
                                    std::to_string(result_.tree.head.version.value())});
            // Each record makes one version.
            newest = std::max(
                newest, Version(result_.tree.head.version.value() + last.value() - got.value()));
        }
        result_.last_known = last;
        result_.newest_known = newest;
    }

    void list_unused() {
        const Sequence got = result_.tree.journal;
        for (const SnapshotSurvey& file : snapshots_) {
            if (!file.header || (file.automatic && file.header->journal > got)) {
                result_.unused.push_back(file.name);
            }
        }
        for (const Segment& segment : journal_->segments()) {
            if (!segment.good || segment.first > got.value() + 1) {
                result_.unused.push_back(segment.name);
            }
        }
    }

    std::string directory_;
    SalvageOptions options_;
    Salvage result_;
    std::vector<SnapshotSurvey> snapshots_;
    std::optional<TreeFileProbe> probe_;
    Error probe_error_{};
    bool was_altered_ = false;
    std::optional<JournalSurvey> journal_;
    Sequence held_;   ///< by the newest good snapshot
    Sequence stray_;  ///< of damaged records at the end
    std::optional<Replayed> file_tree_;
    std::string rebuilt_from_;
};

}  // namespace

Result<Salvage> salvage(const std::string& directory, const SalvageOptions& options) {
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {
        return fail(Errno::NotFound, directory + ": there is no such directory (--state)");
    }
    return Salvager(directory, options).run();
}

}  // namespace cfsgate::store
