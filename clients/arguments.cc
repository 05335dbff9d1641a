// SPDX-License-Identifier: Apache-2.0
#include "clients/arguments.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include <boost/program_options.hpp>

#include "clients/exit_code.h"

namespace cfsgate::clients {
namespace {

namespace po = boost::program_options;

po::options_description places() {
    const auto path = [](const char* value) {
        return po::value<std::string>()->value_name("PATH")->default_value(value);
    };
    po::options_description options;
    options.add_options()("control", path(default_paths::kControl), "the daemon's control socket")(
        "state", path(default_paths::kState), "directory of the store")(
        "mount", path(default_paths::kMountPoint), "where the tree is mounted");
    return options;
}

po::options_description corosync_option() {
    po::options_description options;
    options.add_options()(
        "corosync-conf",
        po::value<std::string>()->value_name("PATH")->default_value(default_paths::kCorosyncConf),
        "corosync's configuration");
    return options;
}

po::options_description config_keys() {
    auto keys = places();
    keys.add_options()("pid-file", po::value<std::string>()->default_value(
                                       default_paths::kPidFile))("nfs-port", po::value<int>());
    keys.add(corosync_option());
    return keys;
}

auto port_value() { return po::value<int>()->value_name("PORT"); }
constexpr const char* kPortHelp =
    "its port for NFS and MOUNT (default: nfs-port of the file, 2049)";

po::options_description nfs_options() {
    const Arguments defaults;
    po::options_description options;
    options.add_options()(
        "server", po::value<std::string>()->value_name("HOST")->default_value(defaults.server),
        "the NFS server")("port", port_value(), kPortHelp)(
        "export", po::value<std::string>()->value_name("PATH")->default_value(defaults.export_path),
        "what the server exports")(
        "timeout", po::value<int>()->value_name("SECONDS")->default_value(defaults.timeout_seconds),
        "how long to wait for an answer, 1 to 3600");
    return options;
}

po::options_description mount_options() {
    po::options_description options;
    options.add_options()(
        "address",
        po::value<std::string>()->value_name("ADDRESS")->default_value(Arguments().server),
        "where the local daemon listens")("port", port_value(), kPortHelp)(
        "read-only", po::bool_switch(), "mount read-only")(
        "options,o", po::value<std::vector<std::string>>()->value_name("EXTRA"),
        "further mount options; they win")("unmount", po::bool_switch(),
                                           "take the mount at DIR away, whatever uses it");
    return options;
}

po::options_description node_name_option(const char* help) {
    po::options_description options;
    options.add_options()("node-name", po::value<std::string>()->value_name("NAME"), help);
    return options;
}

po::options_description backup_options(OptionSet set) {
    po::options_description options;
    if (set == OptionSet::Backup) {
        options.add_options()("force", po::bool_switch(), "replace a FILE that is there")(
            "check", po::bool_switch(), "only look at a backup: whose it is, and that it is whole");
        options.add(node_name_option("whose backup it is, where no daemon says it"));
    } else if (set == OptionSet::Recover) {
        options.add_options()("replace", po::bool_switch(),
                              "move a store that is there aside, and win over a config.db");
        options.add(
            node_name_option("this host's name: its directory takes the place of that of "
                             "the backup's node"));
    } else {
        options.add_options()("dry-run", po::bool_switch(), "say what would be done; do nothing");
    }
    return options;
}

po::options_description history_options(OptionSet set) {
    const auto moment = [] { return po::value<std::string>()->value_name("TIME"); };
    po::options_description options;
    if (set == OptionSet::Log) {
        options.add_options()("count,n", po::value<int>()->value_name("COUNT")->default_value(100),
                              "how many, the newest of all")(
            "since", moment(), "not those before it: '2026-01-31 13:45', 13:45, 90m, ...")(
            "until", moment(), "not those after it")("reverse", po::bool_switch(),
                                                     "the oldest first, and the oldest of all");
    } else if (set == OptionSet::Purge) {
        options.add_options()("all-nodes", po::bool_switch(),
                              "also ask the other nodes of the cluster that are there");
    } else {
        options.add_options()("all", po::bool_switch(), "the whole tree")(
            "at", moment(), "with --all: as it was then: '2026-01-31 13:45', 13:45, 90m, ...")(
            "version", po::value<std::string>()->value_name("POSITION"),
            "with --all: as it was at a version, at a record (#N), or in a snapshot (its name)")(
            "dry-run", po::bool_switch(), "say what would be done; do nothing");
    }
    return options;
}

po::options_description own_options(OptionSet set) {
    po::options_description json;
    json.add_options()("json", po::bool_switch(), "print the answer as JSON");
    po::options_description options;
    switch (set) {
        case OptionSet::Daemon: return std::move(json.add(places()));
        case OptionSet::Status:
            options.add_options()("checksum", po::bool_switch(), "also the checksum of the tree");
            return std::move(json.add(options).add(places()));
        case OptionSet::Top:
            options.add_options()(
                "interval", po::value<int>()->value_name("SECONDS")->default_value(1),
                "between two looks, 1 to 3600")("count,n", po::value<int>()->value_name("COUNT"),
                                                "end after so many (default: never)");
            return std::move(options.add(places()));
        case OptionSet::Doctor: return std::move(json.add(places()).add(corosync_option()));
        case OptionSet::Nfs: return nfs_options();
        case OptionSet::NfsData: return std::move(json.add(nfs_options()));
        case OptionSet::NfsList:
            options.add_options()("long,l", po::bool_switch(), "mode, owner, size and time too");
            return std::move(json.add(options).add(nfs_options()));
        case OptionSet::NfsPut:
            options.add_options()("in-place", po::bool_switch(),
                                  "overwrite the file itself; others may see it empty or in part");
            return std::move(options.add(nfs_options()));
        case OptionSet::MountNfs: return mount_options();
        case OptionSet::Log:
        case OptionSet::Purge:
        case OptionSet::Restore: return std::move(json.add(history_options(set)).add(places()));
        case OptionSet::Backup:
        case OptionSet::Recover:
        case OptionSet::Repair: return std::move(json.add(backup_options(set)).add(places()));
    }
    return options;
}

po::options_description visible_options(const Syntax& syntax) {
    po::options_description options("Options");
    options.add_options()("help,h", "print this text")(
        "config", po::value<std::string>()->value_name("FILE"), "the daemon's configuration file");
    options.add(own_options(syntax.options));
    return options;
}

/// The daemon complains of keys that it does not know; here only some matter.
void read_config(const std::string& file, bool required, const po::options_description& keys,
                 po::variables_map& values) {
    std::ifstream stream(file);
    std::error_code error;
    if (!stream && (required || std::filesystem::exists(file, error))) {
        throw std::runtime_error(file + ": cannot be read");
    }
    try {
        po::store(po::parse_config_file(stream, keys, true), values);
    } catch (const po::error& refused) {
        throw std::runtime_error(file + ": " + refused.what());
    }
}

EarlyExit help(const Syntax& syntax, const po::options_description& options) {
    std::ostringstream text;
    text << "Usage: cfsgate " << syntax.name << " [OPTION...] " << syntax.operands << "\n"
         << syntax.summary << "\n\n"
         << options;
    return {kOk, text.str(), {}};
}

bool is_set(const po::variables_map& values, const char* name) {
    return values.count(name) > 0 && values[name].as<bool>();
}

template <class T>
void take(const po::variables_map& values, const char* name, T& target) {
    if (values.count(name) > 0) target = values[name].as<T>();
}

void check_range(const char* name, int value, int max) {
    if (value >= 1 && value <= max) return;
    throw std::runtime_error(std::string(name) + ": not within 1 and " + std::to_string(max));
}

void take_nfs(const po::variables_map& values, Arguments& arguments) {
    take(values, "server", arguments.server);
    take(values, "address", arguments.server);
    take(values, "nfs-port", arguments.port);
    take(values, "port", arguments.port);
    take(values, "export", arguments.export_path);
    take(values, "timeout", arguments.timeout_seconds);
    take(values, "options", arguments.mount_options);
    arguments.long_listing = is_set(values, "long");
    arguments.in_place = is_set(values, "in-place");
    arguments.read_only = is_set(values, "read-only");
    arguments.unmount = is_set(values, "unmount");
    check_range("port", arguments.port, 65535);
    check_range("timeout", arguments.timeout_seconds, 3600);
}

void take_top(const po::variables_map& values, Arguments& arguments) {
    take(values, "interval", arguments.interval_seconds);
    check_range("interval", arguments.interval_seconds, 3600);
    if (values.count("count") == 0) return;
    take(values, "count", arguments.count);
    check_range("count", arguments.count, 1'000'000'000);
}

Arguments to_arguments(const po::variables_map& values) {
    Arguments arguments;
    arguments.json = is_set(values, "json");
    arguments.checksum = is_set(values, "checksum");
    take_nfs(values, arguments);
    take_top(values, arguments);
    take(values, "since", arguments.since);
    take(values, "until", arguments.until);
    take(values, "at", arguments.at);
    take(values, "version", arguments.version);
    arguments.reverse = is_set(values, "reverse");
    arguments.all = is_set(values, "all");
    arguments.all_nodes = is_set(values, "all-nodes");
    take(values, "node-name", arguments.node_name);
    arguments.force = is_set(values, "force");
    arguments.check_only = is_set(values, "check");
    arguments.dry_run = is_set(values, "dry-run");
    arguments.replace = is_set(values, "replace");
    arguments.control = values["control"].as<std::string>();
    arguments.state = values["state"].as<std::string>();
    arguments.state_given = !values["state"].defaulted();
    arguments.mount = values["mount"].as<std::string>();
    arguments.pid_file = values["pid-file"].as<std::string>();
    arguments.corosync_conf = values["corosync-conf"].as<std::string>();
    if (values.count("operand") > 0) {
        arguments.operands = values["operand"].as<std::vector<std::string>>();
    }
    return arguments;
}

std::variant<Arguments, EarlyExit> parse(const Syntax& syntax,
                                         const std::vector<std::string>& words) {
    const auto visible = visible_options(syntax);
    po::options_description all;
    all.add(visible).add_options()("operand", po::value<std::vector<std::string>>());
    po::positional_options_description positions;
    positions.add("operand", -1);
    namespace style = po::command_line_style;
    po::variables_map values;
    po::store(po::command_line_parser(words)
                  .options(all)
                  .positional(positions)
                  .style(style::unix_style & ~style::allow_guessing)
                  .run(),
              values);
    if (values.count("help") > 0) return help(syntax, visible);
    const bool named = values.count("config") > 0;
    auto keys = config_keys();
    if (syntax.options == OptionSet::Backup) keys.add(node_name_option(""));
    read_config(named ? values["config"].as<std::string>() : default_paths::kConfig, named, keys,
                values);
    Arguments arguments = to_arguments(values);
    const std::size_t count = arguments.operands.size();
    if (count < syntax.operands_min || count > syntax.operands_max) {
        throw std::runtime_error("usage: cfsgate " + syntax.name + " " + syntax.operands);
    }
    return arguments;
}

}  // namespace

std::variant<Arguments, EarlyExit> parse_arguments(const Syntax& syntax,
                                                   const std::vector<std::string>& words) {
    try {
        return parse(syntax, words);
    } catch (const std::exception& refused) {
        return EarlyExit{
            kUsage, {}, std::string(refused.what()) + "; see cfsgate " + syntax.name + " --help"};
    }
}

std::string tree_path(const Arguments& arguments, const std::string& operand) {
    if (operand == arguments.mount) return "";
    if (operand.starts_with(arguments.mount + "/")) {
        return operand.substr(arguments.mount.size() + 1);
    }
    return operand;
}

}  // namespace cfsgate::clients
