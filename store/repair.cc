// SPDX-License-Identifier: Apache-2.0
//
// The repaired files are made in a folder `repair.TIME`, down to a state file that says "clean", and
// are on stable storage before anything of the store is touched. Then the state file says "repair
// out", which no start accepts; the old files move to `damaged.TIME`; it says "repair in"; the new
// ones move to their places, the state file last. A repair that stops in between is gone on with.
#include "store/repair.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "store/file_io.h"
#include "store/file_sum.h"
#include "store/journal.h"
#include "store/scratch_tree.h"
#include "store/snapshot.h"
#include "store/store_files.h"

namespace cfsgate::store {
namespace {

constexpr std::uint64_t kMapBytes = 8ULL << 30;
constexpr const char* kMoveOut = "move-out";
constexpr const char* kTreeFile = "tree.mdb";
constexpr const char* kCorosyncConf = "corosync.conf";

// --- The exchange of files ---

struct Exchange {
    enum class Step : std::uint8_t { Out, In } step = Step::Out;
    std::string made;   ///< folder with the new files
    std::string aside;  ///< folder for the old ones
};

Status write_marker(const std::string& directory, const Exchange& exchange) {
    const char* step = exchange.step == Exchange::Step::Out ? "out" : "in";
    return replace_file(directory, kStateFileName,
                        std::string("format 1\nrepair ") + step + " " + exchange.made + " " +
                            exchange.aside + "\n");
}

std::string take_word(std::string_view& text) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    std::string word(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    return word;
}

/// Names of folders of this directory, and nothing else.
bool is_folder_name(const std::string& name, std::string_view prefix) {
    return name.starts_with(prefix) && name.find('/') == std::string::npos;
}

std::optional<Exchange> read_marker(const std::string& directory) {
    const auto bytes = read_file(directory + "/" + kStateFileName, 4096);
    constexpr std::string_view kStart = "format 1\nrepair ";
    if (!bytes || !bytes->starts_with(kStart)) return {};
    std::string_view rest = std::string_view(*bytes).substr(kStart.size());
    Exchange exchange;
    const std::string step = take_word(rest);
    exchange.made = take_word(rest);
    exchange.aside = take_word(rest);
    if ((step != "out" && step != "in") || !is_folder_name(exchange.made, "repair.") ||
        !is_folder_name(exchange.aside, "damaged.")) {
        return {};
    }
    exchange.step = step == "out" ? Exchange::Step::Out : Exchange::Step::In;
    return exchange;
}

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

/// Can be done again from any point where it has stopped.
class Performer {
public:
    Performer(std::string directory, const std::function<Status()>& before_step)
        : directory_(std::move(directory)), before_step_(before_step) {}

    Status begin(Exchange exchange) {
        CFSGATE_TRY(step());
        CFSGATE_TRY(write_marker(directory_, exchange));
        return go_on(std::move(exchange));
    }

    Status go_on(Exchange exchange) {
        const std::string made = directory_ + "/" + exchange.made;
        const std::string aside = directory_ + "/" + exchange.aside;
        if (exchange.step == Exchange::Step::Out) {
            const std::string names = CFSGATE_TRY(read_file(made + "/" + kMoveOut));
            for (const std::string& name : lines_of(names)) {
                CFSGATE_TRY(move_file(directory_ + "/" + name, aside + "/" + name));
            }
            CFSGATE_TRY(sync_directory(aside));
            CFSGATE_TRY(sync_directory(directory_));
            exchange.step = Exchange::Step::In;
            CFSGATE_TRY(step());
            CFSGATE_TRY(write_marker(directory_, exchange));
        }
        for (const std::string& name : CFSGATE_TRY(store_files(made))) {
            if (name == kStateFileName) CFSGATE_TRY(sync_directory(directory_));
            CFSGATE_TRY(move_file(made + "/" + name, directory_ + "/" + name));
        }
        CFSGATE_TRY(sync_directory(directory_));
        CFSGATE_TRY(remove_file(made + "/" + kMoveOut));
        ::rmdir(made.c_str());
        return {};
    }

private:
    Status step() const { return before_step_ ? before_step_() : Status{}; }

    Status move_file(const std::string& from, const std::string& to) const {
        CFSGATE_TRY(step());
        if (std::rename(from.c_str(), to.c_str()) == 0 || errno == ENOENT) return {};
        return fail_posix(errno, from + ": move to " + to);
    }

    std::string directory_;
    const std::function<Status()>& before_step_;
};

// --- The new files ---

Status sync_file(const std::string& path) {
    const UniqueFd fd = CFSGATE_TRY(open_file(path, O_RDONLY));
    return sync_data(fd.get(), path);
}

/// A folder that is not needed goes away.
class Folder {
public:
    static Result<std::unique_ptr<Folder>> make(const std::string& directory,
                                                const std::string& name) {
        return std::unique_ptr<Folder>(
            new Folder(directory, CFSGATE_TRY(make_folder(directory, name))));
    }
    ~Folder() {
        std::error_code ignored;
        if (!kept_) std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    const std::string& name() const { return name_; }
    const std::string& path() const { return path_; }
    void keep() { kept_ = true; }

private:
    Folder(const std::string& directory, std::string name)
        : name_(std::move(name)), path_(directory + "/" + name_) {}

    std::string name_;
    std::string path_;
    bool kept_ = false;
};

/// Where the repaired store goes on.
struct Plan {
    SavedTree tree;
    StateFile state;
    std::uint64_t segment = 0;
};

/// A tree that is not what the journal gives gets a place of its own behind all that is known. Its
/// version too, so that no number is given a second time; but not in a cluster, where the newest
/// version counts, and a repaired tree must not win over the whole ones of others.
Plan make_plan(const Salvage& found) {
    Plan plan;
    plan.tree = found.tree;
    plan.state = found.state;
    plan.state.word = StateFile::Word::Clean;
    plan.state.from_empty = false;
    plan.segment = found.last_segment + 1;
    if (!found.loses_something() && found.mending.nothing()) return plan;
    plan.tree.journal = Sequence(found.last_known.value() + 1);
    if (!resolve(plan.tree, kCorosyncConf)) {
        plan.tree.head.version = Version(found.newest_known.value() + 1);
    }
    return plan;
}

Status write_tree(const std::string& folder, const Plan& plan) {
    const std::string path = folder + "/" + kTreeFile;
    {
        const auto environment =
            CFSGATE_TRY(lmdb::Environment::open({.file = path, .map_bytes = kMapBytes}));
        auto tree = CFSGATE_TRY(TreeWriter::make_new(
            CFSGATE_TRY(lmdb::Transaction::write(*environment)), plan.state.ids, plan.tree.head));
        for (const Entry& entry : plan.tree.entries) {
            CFSGATE_TRY(tree->add(entry.inode, entry.content));
        }
        CFSGATE_TRY(tree->set_all_names_versions(plan.tree.head.version));
        tree->set_journal(plan.tree.journal);
        CFSGATE_TRY(tree->commit());
        tree.reset();
        const auto reader =
            CFSGATE_TRY(TreeReader::make(CFSGATE_TRY(lmdb::Transaction::read(*environment))));
        const CheckReport checked = CFSGATE_TRY(check_tree_and_tables(*reader));
        if (!checked.findings.empty()) {
            const Finding& first = checked.findings.front();
            return fail(Errno::Corrupt,
                        "the repaired tree is not well: " + first.where + ": " + first.what);
        }
        CFSGATE_TRY(write_snapshot_file(folder, plan.state.ids.store, *reader));
        CFSGATE_TRY(environment->sync());
    }
    CFSGATE_TRY(remove_file(path + "-lock"));
    return sync_file(path);
}

Status make_store(const std::string& folder, Plan plan) {
    CFSGATE_TRY(write_tree(folder, plan));
    JournalOptions journal;
    journal.directory = folder;
    journal.store_id = plan.state.ids.store;
    journal.segment_bytes = StoreOptions().segment_bytes;
    CFSGATE_TRY(
        Journal::make_segment(journal, plan.segment, Sequence(plan.tree.journal.value() + 1)));
    plan.state.tree = CFSGATE_TRY(sum_file(folder + "/" + kTreeFile));
    return write_state_file(folder, plan.state);
}

// --- What is moved aside ---

/// For a terminal and for a file's name: names in a damaged tree can hold anything.
std::string printable(std::string_view text) {
    constexpr std::size_t kBytesMax = 200;
    std::string out;
    for (const char c : text.substr(0, kBytesMax)) {
        const auto byte = static_cast<unsigned char>(c);
        out.push_back(byte >= 0x20 && byte != 0x7f ? c : '?');
    }
    return out;
}

/// A name that no directory minds.
std::string plain_name(const Entry& entry) {
    std::string name = printable(entry.inode.name);
    std::replace(name.begin(), name.end(), '/', '_');
    return "inode-" + std::to_string(entry.inode.number.value()) + "." + name;
}

Status write_found(const std::string& folder, const Salvage& found) {
    std::string text;
    for (const std::string& line : describe(found)) text += line + "\n";
    CFSGATE_TRY(replace_file(folder, "report", text));
    if (found.mending.taken_out.empty()) return {};
    const std::string place = folder + "/lost+found";
    if (::mkdir(place.c_str(), 0700) != 0) return fail_posix(errno, place);
    std::string list;
    for (const Mending::TakenOut& taken : found.mending.taken_out) {
        const std::string name = plain_name(taken.entry);
        list += name + "\t" + printable(taken.path) + "\t" + taken.why + "\n";
        if (!taken.entry.content.empty()) {
            CFSGATE_TRY(replace_file(place, name, taken.entry.content));
        }
    }
    return replace_file(place, "list", list);
}

/// The old state file stays known beside its marker.
Status keep_state(const std::string& directory, const std::string& aside) {
    const std::string from = directory + "/" + kStateFileName;
    const std::string to = aside + "/" + kStateFileName;
    if (::link(from.c_str(), to.c_str()) != 0 && errno != ENOENT) return fail_posix(errno, to);
    return {};
}

Result<std::string> files_to_move(const std::string& directory, const Salvage& found,
                                  const std::string& made) {
    std::vector<std::string> names = found.unused;
    names.insert(names.end(), {kTreeFile, std::string(kTreeFile) + "-lock"});
    // What a new file takes the place of.
    for (const std::string& name : CFSGATE_TRY(store_files(made))) names.push_back(name);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::string text;
    for (const std::string& name : names) {
        struct stat info {};
        const bool there = ::lstat((directory + "/" + name).c_str(), &info) == 0;
        if (there && name != kStateFileName) text += name + "\n";
    }
    return text;
}

Result<std::string> exchange_files(const std::string& directory, const Salvage& found,
                                   const std::string& time, Performer& performer) {
    const auto made = CFSGATE_TRY(Folder::make(directory, "repair." + time));
    const auto aside = CFSGATE_TRY(Folder::make(directory, "damaged." + time));
    CFSGATE_TRY(make_store(made->path(), make_plan(found)));
    CFSGATE_TRY(write_found(aside->path(), found));
    CFSGATE_TRY(keep_state(directory, aside->path()));
    CFSGATE_TRY(replace_file(made->path(), kMoveOut,
                             CFSGATE_TRY(files_to_move(directory, found, made->path()))));
    CFSGATE_TRY(sync_directory(aside->path()));
    CFSGATE_TRY(sync_directory(directory));
    const Status done = performer.begin({Exchange::Step::Out, made->name(), aside->name()});
    if (done || read_marker(directory)) {
        // Begun: they are needed, whatever happened.
        made->keep();
        aside->keep();
    }
    CFSGATE_TRY(done);
    return aside->name();
}

}  // namespace

bool repair_is_under_way(const std::string& directory) {
    return read_marker(directory).has_value();
}

std::vector<std::string> describe(const Salvage& found) {
    std::vector<std::string> lines;
    for (const Finding& finding : found.damage) {
        lines.push_back("damaged: " + finding.where + ": " + finding.what);
    }
    for (const Finding& change : found.mending.changed) {
        lines.push_back("changed: " + printable(change.where) + ": " + change.what);
    }
    for (const Mending::TakenOut& taken : found.mending.taken_out) {
        lines.push_back("taken out: " + printable(taken.path) + ": " + taken.why);
    }
    for (const Finding& lost : found.lost) {
        lines.push_back("lost: " + lost.where + ": " + lost.what);
    }
    return lines;
}

Result<RepairReport> repair(const std::string& directory, const std::string& folder_time,
                            const RepairOptions& options) {
    RepairReport report;
    Performer performer(directory, options.before_step);
    if (const auto begun = read_marker(directory)) {
        CFSGATE_TRY(performer.go_on(*begun));
        report.aside = begun->aside;
        report.repaired = true;
    }
    report.found = CFSGATE_TRY(salvage(directory, options.salvage));
    report.version = report.found.tree.head.version;
    if (report.found.is_well()) return report;
    report.version = make_plan(report.found).tree.head.version;
    report.aside = CFSGATE_TRY(exchange_files(directory, report.found, folder_time, performer));
    report.repaired = true;
    return report;
}

}  // namespace cfsgate::store
