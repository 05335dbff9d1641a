// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/options.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>

#include <boost/program_options.hpp>

namespace cfsgate::gateway::daemon {
namespace {

namespace po = boost::program_options;

/// A value that is refused; the text names the option or the key.
struct BadValue {
    std::string text;
};

po::options_description help_options() {
    po::options_description options("Help");
    options.add_options()("help,h", "print this text");
    return options;
}

/// What the original has, with the same letters.
po::options_description original_options() {
    po::options_description options("Mode");
    options.add_options()("debug,d", po::bool_switch(), "debug messages from the start")(
        "foreground,f", po::bool_switch(), "do not become a daemon; log also to stderr")(
        "local,l", po::bool_switch(), "local mode, also where corosync.conf exists");
    return options;
}

/// May also stand in the configuration file, under the same names.
po::options_description settings() {
    const Options defaults;
    const auto path = [](const std::string& value) {
        return po::value<std::string>()->value_name("PATH")->default_value(value);
    };
    const auto word = [](const char* form, const char* value) {
        return po::value<std::string>()->value_name(form)->default_value(value);
    };
    const auto number = [](const char* form, std::uint64_t value) {
        return po::value<std::string>()->value_name(form)->default_value(std::to_string(value));
    };
    po::options_description options("Settings, also for the configuration file");
    options.add_options()("mount", path(defaults.mount_point), "where to mount")(
        "state", path(defaults.state_directory), "directory of the store")(
        "run", path(defaults.run_directory), "directory of the restart flag")(
        "pid-file", path(defaults.pid_file), "file for the process id")(
        "control", path(defaults.control), "socket for the command cfsgate")(
        "corosync-conf", path(defaults.corosync_conf), "corosync's configuration")(
        "node-name", po::value<std::string>()->value_name("NAME"),
        "name of this node (default: the machine's, up to the first dot)")(
        "durability", word("durable|relaxed", "durable"),
        "what a power cut may take: nothing acknowledged, or the last moments")(
        "ack", word("delivery|rotation", "delivery"),
        "in a cluster: a change returns when it is stored here, or when others have it too")(
        "chmod", word("strict|lenient", "strict"),
        "refuse a chmod that the path does not allow, or ignore it")(
        "history-days", number("DAYS", defaults.history_days), "how long the past is kept")(
        "history-mib", number("MIB", defaults.history_mib),
        "how much of the past is kept, in MiB of journal; the nearer of both limits counts")(
        "tree-bytes-max", number("BYTES", defaults.tree_bytes_max), "limit of all file contents")(
        "entries-max", number("COUNT", defaults.entries_max), "limit of files and directories")(
        "deadline", number("SECONDS", static_cast<std::uint64_t>(defaults.deadline.count())),
        "a change that is not done by then fails, outcome unknown")("nfs", word("on|off", "on"),
                                                                    "serve the tree by NFSv3 too")(
        "nfs-port", number("PORT", defaults.nfs.port), "for NFS and MOUNT; 0: any free one")(
        "nfs-listen", po::value<std::vector<std::string>>()->value_name("ADDRESS")->composing(),
        "where NFS listens; may be given more than once (default: 127.0.0.1 and ::1)")(
        "nfs-grace", number("SECONDS", static_cast<std::uint64_t>(defaults.nfs.grace.count())),
        "after a restart: how long other hosts may claim their locks before new ones are given")(
        "nfs-rpcbind", word("off|on", "off"),
        "register with this host's portmapper, which locks of other hosts need")(
        "export.allow", po::value<std::vector<std::string>>()->value_name("RULE")->composing(),
        "whom outside of this host NFS is for: 'NETWORK [ro|rw] [squash=root|all|none] [insecure] "
        "[private=PATH,...]'; may be given more than once")(
        "export.beyond-proof", word("refuse|squash", "refuse"),
        "what becomes of a local caller that claims to be another user")(
        "export.root-from-high-ports", word("off|on", "off"),
        "believe that root is root also from a port above 1023");
    return options;
}

po::options_description command_line_only() {
    po::options_description options("Command line only");
    options.add_options()("version", "print the version")(
        "config", po::value<std::string>()->value_name("FILE"), "configuration file")(
        "use", po::value<std::string>()->value_name("store|config.db"),
        "which database counts where both have changed")(
        "unmount-dead", po::bool_switch(),
        "only take away the mount that a daemon left when it died, and end");
    return options;
}

std::string absolute(const std::string& path, const char* key) {
    std::error_code error;
    if (path.empty()) throw BadValue{std::string(key) + ": the path is empty"};
    auto whole = std::filesystem::absolute(path, error).lexically_normal();
    if (error) throw BadValue{std::string(key) + ": " + path + ": " + error.message()};
    if (!whole.has_filename() && whole.has_relative_path()) whole = whole.parent_path();
    return whole.string();
}

std::uint64_t number_within(const po::variables_map& values, const char* key, std::uint64_t least,
                            std::uint64_t most) {
    const auto& text = values[key].as<std::string>();
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
        throw BadValue{std::string(key) + ": '" + text + "' is no number from " +
                       std::to_string(least) + " to " + std::to_string(most)};
    }
    return value;
}

/// Whether the word is `second` rather than `first`; BadValue for any other.
bool is_second(const po::variables_map& values, const char* key, const std::string& first,
               const std::string& second) {
    const auto& text = values[key].as<std::string>();
    if (text != first && text != second) {
        throw BadValue{std::string(key) + ": '" + text + "' is neither '" + first + "' nor '" +
                       second + "'"};
    }
    return text == second;
}

Options to_options(const po::variables_map& values, std::string identity) {
    Options options;
    options.identity = std::move(identity);
    options.local = values["local"].as<bool>();
    options.foreground = values["foreground"].as<bool>();
    options.debug = values["debug"].as<bool>();
    const auto path = [&](const char* key) { return absolute(values[key].as<std::string>(), key); };
    options.mount_point = path("mount");
    options.state_directory = path("state");
    options.run_directory = path("run");
    options.pid_file = path("pid-file");
    options.control = path("control");
    options.corosync_conf = path("corosync-conf");
    if (values.count("node-name") > 0) options.node_name = values["node-name"].as<std::string>();
    if (is_second(values, "durability", "durable", "relaxed")) {
        options.durability = store::Durability::Relaxed;
    }
    if (is_second(values, "ack", "delivery", "rotation")) options.ack = replication::Ack::Rotation;
    if (is_second(values, "chmod", "strict", "lenient")) {
        options.chmod_policy = ChmodPolicy::Lenient;
    }
    options.history_days =
        static_cast<std::uint32_t>(number_within(values, "history-days", 1, 36500));
    options.history_mib = number_within(values, "history-mib", 1, 1ULL << 20);
    options.tree_bytes_max = number_within(values, "tree-bytes-max", 1, 4ULL << 30);
    options.entries_max = number_within(values, "entries-max", 1, 16ULL << 20);
    options.deadline = std::chrono::seconds(number_within(values, "deadline", 1, 3600));
    options.nfs.on = !is_second(values, "nfs", "on", "off");
    options.nfs.port = static_cast<std::uint16_t>(number_within(values, "nfs-port", 0, 65535));
    if (values.count("nfs-listen") > 0) {
        options.nfs.listen = values["nfs-listen"].as<std::vector<std::string>>();
    }
    options.nfs.grace = std::chrono::seconds(number_within(values, "nfs-grace", 0, 3600));
    options.nfs.rpcbind = is_second(values, "nfs-rpcbind", "off", "on");
    options.nfs.state_directory = options.state_directory;
    if (values.count("export.allow") > 0) {
        options.nfs.allow = values["export.allow"].as<std::vector<std::string>>();
    }
    if (is_second(values, "export.beyond-proof", "refuse", "squash")) {
        options.nfs.beyond_proof = nfs::BeyondProof::Squash;
    }
    options.nfs.root_from_high_ports =
        is_second(values, "export.root-from-high-ports", "off", "on");
    if (const auto checked = to_server_options(options.nfs, options.deadline); !checked) {
        throw BadValue{checked.error().detail};
    }
    options.unmount_dead = values.count("unmount-dead") > 0 && values["unmount-dead"].as<bool>();
    if (values.count("use") > 0) {
        options.use = is_second(values, "use", "store", "config.db") ? DatabaseChoice::ConfigDb
                                                                     : DatabaseChoice::Store;
    }
    return options;
}

/// The keys of the configuration file: the settings, and the two modes that make sense in it.
po::options_description config_keys() {
    auto keys = settings();
    keys.add_options()("debug", po::bool_switch())("local", po::bool_switch());
    return keys;
}

/// Values of the command line stay; a file that may be missing leaves the defaults.
void read_config(const std::string& file, bool required, po::variables_map& values) {
    std::ifstream stream(file);
    if (!stream) {
        std::error_code error;
        const bool missing = !std::filesystem::exists(file, error) && !error;
        if (!missing || required) {
            throw BadValue{file + ": cannot be read; correct its path or its permissions"};
        }
    }
    const auto keys = config_keys();
    try {
        const auto parsed = po::parse_config_file(stream, keys, true);
        for (const auto& option : parsed.options) {
            if (!option.unregistered) continue;
            throw BadValue{file + ": unknown key '" + option.string_key + "'"};
        }
        po::store(parsed, values);
    } catch (const po::error& error) {
        throw BadValue{file + ": " + error.what()};
    }
}

struct CommandLine {
    po::options_description visible;
    std::string identity;
    bool is_original = false;
};

CommandLine describe(const std::string& program) {
    CommandLine line;
    line.is_original = std::filesystem::path(program).filename() == "pmxcfs";
    line.identity = line.is_original ? "pmxcfs" : "cfsgated";
    line.visible.add(help_options()).add(original_options());
    if (!line.is_original) line.visible.add(settings()).add(command_line_only());
    return line;
}

EarlyExit help(const CommandLine& line) {
    std::ostringstream text;
    text << "Usage: " << line.identity << " [OPTION...]\n"
         << "Mounts the replicated configuration tree.\n\n"
         << line.visible;
    return {0, text.str(), {}};
}

/// What is parsed refers to its description, so both end here.
void store_arguments(const std::vector<std::string>& arguments, const CommandLine& line,
                     po::variables_map& values) {
    po::options_description all;
    all.add(line.visible).add_options()("left-over", po::value<std::vector<std::string>>());
    po::positional_options_description positions;
    positions.add("left-over", -1);
    namespace style = po::command_line_style;
    const std::vector<std::string> words(arguments.begin() + 1, arguments.end());
    po::store(po::command_line_parser(words)
                  .options(all)
                  .positional(positions)
                  .style(style::unix_style & ~style::allow_guessing)
                  .run(),
              values);
}

/// The other spellings under which the original prints its help.
void spell_help(std::vector<std::string>& arguments) {
    for (auto& argument : arguments) {
        if (argument == "-?" || argument == "--help-all") argument = "--help";
    }
}

std::variant<Options, EarlyExit> parse(const std::vector<std::string>& arguments,
                                       const CommandLine& line, const std::string& default_config) {
    po::variables_map values;
    store_arguments(arguments, line, values);
    if (values.count("help") > 0) return help(line);
    if (values.count("version") > 0) return EarlyExit{0, "cfsgated " CFSGATE_VERSION "\n", {}};
    if (values.count("left-over") > 0) {
        const auto& first = values["left-over"].as<std::vector<std::string>>().front();
        return EarlyExit{kExitStartFailed, {}, "'" + first + "' is no option; see --help"};
    }
    const bool named = values.count("config") > 0;
    read_config(named ? values["config"].as<std::string>() : default_config, named, values);
    return to_options(values, line.identity);
}

}  // namespace

std::variant<Options, EarlyExit> parse_options(const std::vector<std::string>& arguments,
                                               const std::string& default_config) {
    std::vector<std::string> words = arguments;
    if (words.empty()) words.emplace_back("cfsgated");
    const CommandLine line = describe(words.front());
    if (line.is_original) spell_help(words);
    try {
        return parse(words, line, default_config);
    } catch (const BadValue& refused) {
        return EarlyExit{kExitUsage, {}, refused.text};
    } catch (const po::error& error) {
        return EarlyExit{kExitUsage, {}, std::string(error.what()) + "; see --help"};
    }
}

}  // namespace cfsgate::gateway::daemon
